"""Requests on a real listener, driven through raw sockets, with raw upstreams behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator

import pytest

from exporter.durations import ClientKey, ServerKey
from exporter.proxy.core import Call, Failure, Responder, Upstream, UpstreamError, UpstreamRequest
from tests.authority import DAY, Authority
from tests.proxy.front import api, front
from tests.proxy.upstreams import (
    CHUNKED,
    HELLO,
    NO_CONTENT,
    Wire,
    answering,
    client_tls,
    in_three_parts,
    refusing,
    saying,
    server_tls,
    silent,
    unused_port,
    upstream,
)

GONE_WITHIN = 0.5


def server_key(status: int | None, error: str | None = None, method: str = "GET") -> ServerKey:
    return ServerKey("orders", "/orders/", method, "http", status, error)


class FailingCore:
    """A core whose every request fails in one way."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure

    async def apply(self, upstreams: Collection[Upstream]) -> None: ...

    async def close(self) -> None: ...

    def call(self, upstream: Upstream, request: UpstreamRequest, responder: Responder) -> Call:
        if self._failure is Failure.OVERLOADED:
            raise UpstreamError(self._failure)
        asyncio.get_running_loop().call_soon(responder.failed, self._failure)
        return NoCall()


class NoCall:
    def send(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def cancel(self) -> None: ...


@pytest.fixture(autouse=True)
def nothing_goes_wrong_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    expected = {"API answers 503: certificate unusable", "requests in flight were cut off"}
    assert {record.message for record in caplog.get_records("call") if record.levelno >= logging.WARNING} <= expected


# What goes out.


@pytest.mark.parametrize(
    ("strip", "base", "target", "expected"),
    [
        (True, "/", b"/orders/1", b"/1"),
        (True, "/v1/", b"/orders/1?a=%2F&b", b"/v1/1?a=%2F&b"),
        (True, "/v1", b"/orders/a%2Fb/../c//d", b"/v1/a%2Fb/../c//d"),
        (True, "/v1/", b"/orders/%00%7E~", b"/v1/%00%7E~"),
        (False, "/", b"/orders/1", b"/orders/1"),
        (False, "/v1/", b"/orders/1?x", b"/v1/orders/1?x"),
        (True, "/v1/", b"/orders/1?", b"/v1/1?"),
    ],
)
async def test_a_request_goes_to_the_targets_path(*, strip: bool, base: str, target: bytes, expected: bytes) -> None:
    async with (
        upstream(answering(NO_CONTENT)) as server,
        front(api(server.port, path=base, strip_listen_path=strip)) as proxy,
    ):
        assert (await proxy.get(target)).status == 204
        assert server.request_lines == [b"GET %s HTTP/1.1" % expected]


async def test_a_request_carries_the_fields_of_the_client_and_those_of_the_proxy() -> None:
    fields = [b"X-A: 1", b"Cookie: a=1", b"Cookie: b=2", b"X-Forwarded-For: 6.6.6.6", b"Forwarded: for=6.6.6.6"]
    async with upstream(answering(NO_CONTENT)) as server, front(api(server.port)) as proxy:
        await proxy.get(b"/orders/", *fields)
        assert server.heads == [
            b"GET / HTTP/1.1\r\n"
            b"host: 127.0.0.1:%d\r\n"
            b"X-A: 1\r\n"
            b"Cookie: a=1\r\n"
            b"Cookie: b=2\r\n"
            b"x-forwarded-for: 127.0.0.1\r\n"
            b"x-forwarded-proto: http\r\n"
            b"x-forwarded-host: gateway.example\r\n"
            b"\r\n" % server.port
        ]


@pytest.mark.parametrize(("preserve", "host"), [(True, b"gateway.example"), (False, b"127.0.0.1:%d")])
async def test_the_host_is_the_targets_unless_it_is_preserved(*, preserve: bool, host: bytes) -> None:
    async with (
        upstream(answering(NO_CONTENT)) as server,
        front(api(server.port, preserve_host_header=preserve)) as proxy,
    ):
        await proxy.get(b"/orders/")
        assert b"\r\nhost: %s\r\n" % host.replace(b"%d", b"%d" % server.port) in server.heads[0]
        assert b"\r\nx-forwarded-host: gateway.example\r\n" in server.heads[0]


async def test_the_context_of_a_trace_is_passed_on_untouched() -> None:
    parent = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with upstream(answering(NO_CONTENT)) as server, front(api(server.port)) as proxy:
        await proxy.get(b"/orders/", parent, b"tracestate: a=1,b=2")
        assert parent + b"\r\ntracestate: a=1,b=2\r\n" in server.heads[0]


@pytest.mark.parametrize(
    ("framing", "sent", "taken"),
    [
        (b"Content-Length: 5", b"hello", b"hello"),
        (b"Transfer-Encoding: chunked", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", None),
        (b"Content-Length: 5\r\nExpect: 100-continue", b"hello", b"hello"),
    ],
)
async def test_a_body_is_passed_on(framing: bytes, sent: bytes, taken: bytes | None) -> None:
    async def script(wire: Wire) -> None:
        head = await wire.head()
        if taken is not None:
            assert b"\r\nContent-Length: 5\r\n" in head
            await wire.take(taken)
        else:
            received = await wire.reader.readuntil(b"\r\n0\r\n\r\n")
            assert b"".join(received.split(b"\r\n")[1::2]) == b"hello"
        await wire.send(NO_CONTENT)

    async with upstream(script) as server, front(api(server.port)) as proxy:
        reply = await proxy.send(
            b"POST /orders/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + framing + b"\r\n\r\n" + sent
        )
        assert b" 204 " in reply.raw
        assert (b"expect" in server.heads[0].lower()) == (b"Expect" in framing)


# What comes back.


@pytest.mark.parametrize(
    ("response", "head", "body"),
    [
        (HELLO, b"content-length: 5", b"hello"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"transfer-encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", b"transfer-encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"", b""),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", b"", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: a\r\n\r\n", b"etag: a", b""),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", b"", b""),
        (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", b"content-length: 2", b"no"),
    ],
)
async def test_a_response_is_passed_on(response: bytes, head: bytes, body: bytes) -> None:
    async with upstream(saying(response)) as server, front(api(server.port)) as proxy:
        reply = await proxy.get(b"/orders/")
        assert (reply.status, reply.body) == (int(response.split()[1]), body)
        assert head in reply.head.lower()


async def test_the_answer_to_head_keeps_its_length_and_has_no_body() -> None:
    async with upstream(answering(HELLO.removesuffix(b"hello"))) as server, front(api(server.port)) as proxy:
        reply = await proxy.get(b"/orders/", method=b"HEAD")
        assert (reply.status, reply.body) == (200, b"")
        assert b"Content-Length: 5\r\n" in reply.head


async def test_fields_of_a_response_pass_but_those_of_the_connection() -> None:
    fields = b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1"
    async with (
        upstream(answering(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nContent-Length: 0\r\n\r\n")) as server,
        front(api(server.port)) as proxy,
    ):
        assert (await proxy.get(b"/orders/")).raw == (
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\nconnection: close\r\n\r\n"
        )


async def test_a_response_that_cannot_be_passed_on_is_a_bad_response() -> None:
    bad = b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n"
    async with upstream(saying(bad)) as server, front(api(server.port)) as proxy:
        assert (await proxy.get(b"/orders/")).document["code"] == "upstream_bad_response"


async def test_a_part_of_a_response_reaches_the_client_before_the_next_is_sent() -> None:
    taken = asyncio.Event()
    async with (
        upstream(in_three_parts(taken)) as server,
        front(api(server.port)) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(b"GET /orders/ HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(3):
            assert await reader.readexactly(9) == b"4\r\npart\r\n"
            taken.set()
        assert await reader.readexactly(5) == b"0\r\n\r\n"


async def test_a_part_of_a_request_reaches_the_upstream_before_the_next_is_sent() -> None:
    arrived = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        for _ in range(3):
            await wire.take(b"4\r\npart\r\n")
            arrived.set()
        await wire.take(b"0\r\n\r\n")
        await wire.send(HELLO)

    async with upstream(script) as server, front(api(server.port)) as proxy, proxy.connection() as (reader, writer):
        writer.write(b"POST /orders/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await server.reached(heads=1)
        for _ in range(3):
            writer.write(b"4\r\npart\r\n")
            await arrived.wait()
            arrived.clear()
        writer.write(b"0\r\n\r\n")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")


# What is answered when nothing is forwarded.


@pytest.mark.parametrize("target", [b"/", b"/other", b"/orders", b"/Orders/", b"/ordersx/", b"/%6frders/"])
async def test_a_path_that_no_api_serves_is_not_found(target: bytes) -> None:
    async with upstream(silent) as server, front(api(server.port)) as proxy:
        reply = await proxy.get(target)
        assert (reply.status, reply.document["code"], server.wires) == (404, "no_such_api", [])
    assert (list(proxy.server), proxy.client) == ([ServerKey(None, None, "GET", "http", 404, "no_such_api")], {})


async def test_an_error_is_a_sentence_and_a_code() -> None:
    async with front() as proxy:
        reply = await proxy.get(b"/")
        assert reply.document == {"error": "No API is served at this path.", "code": "no_such_api"}
        assert b"\r\ncontent-type: application/json\r\n" in reply.head


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Failure.UNREACHABLE, 502),
        (Failure.CLOSED, 502),
        (Failure.BAD_RESPONSE, 502),
        (Failure.SERVER_CERTIFICATE_INVALID, 502),
        (Failure.SERVER_CERTIFICATE_EXPIRED, 502),
        (Failure.CERTIFICATE_REFUSED, 502),
        (Failure.OVERLOADED, 503),
        (Failure.CERTIFICATE_UNUSABLE, 503),
        (Failure.TIMEOUT, 504),
    ],
)
async def test_each_failure_has_its_status_and_its_code(failure: Failure, status: int) -> None:
    async with front(api(), core=lambda _: FailingCore(failure)) as proxy:
        reply = await proxy.get(b"/orders/")
        assert (reply.status, reply.document["code"]) == (status, failure.value)
    # Where nothing was sent, there was no call to measure.
    called = failure not in {Failure.OVERLOADED, Failure.CERTIFICATE_UNUSABLE}
    client_key = ClientKey("orders", "GET", "127.0.0.1", 1, None, failure.value)
    assert list(proxy.server) == [server_key(status, failure.value)]
    assert list(proxy.client) == [client_key] * called


def test_every_failure_has_been_looked_at() -> None:
    assert len(Failure) == 9


async def test_an_upstream_that_is_not_there_is_unreachable() -> None:
    async with front(api(unused_port())) as proxy:
        reply = await proxy.get(b"/orders/")
        assert (reply.status, reply.document["code"]) == (502, "upstream_unreachable")


async def test_an_upstream_that_does_not_answer_times_out() -> None:
    async with upstream(silent) as server, front(api(server.port, timeout_seconds=0.1)) as proxy:
        reply = await proxy.get(b"/orders/")
        assert (reply.status, reply.document["code"]) == (504, "upstream_timeout")


async def test_an_expired_certificate_of_the_upstream_is_told_apart(authority: Authority) -> None:
    async with (
        upstream(silent, server_tls(authority.issue("127.0.0.1", -DAY))) as server,
        front(api(server.port, tls=client_tls(authority))) as proxy,
    ):
        reply = await proxy.get(b"/orders/")
        assert (reply.status, reply.document["code"]) == (502, "upstream_server_certificate_expired")


async def test_an_upstream_that_refuses_our_certificate_is_told_apart(authority: Authority) -> None:
    tls = server_tls(authority.issue("127.0.0.1"), authority)
    async with (
        upstream(refusing(tls)) as server,
        front(api(server.port, tls=client_tls(authority, authority.issue("anna", -DAY)))) as proxy,
    ):
        reply = await proxy.get(b"/orders/")
        assert (reply.status, reply.document["code"]) == (502, "upstream_certificate_refused")


async def test_an_unusable_certificate_sends_nothing() -> None:
    async with upstream(silent) as server, front(api(server.port, unusable="no such file: secret.pem")) as proxy:
        reply = await proxy.get(b"/orders/")
        assert (reply.status, reply.document["code"], server.wires) == (503, "certificate_unusable", [])
        assert b"secret" not in reply.raw


async def test_an_api_for_clients_with_certificates_is_closed() -> None:
    async with upstream(silent) as server, front(api(server.port, client_certificates=True)) as proxy:
        reply = await proxy.get(b"/orders/")
        assert (reply.status, reply.document["code"], server.wires) == (403, "client_certificate_required", [])
    assert (list(proxy.server), proxy.client) == ([server_key(403, "client_certificate_required")], {})


@pytest.mark.parametrize("target", [b"/orders/\xc3\xab", b"/orders/?\xff", b"/orders/\x01"])
async def test_a_target_of_other_bytes_than_visible_ascii_is_a_bad_request(target: bytes) -> None:
    async with upstream(silent) as server, front(api(server.port)) as proxy:
        reply = await proxy.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
        assert (reply.status, server.wires) == (400, [])


async def test_a_tunnel_is_not_made() -> None:
    async with upstream(answering(NO_CONTENT)) as server, front(api(server.port, listen_path=b"/")) as proxy:
        reply = await proxy.send(b"CONNECT /orders HTTP/1.1\r\nHost: x\r\n\r\n" + b"\x16\x03\x01 not HTTP")
        assert (reply.status, reply.document["code"], server.wires) == (501, "not_implemented", [])


@pytest.mark.parametrize("head", [b"OPTIONS *", b"CONNECT other.example:443", b"GET other", b"GET http://"])
async def test_a_target_that_is_no_path_reaches_no_upstream(head: bytes) -> None:
    async with upstream(answering(NO_CONTENT)) as server, front(api(server.port, listen_path=b"/")) as proxy:
        reply = await proxy.send(head + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (reply.status, server.wires) == (501 if head.startswith(b"CONNECT") else 400, [])


async def test_a_refused_request_whose_body_is_unread_ends_its_connection() -> None:
    async with front() as proxy:
        reply = await proxy.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        assert reply.document["code"] == "no_such_api"
        assert b"\r\nconnection: close\r\n" in reply.head


async def test_a_refused_request_without_a_body_leaves_its_connection_open() -> None:
    async with front() as proxy:
        twice = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await proxy.send(twice)).raw.count(b"no_such_api") == 2


async def test_a_failure_within_a_request_leaves_no_half_of_it_on_the_connection() -> None:
    async with front(api(unused_port())) as proxy:
        reply = await proxy.send(b"POST /orders/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        assert reply.document["code"] == "upstream_unreachable"
        assert b"\r\nconnection: close\r\n" in reply.head


# Who leaves.


@pytest.mark.parametrize(("answered", "status"), [(b"", None), (CHUNKED + b"4\r\npart\r\n", 200), (HELLO[:-1], 200)])
@pytest.mark.parametrize(
    ("request_", "method"),
    [
        (b"GET /orders/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET"),
        (b"POST /orders/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST"),
        (b"POST /orders/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel", "POST"),
        (b"POST /orders/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", "POST"),
        (b"POST /orders/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "POST"),
    ],
    ids=["no body", "a whole body", "half a body", "some chunks", "no chunk"],
)
async def test_a_client_that_leaves_cancels_the_upstream_call(
    request_: bytes, method: str, answered: bytes, status: int | None
) -> None:
    reached, closed = asyncio.Event(), asyncio.Event()
    ends = b""

    async def script(wire: Wire) -> None:
        nonlocal ends
        await wire.head()
        await wire.send(answered)
        reached.set()
        ends = (await wire.rest())[-5:]
        closed.set()

    async with upstream(script) as server, front(api(server.port)) as proxy:
        async with proxy.connection() as (reader, writer):
            writer.write(request_)
            await reached.wait()
            if answered:
                await reader.readuntil(b"\r\n\r\n")
        await asyncio.wait_for(closed.wait(), GONE_WITHIN)
        assert ends != b"0\r\n\r\n"
    client_key = ClientKey("orders", method, "127.0.0.1", server.port, status, "cancelled")
    assert (list(proxy.server), list(proxy.client)) == ([server_key(status, "client_gone", method)], [client_key])


@pytest.mark.parametrize(
    ("response", "rest"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"hello"),
        (CHUNKED + b"5\r\nhello\r\n", b"5\r\nhello\r\n"),
    ],
)
async def test_a_truncated_response_is_seen_as_truncated(response: bytes, rest: bytes) -> None:
    async with upstream(saying(response)) as server, front(api(server.port)) as proxy:
        reply = await proxy.send(b"GET /orders/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reply.body == rest
    client_key = ClientKey("orders", "GET", "127.0.0.1", server.port, 200, "upstream_closed")
    assert (list(proxy.server), list(proxy.client)) == ([server_key(200, "upstream_closed")], [client_key])


async def test_a_connection_carries_one_request_after_another() -> None:
    async def script(wire: Wire) -> None:
        while head := await wire.head():
            if b"Content-Length: 3" in head:
                await wire.take(b"abc")
            await wire.send(HELLO)

    async with upstream(script) as server, front(api(server.port)) as proxy, proxy.connection() as (reader, writer):
        for request in (b"GET /orders/ HTTP/1.1\r\n", b"POST /orders/ HTTP/1.1\r\nContent-Length: 3\r\n") * 3:
            writer.write(request + b"Host: x\r\n\r\n" + (b"abc" if b"POST" in request else b""))
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        assert len(server.wires) == 1


# What is measured.


async def test_a_request_is_measured_on_both_sides() -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port)) as proxy:
        await proxy.get(b"/orders/1")
        await proxy.get(b"/orders/2?a=b")
    client_key = ClientKey("orders", "GET", "127.0.0.1", server.port, 200, None)
    assert (list(proxy.server), list(proxy.client)) == ([server_key(200)], [client_key])
    assert sum(proxy.server[server_key(200)].counts) == sum(proxy.client[client_key].counts) == 2
    assert proxy.server[server_key(200)].total >= proxy.client[client_key].total > 0


async def test_methods_that_nobody_has_heard_of_are_one_series() -> None:
    async with upstream(answering(NO_CONTENT)) as server, front(api(server.port)) as proxy:
        await proxy.get(b"/orders/", method=b"PURGE")
        assert server.request_lines == [b"PURGE / HTTP/1.1"]
    assert list(proxy.server) == [server_key(204, None, "_OTHER")]


async def test_what_ends_after_its_api_has_gone_is_not_measured() -> None:
    reached = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        reached.set()
        await wire.rest()

    async with upstream(script) as server, front(api(server.port)) as proxy:
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(proxy.get(b"/orders/"))
            await reached.wait()
            await proxy.gateway.unload("orders")
        assert (await asked).document["code"] == "upstream_closed"
    assert (proxy.server, proxy.client) == ({}, {})


async def test_nothing_is_logged_for_a_request(caplog: pytest.LogCaptureFixture) -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port)) as proxy:
        with caplog.at_level(logging.INFO):
            caplog.clear()
            await proxy.get(b"/orders/")
            await proxy.get(b"/other")
        assert caplog.records == []


@pytest.mark.parametrize("target", [b"/orders/a%0Ab", b"/orders/a%0D%0Ab", b"/orders/%00", b"/orders/%E2%80%A8"])
async def test_a_path_is_forwarded_whatever_it_decodes_to(target: bytes) -> None:
    async with upstream(answering(NO_CONTENT)) as server, front(api(server.port)) as proxy:
        assert (await proxy.get(target)).status == 204
        assert server.request_lines == [b"GET %s HTTP/1.1" % target.removeprefix(b"/orders")]


@pytest.mark.parametrize("hosts", [[], [b"Host: a", b"Host: b"], [b"Host: a", b"host: a"]])
async def test_without_just_one_host_nothing_is_forwarded(hosts: list[bytes]) -> None:
    async with upstream(answering(NO_CONTENT)) as server, front(api(server.port)) as proxy:
        lines = [b"GET /orders/ HTTP/1.1", *hosts, b"Connection: close"]
        reply = await proxy.send(b"\r\n".join(lines) + b"\r\n\r\n")
        assert (reply.status, reply.document["code"]) == (400, "bad_request")
        assert server.request_lines == []
