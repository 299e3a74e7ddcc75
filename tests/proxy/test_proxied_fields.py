"""Fields through the whole proxy, with each core.

RFC 9110 sections 5 (fields), 7.6 (forwarding), 8.6 (Content-Length), 15 (status codes); RFC 7239 for what a proxy says
of its client.
"""

from __future__ import annotations

import pytest

from exporter.proxy.core import CoreFactory
from tests.proxy.front import api, front
from tests.proxy.upstreams import HELLO, NO_CONTENT, answering, saying, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

OWN = b"X-Own: hop\r\nX-Other: private\r\nX-End: to-end"


async def sent(core: CoreFactory, *fields: bytes, method: bytes = b"GET", target: bytes = b"/orders/") -> bytes:
    """What reaches the upstream of a request with these fields."""
    async with upstream(answering(NO_CONTENT)) as server, front(api(server.port), core=core) as proxy:
        assert (await proxy.get(target, *fields, method=method)).status == 204
        return server.heads[0]


async def came(core: CoreFactory, fields: bytes, status: bytes = b"200 OK") -> bytes:
    """What reaches the client of a response with these fields."""
    answer = b"HTTP/1.1 %b\r\n%b\r\nContent-Length: 0\r\n\r\n" % (status, fields)
    async with upstream(saying(answer)) as server, front(api(server.port), core=core) as proxy:
        return (await proxy.get(b"/orders/")).raw


def lower(head: bytes) -> list[bytes]:
    return head.lower().split(b"\r\n")


# Of one connection only (RFC 9110 section 7.6.1).


@pytest.mark.parametrize(
    "field",
    [
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic eDp5",
        b"Proxy-Authenticate: Basic",
        b"TE: trailers",
        b"TE: gzip;q=0.5",
        b"Trailer: X-Checksum",
        b"Upgrade: websocket",
        b"Connection: keep-alive",
        b"Connection:",
        b"kEEP-aLIVE: timeout=5",
    ],
)
async def test_a_field_of_one_connection_ends_there(core_factory: CoreFactory, field: bytes) -> None:
    name = field.partition(b":")[0].lower()
    assert not [line for line in lower(await sent(core_factory, field)) if line.startswith(name + b":")]
    if name != b"upgrade":
        passed = [line for line in lower(await came(core_factory, field)) if line.startswith(name + b":")]
        assert passed == ([b"connection: close"] if name == b"connection" else [])


@pytest.mark.parametrize(
    "options",
    [
        b"Connection: X-Own, close",
        b"Connection: close, X-Own",
        b"Connection: x-oWN, ClOsE",
        b"Connection: X-Own",
        b"Connection:X-Own",
        b"Connection: \t X-Own \t",
        b"Connection: , ,X-Own,,",
        b"Connection:\r\nConnection: X-Own, close",
        b"Connection: close\r\nConnection: X-Own",
        b"Connection: X-Own\r\nX-Between: 1\r\nConnection: keep-alive",
    ],
)
async def test_a_field_that_connection_names_ends_there(core_factory: CoreFactory, options: bytes) -> None:
    for passed in (await sent(core_factory, options, OWN), await came(core_factory, options + b"\r\n" + OWN)):
        assert b"x-own" not in passed.lower()
        assert {b"x-other: private", b"x-end: to-end"} <= set(lower(passed))


async def test_several_fields_that_connection_names_end_there(core_factory: CoreFactory) -> None:
    options = b"Connection: X-Own, X-Other, X-Absent"
    for passed in (await sent(core_factory, options, OWN), await came(core_factory, options + b"\r\n" + OWN)):
        assert not {b"x-own: hop", b"x-other: private"} & set(lower(passed))
        assert b"x-end: to-end" in lower(passed)


@pytest.mark.parametrize("name", [b"Host", b"Cache-Control", b"Content-Length"])
async def test_what_a_message_depends_on_cannot_be_named_away(core_factory: CoreFactory, name: bytes) -> None:
    head = await sent(core_factory, b"Connection: " + name, b"Cache-Control: no-store")
    assert [line for line in lower(head) if line.startswith((b"host: ", b"cache-control: "))] == [
        lower(head)[1],
        b"cache-control: no-store",
    ]
    assert b"\r\nContent-Length: 0\r\n" in await came(core_factory, b"Connection: " + name)


async def test_an_option_that_only_contains_close_leaves_the_connection_open(core_factory: CoreFactory) -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: x-close\r\nContent-Length: 2\r\n\r\nok"
    async with upstream(answering(answer)) as server, front(api(server.port), core=core_factory) as proxy:
        for _ in range(3):
            assert (await proxy.get(b"/orders/")).body == b"ok"
        assert len(server.wires) == 1


# Of the client (RFC 7239; X-Forwarded-* as everybody has it).


@pytest.mark.parametrize(
    "claimed",
    [
        b"X-Forwarded-For: 6.6.6.6",
        b"x-forwarded-for: 6.6.6.6, 7.7.7.7",
        b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7",
        b"X-Forwarded-For:",
        b"X-FORWARDED-PROTO: https",
        b"X-Forwarded-Host: evil.example",
        b"X-Forwarded-Port: 1",
        b"X-Forwarded-Anything: 6.6.6.6",
        b"X-Real-IP: 6.6.6.6",
        b"Forwarded: for=6.6.6.6;proto=https",
        b"Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host",
    ],
)
async def test_what_a_client_says_of_itself_is_replaced(core_factory: CoreFactory, claimed: bytes) -> None:
    head = lower(await sent(core_factory, claimed))
    assert [line for line in head if b"forwarded" in line or b"real-ip" in line] == [
        b"x-forwarded-for: 127.0.0.1",
        b"x-forwarded-proto: http",
        b"x-forwarded-host: gateway.example",
    ]


