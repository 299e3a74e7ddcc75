"""What a client is told when its request comes to nothing, with each core.

RFC 9110 sections 9.2.2 (what may be repeated) and 15.6 (502, 503, 504); RFC 9112 section 8 (what is not whole).
"""

from __future__ import annotations

import asyncio

import pytest

from exporter.proxy.core import CoreFactory
from tests.proxy.front import Reply, api, front, replies
from tests.proxy.upstreams import (
    CHUNKED,
    HELLO,
    Keeping,
    Script,
    Wire,
    answering,
    saying,
    silent,
    unaccepting,
    unused_port,
    upstream,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")

OK = b"HTTP/1.1 200 OK\r\n"
GET = b"GET /orders/ HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /orders/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def says(reply: Reply, status: int, code: str) -> None:
    assert (reply.status, reply.document["code"]) == (status, code)
    assert b"\r\ncontent-type: application/json\r\n" in reply.head


async def resets(wire: Wire) -> None:
    await wire.head()
    wire.reset()


# No response.


@pytest.mark.parametrize(
    "script",
    [saying(b""), saying(b"HTTP/1.1 2"), saying(OK), saying(OK + b"Content-Length: 5\r\n"), resets],
    ids=["closes", "within the line", "after the line", "within the fields", "resets"],
)
async def test_an_upstream_that_goes_away_before_its_head_is_whole_has_closed(
    core_factory: CoreFactory, script: Script
) -> None:
    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        says(await proxy.get(b"/orders/", method=b"DELETE"), 502, "upstream_closed")


async def test_an_upstream_that_is_not_there_is_unreachable(core_factory: CoreFactory) -> None:
    async with front(api(unused_port()), core=core_factory) as proxy:
        says(await proxy.get(b"/orders/"), 502, "upstream_unreachable")


async def test_an_upstream_that_does_not_accept_times_out(core_factory: CoreFactory) -> None:
    async with unaccepting() as port, front(api(port, timeout_seconds=0.2), core=core_factory) as proxy:
        says(await proxy.get(b"/orders/"), 504, "upstream_timeout")


@pytest.mark.parametrize("begun", [b"", OK, b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_upstream_that_does_not_answer_times_out(core_factory: CoreFactory, begun: bytes) -> None:
    script = Keeping(begun)
    async with (
        upstream(script) as server,
        front(api(server.port, timeout_seconds=0.2), core=core_factory) as proxy,
    ):
        says(await proxy.get(b"/orders/"), 504, "upstream_timeout")
        await asyncio.wait_for(script.closed.wait(), 0.5)


async def test_the_time_for_a_head_is_not_the_time_for_content(core_factory: CoreFactory) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(CHUNKED + b"1\r\na\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.reader.read(1), 0.5)
        await wire.send(b"1\r\nb\r\n0\r\n\r\n")

    async with (
        upstream(script) as server,
        front(api(server.port, timeout_seconds=0.2), core=core_factory) as proxy,
    ):
        assert (await proxy.get(b"/orders/")).content == b"ab"


async def test_the_time_of_one_request_is_not_taken_from_the_next(core_factory: CoreFactory) -> None:
    async def script(wire: Wire) -> None:
        while await wire.head():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(wire.reader.read(1), 0.2)
            await wire.send(HELLO)

    async with (
        upstream(script) as server,
        front(api(server.port, timeout_seconds=0.3), core=core_factory) as proxy,
    ):
        assert [each.status for each in replies((await proxy.send(GET * 2 + LAST)).raw)] == [200] * 3
        assert len(server.wires) == 1


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_failure_leaves_the_clients_connection_open(core_factory: CoreFactory, method: bytes) -> None:
    async with front(api(unused_port()), core=core_factory) as proxy:
        reply = await proxy.send(method + GET[3:] + LAST)
        first, second = replies(reply.raw)
        assert (first.status, second.status) == (502, 502)
        assert (first.body == b"") == (method == b"HEAD")


# No response that can be passed on.


MALFORMED = {
    "another protocol": b"220 ready ESMTP\r\n\r\n",
    "no version": b"200 OK\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of 000": b"HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n",
    "a status of 099": b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"X\r\nContent-Length: 0\r\n\r\n",
    "no name": OK + b": x\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "a space in a name": OK + b"X Y: z\r\nContent-Length: 0\r\n\r\n",
    "NUL": OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "a bare CR": OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "a negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "a signed length": OK + b"Content-Length: +5\r\n\r\nhello",
    "an hexadecimal length": OK + b"Content-Length: 0x5\r\n\r\nhello",
    "a length with a space": OK + b"Content-Length: 5 5\r\n\r\nhello",
    "an enormous length": OK + b"Content-Length: 184467440737095516160\r\n\r\nhello",
    "a length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunked and then gzip": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "gzip and then chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "an unknown coding": OK + b"Transfer-Encoding: other\r\n\r\nhello",
    "a head without an end": OK + b"X: y\r\n" * 20_000,
    "a field without an end": OK + b"X: " + b"y" * 100_000,
    "two equal lengths": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "an empty coding and chunked": OK + b"Transfer-Encoding: \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_malformed_response_is_a_bad_response(core_factory: CoreFactory, answer: bytes, version: bytes) -> None:
    async with upstream(saying(answer)) as server, front(api(server.port), core=core_factory) as proxy:
        says(
            await proxy.send(b"GET /orders/ HTTP/%b\r\nHost: x\r\nConnection: close\r\n\r\n" % version),
            502,
            "upstream_bad_response",
        )
        assert b"hello" not in (await proxy.send(LAST)).raw


@pytest.mark.parametrize(
    "answer", [OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", OK[:-2] + b"\nContent-Length: 0\n\n"]
)
async def test_what_a_gateway_may_repair_is_repaired_or_refused(core_factory: CoreFactory, answer: bytes) -> None:
    """RFC 9112 sections 2.2, a bare LF, and 5.2, a folded field."""
    async with upstream(saying(answer)) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.get(b"/orders/")
        assert reply.status in {200, 502}
        assert reply.raw.count(b"\n") == reply.raw.count(b"\r\n")
        assert b"\n b" not in reply.raw


async def test_a_malformed_response_ends_its_connection_and_nothing_else(core_factory: CoreFactory) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(OK + b"Content-Length: x\r\n\r\n" if len(wire.server.wires) == 1 else HELLO)
        await wire.rest()

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        assert [each.status for each in replies((await proxy.send(GET + LAST)).raw)] == [502, 200]
        assert len(server.wires) == 2


# What may be repeated (RFC 9110 section 9.2.2).


@pytest.mark.parametrize(
    ("method", "repeated"),
    [(b"GET", True), (b"HEAD", True), (b"OPTIONS", True), (b"DELETE", True), (b"POST", False), (b"PATCH", False)],
)
async def test_what_can_do_no_harm_is_sent_once_more_on_a_stale_connection(
    core_factory: CoreFactory, method: bytes, *, repeated: bool
) -> None:
    async def script(wire: Wire) -> None:
        first = len(wire.server.wires) == 1
        await wire.head()
        await wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        if first:
            await wire.head()
        else:
            await wire.rest()

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        await proxy.get(b"/orders/")
        reply = await proxy.get(b"/orders/", method=method)
        assert (reply.status, len(server.wires)) == ((204, 2) if repeated else (502, 1))


async def test_content_is_never_sent_twice(core_factory: CoreFactory) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        if len(wire.server.heads) == 1:
            await wire.send(HELLO)
            await wire.head()

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        await proxy.get(b"/orders/")
        reply = await proxy.send(
            b"PUT /orders/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
        )
        says(reply, 502, "upstream_closed")
        assert len(server.heads) == 2


async def test_a_connection_that_the_upstream_has_closed_is_not_used_again(core_factory: CoreFactory) -> None:
    async with upstream(saying(HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        for number in range(3):
            assert (await proxy.get(b"/orders/", method=b"POST")).body == b"hello"
            await asyncio.gather(*server.tasks)
            await asyncio.sleep(0)
            assert len(server.wires) == number + 1


async def test_one_api_that_fails_is_nothing_to_another(core_factory: CoreFactory) -> None:
    async with (
        upstream(answering(HELLO)) as server,
        upstream(silent) as mute,
        front(
            api(server.port), api(mute.port, "mute", listen_path=b"/mute/", timeout_seconds=0.2), core=core_factory
        ) as proxy,
        asyncio.TaskGroup() as group,
    ):
        waiting = [group.create_task(proxy.get(b"/mute/")) for _ in range(5)]
        assert (await proxy.get(b"/orders/")).body == b"hello"
        assert [(await each).status for each in waiting] == [504] * 5
