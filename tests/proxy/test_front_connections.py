"""Clients' connections: how many there are, what is sent ahead on them, who leaves, and when they are closed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from exporter.proxy.core import CoreFactory
from tests.proxy.front import api, front, replies
from tests.proxy.upstreams import HELLO, Keeping, Wire, answering, silent, unaccepting, unread, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

NOTICED_WITHIN = 0.5
AHEAD = 400_000
GET = b"GET /orders/ HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /orders/ HTTP/1.1\r\nHost: x\r\n"
LAST = b"GET /orders/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


# How many.


async def test_one_connection_too_many_is_told_so_and_closed(scheme: dict[str, Any]) -> None:
    async with front(most_connections=2, **scheme) as proxy, AsyncExitStack() as stack:
        for _ in range(2):
            reader, writer = await stack.enter_async_context(proxy.connection())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"}")
        reply = await proxy.send(b"")
        assert (reply.status, reply.document["code"]) == (503, "overloaded")
        assert b"\r\nconnection: close\r\n" in reply.head


async def test_where_a_connection_has_ended_there_is_room_for_another() -> None:
    async with front(most_connections=1) as proxy:
        for _ in range(3):
            assert (await proxy.get(b"/")).status == 404
            await proxy.deserted()


# What is sent ahead (RFC 9112 section 9.3.2).


async def test_requests_that_are_sent_ahead_are_answered_in_order(
    core_factory: CoreFactory, scheme: dict[str, Any]
) -> None:
    async def script(wire: Wire) -> None:
        while head := await wire.head():
            number = head.split()[1]
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(number), number))

    async with upstream(script) as server, front(api(server.port), core=core_factory, **scheme) as proxy:
        ahead = b"".join(b"GET /orders/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(50))
        reply = await proxy.send(ahead + LAST)
        assert [each.body for each in replies(reply.raw)] == [*(b"/%d" % number for number in range(50)), b"/"]
        assert len(server.wires) == 1


async def test_a_request_that_is_sent_ahead_waits_until_the_one_before_is_answered() -> None:
    answered = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.reached(heads=2), 0.1)
        answered.set()
        await wire.send(HELLO)
        await wire.head()
        await wire.send(HELLO)

    async with upstream(script) as server, front(api(server.port)) as proxy:
        assert len(replies((await proxy.send(GET + LAST)).raw)) == 2
        assert answered.is_set()


async def test_content_is_not_taken_for_the_next_request_and_the_next_request_not_for_content() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.take(GET)
        await wire.send(HELLO)
        assert await wire.head()
        await wire.send(HELLO)

    async with upstream(script) as server, front(api(server.port)) as proxy:
        reply = await proxy.send(POST + b"Content-Length: %d\r\n\r\n" % len(GET) + GET + LAST)
        assert [each.status for each in replies(reply.raw)] == [200, 200]
        assert server.request_lines == [b"POST / HTTP/1.1", b"GET / HTTP/1.1"]


async def test_what_is_behind_a_request_that_closes_is_not_served() -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port)) as proxy:
        assert len(replies((await proxy.send(LAST + GET)).raw)) == len(server.heads) == 1


async def test_what_is_behind_a_refused_request_is_not_served() -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port)) as proxy:
        reply = await proxy.send(b"GET /orders/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + GET)
        assert ([each.status for each in replies(reply.raw)], server.heads) == ([400], [])


async def test_a_client_that_sends_far_ahead_is_held_back(scheme: dict[str, Any]) -> None:
    """64 KiB are kept for later; what is more waits with the client."""
    script = Keeping()
    async with (
        upstream(script) as server,
        front(api(server.port), **scheme) as proxy,
        proxy.connection() as (_, writer),
    ):
        writer.write(GET * AHEAD)
        await proxy.holding_back()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(proxy.deserted(), 0.3)
        (held,) = (len(each._buffer) for each in proxy.shared._connections)
        assert 2**16 < held < 2**20
        writer.transport.abort()


async def test_what_was_held_back_is_served_in_its_turn(scheme: dict[str, Any]) -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), **scheme) as proxy:
        reply = await proxy.send(GET * 5000 + LAST)
        assert (reply.raw.count(b"hello"), len(server.heads), len(server.wires)) == (5001, 5001, 1)


# Who leaves.


@pytest.mark.parametrize("answered", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_client_that_leaves_cancels_the_call(
    core_factory: CoreFactory, scheme: dict[str, Any], answered: bytes
) -> None:
    script = Keeping(answered)
    async with upstream(script) as server, front(api(server.port), core=core_factory, **scheme) as proxy:
        async with proxy.connection() as (reader, writer):
            writer.write(GET)
            await server.reached(heads=1)
            if answered:
                await reader.readuntil(b"half")
        await asyncio.wait_for(script.closed.wait(), NOTICED_WITHIN)


async def test_a_client_that_leaves_before_there_is_a_connection_to_the_upstream_is_noticed(
    core_factory: CoreFactory,
) -> None:
    async with unaccepting() as port, front(api(port), core=core_factory) as proxy:
        async with proxy.connection() as (_, writer):
            writer.write(GET)
            await proxy.serving()
        await asyncio.wait_for(proxy.deserted(), NOTICED_WITHIN)


@pytest.mark.parametrize("resets", [False, True])
async def test_a_client_that_leaves_while_its_upload_is_held_back_is_noticed(
    core_factory: CoreFactory, scheme: dict[str, Any], *, resets: bool
) -> None:
    """Whose connection is not read: the end of it is behind what it has sent."""
    gone, closed = asyncio.Event(), asyncio.Event()

    async def script(wire: Wire) -> None:
        unread(wire.writer)
        await gone.wait()
        unread(wire.writer, again=True)
        await wire.rest()
        closed.set()

    async with upstream(script) as server, front(api(server.port), core=core_factory, **scheme) as proxy:
        async with proxy.connection() as (reader, writer), asyncio.TaskGroup() as group:
            writer.write(POST + b"Content-Length: 100000000\r\n\r\n")
            held = group.create_task(proxy.holding_back())
            while not held.done():
                writer.write(bytes(2**14))
                await writer.drain()
            if resets:
                Wire(server, reader, writer).reset()
            writer.transport.abort()
        await asyncio.wait_for(proxy.deserted(), NOTICED_WITHIN)
        gone.set()
        await asyncio.wait_for(closed.wait(), NOTICED_WITHIN)


async def test_a_client_that_leaves_within_a_head_is_not_a_request() -> None:
    async with upstream(silent) as server, front(api(server.port)) as proxy:
        async with proxy.connection() as (_, writer):
            writer.write(GET[:-1])
        await asyncio.wait_for(proxy.deserted(), NOTICED_WITHIN)
    assert (proxy.server, server.wires) == ({}, [])


# How long a connection is used (RFC 9112 section 9.3).


@pytest.mark.parametrize(
    ("version", "field", "kept"),
    [
        (b"1.1", b"X: y", True),
        (b"1.1", b"Connection: keep-alive", True),
        (b"1.1", b"Connection: close", False),
        (b"1.1", b"Connection: Close", False),
        (b"1.1", b"Connection: x, close", False),
        (b"1.1", b"Connection: keep-alive\r\nConnection: close", False),
        (b"1.0", b"X: y", False),
        (b"1.0", b"Connection: keep-alive", False),
    ],
)
async def test_a_connection_is_kept_for_the_next_request(
    core_factory: CoreFactory, version: bytes, field: bytes, *, kept: bool
) -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(b"GET /orders/ HTTP/%b\r\nHost: x\r\n%b\r\n\r\n" % (version, field) + LAST)
        first, *others = replies(reply.raw)
        assert (len(others) == 1, b"\r\nconnection: close\r\n" in first.head) == (kept, not kept)


@pytest.mark.parametrize("said", [b"Connection: close", b"Connection: keep-alive\r\nKeep-Alive: timeout=1"])
async def test_what_the_upstream_says_of_its_connection_is_nothing_to_the_clients(
    core_factory: CoreFactory, said: bytes
) -> None:
    answer = b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 2\r\n\r\nok" % said

    async def script(wire: Wire) -> None:
        while await wire.head():
            await wire.send(answer)
            if said == b"Connection: close":
                return

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        first, second = replies((await proxy.send(GET + LAST)).raw)
        assert first.raw == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        assert second.raw == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok"
        assert len(server.wires) == (2 if said == b"Connection: close" else 1)


async def test_many_clients_share_the_upstreams_connections(core_factory: CoreFactory) -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        for _ in range(20):
            assert (await proxy.get(b"/orders/")).body == b"hello"
        assert (len(server.wires), len(server.heads)) == (1, 20)