# From end to end (RFC 9110 sections 5.3, 5.5 and 7.6).


@pytest.mark.parametrize(
    "field",
    [
        b"X-Empty:",
        b"X-Blank: \t ",
        b"X-Inner: a \t b",
        b'X-Quoted: "a, b\\"", c',
        b'Cookie: a=1; b="2"; c',
        b"User-Agent: probe/1 (x; y)",
        b"Accept-Encoding: gzip;q=0, *",
        b"X-Latin: caf\xc3\xa9",
        b"X-!#$%&'*+.^_`|~: y",
        b"Via: 1.0 other",
        b"Max-Forwards: 0",
        b"Range: bytes=0-1",
        b'If-None-Match: W/"a"',
        b"Upgrade-Insecure-Requests: 1",
    ],
)
async def test_a_field_from_end_to_end_passes(core_factory: CoreFactory, field: bytes) -> None:
    name, _, value = field.partition(b":")
    expected = name.lower() + b": " + value.strip(b" \t")
    for passed in (await sent(core_factory, field), await came(core_factory, field)):
        lines = [line.partition(b":")[0].lower() + line[len(name) :] for line in passed.split(b"\r\n")]
        assert [
            line.replace(b":", b": ").replace(b":  ", b": ").rstrip(b" \t")
            for line in lines
            if line[: len(name)].lower() == name.lower()
        ] == [expected.rstrip()]


async def test_nothing_is_added_that_nobody_has_said(core_factory: CoreFactory) -> None:
    head = lower(await sent(core_factory))
    assert [line.partition(b":")[0] for line in head[1:-2]] == [
        b"host",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
    ]
    assert await came(core_factory, b"X: y") == (
        b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 0\r\nconnection: close\r\n\r\n"
    )


async def test_fields_of_one_name_stay_apart_and_in_order(core_factory: CoreFactory) -> None:
    fields = [b"X-A: 1", b"Set-Cookie: a=1", b"X-A: 2", b"Set-Cookie: b=2", b"x-a: 3"]
    expected = [each.lower() for each in fields]
    assert [line for line in lower(await sent(core_factory, *fields)) if line in expected] == expected
    assert [line for line in lower(await came(core_factory, b"\r\n".join(fields))) if line in expected] == expected


@pytest.mark.parametrize(
    "field",
    [b"Location: http://127.0.0.1:1/x", b"Refresh: 0; url=/x", b"Set-Cookie: a=1; Domain=orders.internal; Path=/y"],
)
async def test_what_names_the_upstream_is_not_rewritten(core_factory: CoreFactory, field: bytes) -> None:
    assert b"\r\n" + field + b"\r\n" in await came(core_factory, field)


@pytest.mark.parametrize("status", [200, 206, 226, 299, 301, 304, 404, 418, 431, 451, 499, 500, 503, 599, 600, 999])
async def test_a_status_passes_whether_or_not_it_is_known(core_factory: CoreFactory, status: int) -> None:
    assert (await came(core_factory, b"X: y", b"%d Whatever" % status)).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("size", [8 * 1024, 31 * 1024])
async def test_large_fields_pass(core_factory: CoreFactory, size: int) -> None:
    value = b"x" * (size - 1024)
    assert b"\r\nX-Large: " + value + b"\r\n" in (await sent(core_factory, b"X-Large: " + value)).replace(
        b"x-large", b"X-Large"
    )
    assert b"\r\nX-Large: " + value + b"\r\n" in await came(core_factory, b"X-Large: " + value)


# Targets (RFC 9112 section 3.2).


@pytest.mark.parametrize(
    "target",
    [
        b"/?a=1;b=2",
        b"/?a=%zz",
        b"/?a=1&a=2&=&&",
        b"/?a=b?c/d",
        b"/?",
        b"/a%2Fb/%2e%2e/c",
        b"//a//",
        b"/./a/../b",
        b"/a;x=1/b",
        b"/?q=http://other.example/%0d%0aX:%20y",
    ],
)
async def test_a_target_keeps_its_bytes(core_factory: CoreFactory, target: bytes) -> None:
    head = await sent(core_factory, target=b"/orders" + target)
    assert head.startswith(b"GET %b HTTP/1.1\r\n" % target)


@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PROPFIND", b"M-SEARCH", b"get"])
async def test_a_method_passes_as_it_is(core_factory: CoreFactory, method: bytes) -> None:
    """RFC 9110 section 9.1: methods are case-sensitive."""
    assert (await sent(core_factory, method=method)).startswith(method + b" / HTTP/1.1\r\n")


async def test_no_response_is_remembered_for_the_next_client(core_factory: CoreFactory) -> None:
    answer = HELLO.replace(
        b"\r\n\r\n", b"\r\nSet-Cookie: session=secret\r\nETag: a\r\nCache-Control: max-age=9\r\n\r\n", 1
    )
    async with upstream(answering(answer)) as server, front(api(server.port), core=core_factory) as proxy:
        for _ in range(2):
            assert (await proxy.get(b"/orders/")).body == b"hello"
        assert len(server.heads) == 2
        assert b"secret" not in b"".join(server.heads)
