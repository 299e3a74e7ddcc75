"""Bodies pass as they come, and no faster than they are taken; who leaves is noticed at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from exporter.proxy.core import Failure, UpstreamError
from tests.authority import Authority
from tests.proxy.conformance import Caller
from tests.proxy.upstreams import CHUNKED, NO_CONTENT, Wire, client_tls, in_three_parts, saying, silent, upstream

MEBIBYTE = b"x" * 2**20
# More than the sockets of both ends and everything between them may hold.
HELD = 24
ALL = 96


async def test_a_part_of_a_request_arrives_before_the_next_is_produced(caller: Caller) -> None:
    arrived = [asyncio.Event() for _ in range(3)]

    async def script(wire: Wire) -> None:
        await wire.head()
        for event in arrived:
            await wire.take(b"4\r\npart\r\n")
            event.set()
        await wire.take(b"0\r\n\r\n")
        await wire.send(NO_CONTENT)

    async def body() -> AsyncIterator[bytes]:
        for event in arrived:
            yield b"part"
            await event.wait()

    async with upstream(script) as server:
        assert (await caller.ask(await caller.to(server.port), "POST", body=body())).status == 204


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"4")]], ids=["chunked", "length"])
async def test_the_head_arrives_before_the_body_begins(caller: Caller, headers: list[tuple[bytes, bytes]]) -> None:
    arrived = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        arrived.set()
        await wire.take(b"part" if headers else b"4\r\npart\r\n0\r\n\r\n")
        await wire.send(NO_CONTENT)

    async def body() -> AsyncIterator[bytes]:
        await arrived.wait()
        yield b"part"

    async with upstream(script) as server:
        assert (await caller.ask(await caller.to(server.port), "POST", b"/", headers, body())).status == 204


async def test_a_part_of_a_response_is_delivered_before_the_next_is_sent(caller: Caller) -> None:
    taken = asyncio.Event()
    async with (
        upstream(in_three_parts(taken)) as server,
        caller.forward(await caller.to(server.port)) as response,
    ):
        received = []
        async for part in response.body():
            received.append(part)
            taken.set()
        assert received == [b"part"] * 3


async def test_a_response_may_begin_and_go_on_while_the_request_is_being_sent(caller: Caller) -> None:
    echoes: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(CHUNKED)
        for _ in range(3):
            await wire.take(b"4\r\nping\r\n")
            await wire.send(b"4\r\npong\r\n")
        await wire.take(b"0\r\n\r\n")
        await wire.send(b"0\r\n\r\n")

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"ping"
            assert await echoes.get() == b"pong"

    async with upstream(script) as server:
        to = await caller.to(server.port)
        async with caller.forward(to, "POST", body=body()) as response:
            async for part in response.body():
                echoes.put_nowait(part)
        assert echoes.empty()


async def test_an_early_response_arrives_though_the_request_is_not_complete(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.take(b"5\r\nfirst\r\n")
        await wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        # Half a request has been sent: nothing may follow it on this connection.
        assert await wire.rest() == b""

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async with upstream(script) as server:
        answer = await caller.ask(await caller.to(server.port), "POST", body=body())
        assert (answer.status, answer.body) == (413, b"big")


async def test_an_upstream_is_slowed_down_by_a_reader_that_stalls(caller: Caller) -> None:
    sent, done = 0, asyncio.Event()

    async def script(wire: Wire) -> None:
        nonlocal sent
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (ALL * len(MEBIBYTE)))
        while sent < ALL:
            await wire.send(MEBIBYTE)
            sent += 1
        done.set()

    async with upstream(script) as server, caller.forward(await caller.to(server.port)) as response:
        body = response.body()
        read = len(await anext(body))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.5)
        assert sent < HELD
        read += sum([len(part) async for part in body])
        assert (read, sent) == (ALL * len(MEBIBYTE), ALL)


async def test_a_body_is_slowed_down_by_an_upstream_that_stalls(caller: Caller) -> None:
    produced, done, go_on = 0, asyncio.Event(), asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await go_on.wait()
        await wire.reader.readexactly(ALL * len(MEBIBYTE))
        await wire.send(NO_CONTENT)

    async def body() -> AsyncIterator[bytes]:
        nonlocal produced
        while produced < ALL:
            yield MEBIBYTE
            produced += 1
        done.set()

    async with upstream(script) as server, asyncio.TaskGroup() as group:
        length = [(b"content-length", b"%d" % (ALL * len(MEBIBYTE)))]
        asked = group.create_task(caller.ask(await caller.to(server.port), "PUT", b"/", length, body()))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.5)
        assert produced < HELD
        go_on.set()
        assert (await asked).status == 204


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"a\r\nhello",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"5\r\nhelloXX\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\nzz\r\n",
    ],
)
async def test_a_body_that_is_cut_off_or_malformed_is_an_error(caller: Caller, response: bytes) -> None:
    async with upstream(saying(response)) as server:
        failure = await caller.failure(await caller.to(server.port))
        assert failure in {Failure.CLOSED, Failure.BAD_RESPONSE}


@pytest.mark.parametrize("framing", [b"Content-Length: 50", b"Transfer-Encoding: chunked", b"X: until it closes"])
async def test_a_reset_within_the_body_is_an_error(caller: Caller, framing: bytes) -> None:
    read = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n5\r\nabcde\r\n" % framing)
        await read.wait()
        wire.reset()

    async with upstream(script) as server, caller.forward(await caller.to(server.port)) as answer:
        body = answer.body()
        await anext(body)
        read.set()
        with pytest.raises(UpstreamError) as caught:
            await anext(body)
        assert caught.value.failure == Failure.CLOSED


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"10")]], ids=["chunked", "length"])
@pytest.mark.parametrize("answered", [False, True])
async def test_a_body_that_fails_is_never_completed_and_its_failure_is_passed_on(
    caller: Caller, headers: list[tuple[bytes, bytes]], *, answered: bool
) -> None:
    sent, rest = asyncio.Event(), b""

    async def script(wire: Wire) -> None:
        nonlocal rest
        await wire.head()
        await wire.take(b"first" if headers else b"5\r\nfirst\r\n")
        if answered:
            await wire.send(CHUNKED + b"4\r\npart\r\n")
        sent.set()
        rest = await wire.rest()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await sent.wait()
        raise LookupError

    async with upstream(script) as server:
        to = await caller.to(server.port)
        with pytest.raises(LookupError):
            await caller.ask(to, "POST", b"/", headers, body())
        await asyncio.gather(*server.tasks)
        assert rest == b""


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelling_closes_the_connection(caller: Caller, *, begun: bool) -> None:
    reached, closed = asyncio.Event(), asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        if begun:
            await wire.send(CHUNKED + b"4\r\npart\r\n")
        reached.set()
        await wire.rest()
        closed.set()

    async with upstream(script) as server, asyncio.TaskGroup() as group:
        asked = group.create_task(caller.ask(await caller.to(server.port)))
        await reached.wait()
        asked.cancel()
        await asyncio.wait_for(closed.wait(), 2)


async def test_cancelling_during_the_handshake_closes_the_connection(caller: Caller, authority: Authority) -> None:
    async with upstream(silent) as server, asyncio.TaskGroup() as group:
        asked = group.create_task(caller.ask(await caller.to(server.port, client_tls(authority))))
        await server.reached(wires=1)
        asked.cancel()
        await asyncio.wait_for(asyncio.gather(*server.tasks), 2)


async def test_leaving_before_the_body_has_been_read_closes_the_connection(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(CHUNKED + b"4\r\npart\r\n")
        await wire.rest()

    async with upstream(script) as server:
        async with caller.forward(await caller.to(server.port)) as response:
            assert response.status == 200
        await asyncio.wait_for(asyncio.gather(*server.tasks), 2)
