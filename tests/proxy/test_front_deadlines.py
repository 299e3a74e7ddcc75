"""How long a client may take: to begin, to send a head, to send content, to take a response; the same over TLS.

RFC 9112 section 9.5 leaves the times to the server, and RFC 9110 section 15.5.9 has a status for one that is over.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from exporter.proxy.handling import Limits
from tests.proxy.front import api, front
from tests.proxy.upstreams import CHUNKED, HELLO, Keeping, Wire, answering, endless, silent, sized, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

SHORT = 0.15
FAR = 30.0
# More than is held in the sockets of both ends, and in the proxy between them.
LARGE = 16 * 2**20

HEAD = Limits(SHORT, FAR, FAR, FAR, FAR)
CONTENT = Limits(FAR, SHORT, FAR, FAR, FAR)
IDLE = Limits(FAR, FAR, SHORT, FAR, FAR)
STALLED = Limits(FAR, FAR, FAR, SHORT, FAR)

GET = b"GET /orders/ HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /orders/ HTTP/1.1\r\nHost: x\r\n"


def test_the_limits_are_those_that_are_documented() -> None:
    assert Limits() == Limits(head=10, content=30, idle=75, stalled=60, linger=2)


@pytest.mark.parametrize("part", [b"G", b"\r\n", b"GET /orders/ HTTP/1.1", GET[:-2], GET[:-1]])
async def test_a_head_has_to_arrive_in_time(scheme: dict[str, Any], part: bytes) -> None:
    async with upstream(silent) as server, front(api(server.port), limits=HEAD, **scheme) as proxy:
        reply = await proxy.send(part)
        assert (reply.status, reply.document["code"], server.wires) == (408, "request_timeout", [])
        assert b"\r\nconnection: close\r\n" in reply.head


async def test_a_head_that_comes_byte_by_byte_has_no_more_time() -> None:
    async with front(limits=HEAD) as proxy, proxy.connection() as (reader, writer), asyncio.TaskGroup() as group:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        answer = group.create_task(reader.readuntil(b"\r\n"))
        while not answer.done():
            writer.write(b"x")
            await asyncio.wait([answer], timeout=SHORT / 8)
        assert answer.result().startswith(b"HTTP/1.1 408 ")


async def test_a_second_head_has_its_own_time() -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), limits=HEAD) as proxy:
        reply = await proxy.send(GET + GET[:-1])
        assert [part[:3] for part in reply.raw.split(b"HTTP/1.1 ")[1:]] == [b"200", b"408"]


async def test_a_handshake_has_the_time_of_a_head(scheme: dict[str, Any]) -> None:
    async with front(limits=HEAD, **scheme) as proxy, replace(proxy, trust=None).connection() as (reader, writer):
        writer.write(b"\x16\x03\x01")
        with suppress(OSError):
            await asyncio.wait_for(reader.read(), 20 * SHORT)


@pytest.mark.parametrize(
    ("framing", "part"),
    [
        (b"Content-Length: 10", b""),
        (b"Content-Length: 10", b"hello"),
        (b"Transfer-Encoding: chunked", b""),
        (b"Transfer-Encoding: chunked", b"5\r\nhel"),
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n"),
    ],
)
async def test_content_that_stops_coming_is_a_timeout_and_is_not_completed(
    scheme: dict[str, Any], framing: bytes, part: bytes
) -> None:
    async with upstream(keeping := Keeping()) as server, front(api(server.port), limits=CONTENT, **scheme) as proxy:
        reply = await proxy.send(POST + framing + b"\r\n\r\n" + part)
        assert (reply.status, reply.document["code"]) == (408, "request_timeout")
        await asyncio.gather(*server.tasks)
        assert not keeping.rest.endswith(b"0\r\n\r\n")


async def test_content_that_stops_coming_ends_a_response_that_has_begun() -> None:
    async with upstream(Keeping(CHUNKED + b"1\r\na\r\n")) as server, front(api(server.port), limits=CONTENT) as proxy:
        reply = await proxy.send(POST + b"Content-Length: 10\r\n\r\nhello")
        assert (reply.status, reply.body) == (200, b"1\r\na\r\n")


async def test_content_that_keeps_coming_may_take_longer() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.take(b"x" * 10)
        await wire.send(HELLO)

    async with (
        upstream(script) as server,
        front(api(server.port), limits=CONTENT) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(POST + b"Content-Length: 10\r\n\r\n")
        for _ in range(10):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), SHORT / 3)
            writer.write(b"x")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")


async def test_content_that_the_upstream_does_not_take_is_not_late() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 2 * SHORT)
        await wire.reader.readexactly(LARGE)
        await wire.send(HELLO)

    async with upstream(script) as server, front(api(server.port), limits=CONTENT) as proxy:
        head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % LARGE
        assert (await proxy.send(head + bytes(LARGE))).status == 200


async def test_content_that_waits_for_100_is_not_late() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.reader.read(1), 2 * SHORT)
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await wire.take(b"hello")
        await wire.send(HELLO)

    async with (
        upstream(script) as server,
        front(api(server.port), limits=CONTENT) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")


async def test_content_that_does_not_come_after_100_is_late() -> None:
    script = Keeping(b"HTTP/1.1 100 Continue\r\n\r\n")
    async with upstream(script) as server, front(api(server.port), limits=CONTENT) as proxy:
        reply = await proxy.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert b"\r\n\r\nHTTP/1.1 408 " in reply.raw


@pytest.mark.parametrize("before", [b"", GET, GET + GET])
async def test_a_connection_without_a_request_is_closed_in_time(scheme: dict[str, Any], before: bytes) -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), limits=IDLE, **scheme) as proxy:
        reply = await asyncio.wait_for(proxy.send(before), 10 * SHORT)
        assert reply.raw.count(b"hello") == before.count(b"GET")
        assert b" 408 " not in reply.raw


async def test_a_connection_with_a_request_is_not_idle() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.reader.read(1), 2 * SHORT)
        await wire.send(HELLO)

    async with upstream(script) as server, front(api(server.port), limits=IDLE) as proxy:
        assert (await proxy.send(GET)).body == b"hello"


async def test_a_client_that_takes_nothing_is_cut_off_and_so_is_its_upstream(scheme: dict[str, Any]) -> None:
    async with (
        upstream(endless) as server,
        front(api(server.port), limits=STALLED, **scheme) as proxy,
        proxy.stalled() as (reader, writer),
    ):
        writer.write(GET)
        await server.reached(heads=1)
        await asyncio.wait_for(asyncio.gather(*server.tasks), 10)
        with pytest.raises(ConnectionResetError):
            await reader.read()


@pytest.mark.parametrize("closes", [b"", b"Connection: close\r\n"])
async def test_a_client_that_does_not_take_the_end_of_a_response_is_cut_off(
    scheme: dict[str, Any], closes: bytes
) -> None:
    """However little of it is left: less than makes a transport ask for a pause."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(CHUNKED)
        while not proxy.untaken():
            await wire.send(b"400\r\n%b\r\n" % bytes(1024))
            await asyncio.sleep(0)
        await wire.send(b"0\r\n\r\n")
        await wire.rest()

    limits = Limits(FAR, FAR, SHORT, SHORT, FAR)
    async with (
        upstream(script) as server,
        front(api(server.port), limits=limits, **scheme) as proxy,
        proxy.stalled() as (_, writer),
    ):
        writer.write(GET[:-2] + closes + b"\r\n")
        await server.reached(heads=1)
        await asyncio.wait_for(proxy.deserted(), 10)


async def test_a_client_that_takes_a_response_slowly_gets_all_of_it(scheme: dict[str, Any]) -> None:
    async with (
        upstream(answering(sized(LARGE))) as server,
        front(api(server.port), limits=STALLED, **scheme) as proxy,
        proxy.stalled() as (reader, writer),
    ):
        writer.write(GET[:-2] + b"Connection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        taken = 0
        for _ in range(10):
            taken += len(await reader.readexactly(2**18))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.reached(heads=2), SHORT / 2)
        assert taken + len(await reader.read()) == LARGE
