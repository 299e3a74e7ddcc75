"""How a listener stops: idle connections at once, the others when their request is done, or when the time is up."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from exporter.proxy.core import CoreFactory
from exporter.proxy.handling import Limits
from tests.proxy.front import Front, api, front
from tests.proxy.upstreams import CHUNKED, HELLO, Keeping, Script, Wire, answering, endless, unread, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

AT_ONCE = 0.5
GET = b"GET /orders/ HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("before", [b"", GET, GET[:-1]], ids=["unused", "used", "within a head"])
async def test_a_connection_without_a_request_is_closed_at_once(scheme: dict[str, Any], before: bytes) -> None:
    async with (
        upstream(answering(HELLO)) as server,
        front(api(server.port), **scheme) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(before)
        if before == GET:
            await reader.readuntil(b"hello")
        await proxy.heard(0 if before == GET else len(before))
        async with asyncio.timeout(AT_ONCE):
            await proxy.shared.drain(30)
            assert await reader.read() == b""


async def test_a_client_that_does_not_look_at_its_idle_connection_delays_nothing(scheme: dict[str, Any]) -> None:
    """With TLS it would be waited for, to say goodbye."""
    async with (
        front(limits=Limits(linger=0.1), **scheme) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
        unread(writer)
        await asyncio.wait_for(proxy.shared.drain(30), AT_ONCE)
        writer.transport.abort()


async def test_a_request_in_flight_is_answered_and_is_the_last(
    core_factory: CoreFactory, scheme: dict[str, Any]
) -> None:
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await go_on.wait()
        await wire.send(HELLO)

    async with upstream(script) as server, asyncio.TaskGroup() as group:
        async with front(api(server.port), core=core_factory, **scheme) as proxy:
            asked = group.create_task(proxy.send(GET + GET))
            await server.reached(heads=1)
            draining = group.create_task(proxy.shared.drain(30))
            await asyncio.sleep(0)
            go_on.set()
            reply = await asked
            assert reply.raw == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nconnection: close\r\n\r\nhello"
            await draining
        assert len(server.heads) == 1


async def test_a_response_that_has_begun_is_completed(core_factory: CoreFactory, scheme: dict[str, Any]) -> None:
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(CHUNKED + b"5\r\nhello\r\n")
        await go_on.wait()
        await wire.send(b"0\r\n\r\n")

    async with (
        upstream(script) as server,
        asyncio.TaskGroup() as group,
        front(api(server.port), core=core_factory, **scheme) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(GET)
        await reader.readuntil(b"hello\r\n")
        draining = group.create_task(proxy.shared.drain(30))
        await asyncio.sleep(0)
        go_on.set()
        assert await reader.read() == b"0\r\n\r\n"
        await draining


@pytest.mark.parametrize(
    "script", [Keeping(), Keeping(CHUNKED + b"1\r\na\r\n"), endless], ids=["head", "part", "endless"]
)
async def test_what_is_not_done_in_time_is_cut_off(
    core_factory: CoreFactory, scheme: dict[str, Any], script: Script
) -> None:
    async with upstream(script) as server:
        async with front(api(server.port), core=core_factory, drain_seconds=0.1, **scheme) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, ssl=proxy.trust)
            writer.write(GET)
            await server.reached(heads=1)
        await asyncio.wait_for(asyncio.gather(*server.tasks), AT_ONCE)
        with suppress(OSError):
            assert not (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_whoever_connects_while_it_drains_is_told_so() -> None:
    async with upstream(Keeping()) as server, front(api(server.port)) as proxy, asyncio.TaskGroup() as group:
        async with proxy.connection() as (_, writer):
            writer.write(GET)
            await proxy.serving()
            draining = group.create_task(proxy.shared.drain(30))
            await asyncio.sleep(0)
            reply = await proxy.send(b"")
            assert (reply.status, reply.document["code"]) == (503, "overloaded")
        await draining


async def test_nobody_can_connect_any_more() -> None:
    async with front() as proxy:
        pass
    with pytest.raises(ConnectionRefusedError):
        await Front.send(proxy, GET)
