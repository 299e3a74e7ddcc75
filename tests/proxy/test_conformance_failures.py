"""Every way an upstream fails has its code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from exporter.proxy.core import Failure, UpstreamError
from tests.proxy.conformance import Caller, parts
from tests.proxy.upstreams import NO_CONTENT, Wire, answering, saying, silent, unaccepting, unused_port, upstream

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"hello\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX Y: space\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : space\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x7fb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"Content-Length: 0\r\n\r\n",
    ],
    ids=range(29),
)
async def test_a_malformed_response_is_a_bad_response(caller: Caller, response: bytes) -> None:
    async with upstream(saying(response)) as server:
        assert await caller.failure(await caller.to(server.port)) == Failure.BAD_RESPONSE


@pytest.mark.parametrize("sent", [b"", b"HT", OK, OK + b"Content-Length: 0\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_upstream_that_closes_before_its_response_is_complete_has_closed(
    caller: Caller, sent: bytes, method: str
) -> None:
    async with upstream(saying(sent)) as server:
        assert await caller.failure(await caller.to(server.port), method) == Failure.CLOSED
        assert len(server.wires) == 1


async def test_an_upstream_that_resets_has_closed(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        wire.reset()

    async with upstream(script) as server:
        assert await caller.failure(await caller.to(server.port)) == Failure.CLOSED
        assert len(server.wires) == 1


async def test_an_upstream_that_closes_while_the_request_is_sent_has_closed(caller: Caller) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async with upstream(saying(b"")) as server:
        assert await caller.failure(await caller.to(server.port), "PUT", body=endless()) == Failure.CLOSED


async def test_what_is_malformed_behind_a_chunk_that_was_waited_for_ends_the_response(caller: Caller) -> None:
    may_go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello")
        await may_go_on.wait()
        await wire.send(b"\r\n0\r\r\n\r\n")

    async with (
        upstream(script) as server,
        asyncio.timeout(5),
        caller.forward(await caller.to(server.port)) as response,
    ):
        await response.begun()
        content = response.body()
        assert await anext(content) == b"hello"
        may_go_on.set()
        with pytest.raises(UpstreamError):
            await anext(content)


async def test_a_refused_connection_is_unreachable(caller: Caller) -> None:
    assert await caller.failure(await caller.to(unused_port())) == Failure.UNREACHABLE


async def test_a_name_that_does_not_exist_is_unreachable(caller: Caller) -> None:
    assert await caller.failure(await caller.to(80, host="nowhere.invalid")) == Failure.UNREACHABLE


async def test_a_connection_that_nobody_takes_times_out(caller: Caller) -> None:
    async with unaccepting() as port:
        assert await caller.failure(await caller.to(port, timeout_seconds=0.1)) == Failure.TIMEOUT


async def test_headers_that_never_come_time_out(caller: Caller) -> None:
    async with upstream(silent) as server:
        to = await caller.to(server.port, timeout_seconds=0.1)
        assert await caller.failure(to) == Failure.TIMEOUT
        assert await caller.failure(to, "POST", body=parts(b"a")) == Failure.TIMEOUT
        await asyncio.wait_for(asyncio.gather(*server.tasks), 2)


async def test_a_client_that_is_slow_does_not_use_up_the_time_of_the_upstream(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.take(b"4\r\nslow\r\n0\r\n\r\n")
        await wire.send(NO_CONTENT)

    async def slow() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.3)
        yield b"slow"
        await asyncio.sleep(0.3)

    async with upstream(script) as server:
        to = await caller.to(server.port, timeout_seconds=0.2)
        assert (await caller.ask(to, "POST", body=slow())).status == 204


async def test_an_upstream_that_takes_no_more_of_the_request_times_out(caller: Caller) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 2**20

    async def script(wire: Wire) -> None:
        await wire.head()
        await asyncio.Event().wait()

    async with upstream(script) as server:
        to = await caller.to(server.port, timeout_seconds=0.3)
        assert await caller.failure(to, "PUT", body=endless()) == Failure.TIMEOUT


async def test_a_response_may_take_longer_than_the_time_to_its_headers(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await asyncio.sleep(0.4)
        await wire.send(b"hello")

    async with upstream(script) as server:
        assert (await caller.ask(await caller.to(server.port, timeout_seconds=0.2))).body == b"hello"


async def test_an_upstream_that_is_not_served_is_refused(caller: Caller) -> None:
    async with upstream(answering(NO_CONTENT)) as server:
        to = await caller.to(server.port)
        await caller.drop(to)
        with pytest.raises(UpstreamError):
            async with caller.forward(to):
                pass
        assert server.wires == []
