"""A change of protocol: RFC 9110 section 7.8 and, of a response 101, section 15.2.2; WebSocket: RFC 6455."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from exporter.proxy.aiohttp import AiohttpCore
from exporter.proxy.core import CoreFactory
from exporter.proxy.handling import Limits
from tests.proxy.front import api, front
from tests.proxy.upstreams import HELLO, Keeping, Script, Wire, answering, saying, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

SOON = 0.5
RANDOM = random.Random(7)
THERE, BACK = RANDOM.randbytes(2**20), RANDOM.randbytes(2**20)

GET = b"GET /orders/ HTTP/1.1\r\nHost: x\r\n"
LAST = GET + b"Connection: close\r\n\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def asking(protocol: bytes = b"websocket", connection: bytes = b"Upgrade") -> bytes:
    return GET + KEY + b"Upgrade: %b\r\nConnection: %b\r\n\r\n" % (protocol, connection)


def switching(protocol: bytes = b"websocket") -> bytes:
    return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %b\r\nConnection: Upgrade\r\nX: y\r\n\r\n" % protocol


def switched(protocol: bytes = b"websocket") -> bytes:
    return b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: %b\r\nX: y\r\n\r\n" % protocol


def echoing(answer: bytes) -> Script:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(answer)
        while data := await wire.reader.read(2**16):
            await wire.send(data)

    return script


# What passes.


@pytest.mark.parametrize("protocol", [b"websocket", b"WebSocket", b"foo/2", b"x"])
async def test_a_protocol_that_both_ends_want_is_spoken(scheme: dict[str, Any], protocol: bytes) -> None:
    async with upstream(echoing(switching(protocol))) as server, front(api(server.port), **scheme) as proxy:
        async with proxy.connection() as (reader, writer):
            writer.write(asking(protocol))
            assert await reader.readuntil(b"\r\n\r\n") == switched(protocol.lower())
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
        assert b"\r\nconnection: upgrade\r\nupgrade: %b\r\n" % protocol in server.heads[0]
        assert KEY in server.heads[0]


async def test_bytes_pass_as_they_are_in_both_directions_at_once(scheme: dict[str, Any]) -> None:
    received = b""

    async def script(wire: Wire) -> None:
        nonlocal received
        await wire.head()
        await wire.send(switching())
        async with asyncio.TaskGroup() as group:
            group.create_task(wire.send(BACK))
            received = await wire.reader.readexactly(len(THERE))

    async with upstream(script) as server, front(api(server.port), **scheme) as proxy:
        async with proxy.connection() as (reader, writer):
            writer.write(asking())
            await reader.readuntil(b"\r\n\r\n")
            writer.write(THERE)
            assert await reader.readexactly(len(BACK)) == BACK
            await asyncio.gather(*server.tasks)
        assert received == THERE


@pytest.mark.parametrize("ahead", [b"first", BACK])
async def test_what_comes_together_with_101_is_passed_on(ahead: bytes) -> None:
    async with upstream(saying(switching() + ahead)) as server, front(api(server.port)) as proxy:
        assert (await proxy.send(asking())).body == ahead


async def test_what_a_client_sends_before_it_has_seen_101_waits_for_it(scheme: dict[str, Any]) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.reader.readexactly(1), 0.1)
        await wire.send(switching())
        await wire.take(b"early" + THERE)

    async with upstream(script) as server, front(api(server.port), **scheme) as proxy:
        async with proxy.connection() as (reader, writer):
            writer.write(asking() + b"early" + THERE)
            assert (await reader.read()).startswith(switched())
        await asyncio.gather(*server.tasks)


async def test_interim_responses_may_come_before_101() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with upstream(saying(hints + switching() + b"hello")) as server, front(api(server.port)) as proxy:
        assert (await proxy.send(asking())).raw == hints + switched() + b"hello"


# How it ends.


async def test_an_upstream_that_ends_a_tunnel_ends_it_for_the_client(scheme: dict[str, Any]) -> None:
    async with (
        upstream(saying(switching())) as server,
        front(api(server.port), **scheme) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(asking())
        assert await asyncio.wait_for(reader.read(), SOON) == switched()


async def test_an_upstream_that_resets_a_tunnel_resets_it_for_the_client() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(switching())
        await wire.take(b"x")
        wire.reset()

    async with (
        upstream(script) as server,
        front(api(server.port)) as proxy,
        proxy.connection() as (reader, writer),
    ):
        await open_tunnel(reader, writer)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_a_client_that_ends_a_tunnel_ends_it_for_the_upstream_when_all_has_been_sent(
    scheme: dict[str, Any],
) -> None:
    script = Keeping(switching())
    async with upstream(script) as server, front(api(server.port), **scheme) as proxy:
        async with proxy.connection() as (reader, writer):
            await open_tunnel(reader, writer)
            writer.write(THERE)
        await asyncio.wait_for(script.closed.wait(), 4 * SOON)
        assert script.rest == THERE


async def test_a_tunnel_is_cut_when_its_time_to_drain_is_up(scheme: dict[str, Any]) -> None:
    script = Keeping(switching())
    async with upstream(script) as server:
        async with front(api(server.port), drain_seconds=0.1, **scheme) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, ssl=proxy.trust)
            await open_tunnel(reader, writer)
        await asyncio.wait_for(script.closed.wait(), SOON)
        await closed(reader, writer)


async def test_a_tunnel_has_no_deadline_for_content(scheme: dict[str, Any]) -> None:
    limits = Limits(0.1, 0.1, 0.1, 0.1, 0.1)
    async with (
        upstream(echoing(switching())) as server,
        front(api(server.port, timeout_seconds=0.1), limits=limits, **scheme) as proxy,
        proxy.connection() as (reader, writer),
    ):
        await open_tunnel(reader, writer)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.4)
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"


@pytest.mark.parametrize("to_client", [False, True])
async def test_a_tunnel_carries_no_more_than_its_other_end_takes(*, to_client: bool) -> None:
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(switching())
        if to_client:
            await flood(wire.writer, go_on)
        else:
            await go_on.wait()

    async with (
        upstream(script) as server,
        front(api(server.port)) as proxy,
        proxy.stalled() as (reader, writer),
    ):
        await open_tunnel(reader, writer)
        if not to_client:
            await flood(writer, go_on)
        await go_on.wait()


# What does not.


@pytest.mark.parametrize("answer", [switching(b"other"), switching(b"websocket, other"), switching(b"")])
async def test_a_protocol_that_was_not_offered_is_a_bad_response(answer: bytes) -> None:
    async with upstream(saying(answer)) as server, front(api(server.port)) as proxy:
        reply = await proxy.send(asking() + LAST)
        assert (reply.status, b"upstream_bad_response" in reply.raw) == (502, True)


@pytest.mark.parametrize("answer", [switching(), b"HTTP/1.1 101 Switching Protocols\r\n\r\n"])
async def test_101_that_nobody_asked_for_is_a_bad_response(core_factory: CoreFactory, answer: bytes) -> None:
    async with upstream(saying(answer)) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.get(b"/orders/")
        assert (reply.status, reply.document["code"]) == (502, "upstream_bad_response")


@pytest.mark.parametrize("protocol", [b"h2c", b"H2C", b"h2c, websocket", b"HTTP/2.0", b"TLS/1.0", b"http/3"])
async def test_another_http_and_tls_are_never_offered_to_an_upstream(
    core_factory: CoreFactory, protocol: bytes
) -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        settings = b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
        request = GET + b"Upgrade: %b\r\nConnection: Upgrade, HTTP2-Settings\r\n%b\r\n" % (protocol, settings)
        assert (await proxy.send(request + LAST)).raw.count(b"hello") == 2
        assert not [head for head in server.heads if b"upgrade" in head.lower() or b"http2-settings" in head.lower()]


@pytest.mark.parametrize(
    "request_",
    [
        asking(connection=b"keep-alive"),
        asking().replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"POST" + asking()[3:-2] + b"Content-Length: 2\r\n\r\nok",
    ],
    ids=["not nominated", "HTTP/1.0", "with content"],
)
async def test_an_upgrade_that_cannot_be_is_not_offered(core_factory: CoreFactory, request_: bytes) -> None:
    async def script(wire: Wire) -> None:
        head = await wire.head()
        await wire.take(b"ok" if b"POST" in head else b"")
        await wire.send(HELLO)

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        assert (await proxy.send(request_ + LAST)).status == 200
        assert b"\r\nupgrade:" not in server.heads[0].lower()


@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden", b"426 Upgrade Required"])
async def test_an_upstream_may_decline_and_what_was_sent_ahead_is_the_next_request(status: bytes) -> None:
    answer = b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nno" % status
    async with upstream(answering(answer)) as server, front(api(server.port)) as proxy:
        reply = await proxy.send(asking() + LAST)
        assert (reply.raw.count(status), len(server.heads), len(server.wires)) == (2, 2, 1)


async def test_a_connection_that_was_a_tunnel_carries_no_request() -> None:
    async with upstream(saying(switching())) as server, front(api(server.port)) as proxy:
        assert (await proxy.send(asking())).raw == switched()
        assert (await proxy.send(asking())).raw == switched()
        assert len(server.wires) == 2


async def test_a_core_that_makes_no_tunnels_answers_as_if_none_had_been_asked_for() -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), core=AiohttpCore) as proxy:
        reply = await proxy.send(asking() + LAST)
        assert (reply.raw.count(b"hello"), len(server.heads)) == (2, 2)
        assert b"upgrade" not in server.heads[0].lower().replace(b"x-", b"")


# Within.


async def open_tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(asking())
    assert await reader.readuntil(b"\r\n\r\n") == switched()


async def closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        assert await reader.read() == b""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def flood(writer: asyncio.StreamWriter, held: asyncio.Event) -> None:
    """Send until no more is taken for a while, which comes before there is more than the sockets hold."""
    for _ in range(96):
        writer.write(bytes(2**20))
        try:
            await asyncio.wait_for(writer.drain(), 0.3)
        except TimeoutError:
            held.set()
            writer.transport.abort()
            return
