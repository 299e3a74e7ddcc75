"""Content passes as it comes, no faster than it is taken, and ends where the other end ends; with each core.

RFC 9110 sections 3.3 and 7.6; RFC 9112 section 8.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from exporter.proxy.core import CoreFactory
from tests.proxy.front import api, front
from tests.proxy.upstreams import CHUNKED, HELLO, Keeping, Wire, endless, unread, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

MEBIBYTE = bytes(2**20)
# More than the sockets of both ends, and everything between them, may hold.
HELD = 32
ALL = 128
GET = b"GET /orders/ HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /orders/ HTTP/1.1\r\nHost: x\r\n"


async def test_an_upstream_sends_no_more_than_its_client_takes(
    core_factory: CoreFactory, scheme: dict[str, Any]
) -> None:
    sent = 0

    async def script(wire: Wire) -> None:
        nonlocal sent
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (ALL * 2**20))
        with suppress(OSError):
            while sent < ALL:
                await wire.send(MEBIBYTE)
                sent += 1

    async with (
        upstream(script) as server,
        front(api(server.port), core=core_factory, **scheme) as proxy,
        proxy.stalled() as (reader, writer),
    ):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(server.tasks[0]), 0.5)
        assert sent < HELD


async def test_a_client_sends_no_more_than_its_upstream_takes(
    core_factory: CoreFactory, scheme: dict[str, Any]
) -> None:
    go_on, taken, sent = asyncio.Event(), 0, 0

    async def script(wire: Wire) -> None:
        nonlocal taken
        unread(wire.writer)
        await go_on.wait()
        unread(wire.writer, again=True)
        await wire.head()
        while taken < ALL * 2**20:
            taken += len(await wire.reader.read(2**20))
        await wire.send(HELLO)

    async def upload(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % (ALL * 2**20))
        while sent < ALL:
            writer.write(MEBIBYTE)
            await writer.drain()
            sent += 1

    async with (
        upstream(script) as server,
        front(api(server.port), core=core_factory, **scheme) as proxy,
        proxy.connection() as (reader, writer),
        asyncio.TaskGroup() as group,
    ):
        uploading = group.create_task(upload(writer))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(uploading), 0.5)
        assert sent < HELD
        go_on.set()
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        assert taken == ALL * 2**20


async def test_content_passes_both_ways_at_once(core_factory: CoreFactory) -> None:
    """As a service has it that answers while it is asked."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(CHUNKED)
        for _ in range(20):
            await wire.take(b"4\r\nping\r\n")
            await wire.send(b"4\r\npong\r\n")
        await wire.take(b"0\r\n\r\n")
        await wire.send(b"0\r\n\r\n")

    async with (
        upstream(script) as server,
        front(api(server.port), core=core_factory) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nping\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(19):
            assert await reader.readexactly(9) == b"4\r\npong\r\n"
            writer.write(b"4\r\nping\r\n")
        writer.write(b"0\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n") == b"4\r\npong\r\n0\r\n\r\n"


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
async def test_a_head_does_not_wait_for_content(core_factory: CoreFactory, framing: bytes) -> None:
    async with (
        upstream(Keeping()) as server,
        front(api(server.port), core=core_factory) as proxy,
        proxy.connection() as (_, writer),
    ):
        writer.write(POST + framing + b"\r\n\r\n")
        await asyncio.wait_for(server.reached(heads=1), 1)


async def test_a_client_that_leaves_stops_an_upstream_that_sends(core_factory: CoreFactory) -> None:
    async with upstream(endless) as server, front(api(server.port), core=core_factory) as proxy:
        async with proxy.connection() as (reader, writer):
            writer.write(GET)
            await reader.readexactly(2**20)
            writer.transport.abort()
        await asyncio.wait_for(asyncio.gather(*server.tasks), 1)


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
async def test_content_that_ends_early_is_never_completed(core_factory: CoreFactory, framing: bytes) -> None:
    script = Keeping()
    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        async with proxy.connection() as (_, writer):
            writer.write(POST + framing + b"\r\n\r\n" + (b"5\r\nhello\r\n" if b"T" in framing else b"hello"))
            await server.reached(heads=1)
        await asyncio.wait_for(script.closed.wait(), 1)
        assert script.rest in {b"hello", b"5\r\nhello\r\n", b""}


async def test_many_clients_at_once_get_each_its_own(core_factory: CoreFactory, scheme: dict[str, Any]) -> None:
    async def script(wire: Wire) -> None:
        while head := await wire.head():
            number = int(head.split()[1][1:])
            content = b"%d," % number * 10_000
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))

    async with upstream(script) as server, front(api(server.port), core=core_factory, **scheme) as proxy:
        bodies = await asyncio.gather(*(proxy.get(b"/orders/%d" % number) for number in range(100)))
        assert [each.body for each in bodies] == [b"%d," % number * 10_000 for number in range(100)]
        assert len(server.wires) <= 100
