"""What a client sees of a response: how its end is told, what comes before it, and that a broken one is broken.

RFC 9110 sections 10.1.1 and 15.2, RFC 9112 sections 6.3, 8 and 9.6.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from exporter.proxy.core import CoreFactory
from tests.proxy.front import Reply, api, front
from tests.proxy.upstreams import CHUNKED, HELLO, Keeping, Wire, answering, saying, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

GET = b"GET /orders/ HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /orders/ HTTP/1.1\r\nHost: x\r\n"
OLD = b"GET /orders/ HTTP/1.0\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"
PARTS = CHUNKED + b"5\r\nhello\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nX-Hop: 1\r\nConnection: x-hop\r\n\r\n"
PASSED_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


# How its end is told.


@pytest.mark.parametrize(
    ("answer", "length", "chunked", "old"),
    [
        (HELLO, b"hello", b"hello", b"hello"),
        (PARTS + b"0\r\n\r\n", None, b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (PARTS + b"0\r\nX-Trailer: 1\r\n\r\n", None, b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", None, b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", None, b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", b"", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None, b"", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", b"", b""),
    ],
)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_the_end_of_a_response_is_told_in_the_clients_version(
    core_factory: CoreFactory, answer: bytes, length: bytes | None, chunked: bytes, old: bytes, version: bytes
) -> None:
    async with upstream(saying(answer)) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(b"GET /orders/ HTTP/%b\r\nHost: x\r\n" % version + CLOSE)
        assert reply.body == (chunked if version == b"1.1" else old)
        assert (b"\r\ncontent-length: " in reply.head.lower()) == (length is not None)
        assert (b"\r\ntransfer-encoding: chunked\r\n" in reply.head) == reply.body.endswith(b"0\r\n\r\n")
        assert reply.raw.startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"])
async def test_the_answer_to_head_is_a_head_and_the_next_one_follows(core_factory: CoreFactory, framing: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing
    async with upstream(answering(answer)) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(b"HEAD /orders/ HTTP/1.1\r\nHost: x\r\n\r\n" + b"HEAD" + GET[3:] + CLOSE)
        first, second = reply.raw.split(b"\r\n\r\n")[:2]
        assert (first + b"\r\nconnection: close", len(server.heads)) == (second, 2)
        assert (b"Content-Length: 5" in first) == (framing == b"Content-Length: 5")


# That a broken one is broken.


@pytest.mark.parametrize("start", [SIZED, PARTS, PARTS + b"0\r\n", PARTS + b"4\r\nha"])
async def test_a_truncated_response_has_no_good_end(
    core_factory: CoreFactory, scheme: dict[str, Any], start: bytes
) -> None:
    async with upstream(saying(start)) as server, front(api(server.port), core=core_factory, **scheme) as proxy:
        reply = await proxy.send(GET + b"\r\n")
        assert b"hello" in reply.body
        assert not reply.body.endswith(b"0\r\n\r\n")
        assert len(reply.body) < 9 or b"chunked" in reply.head


@pytest.mark.parametrize("start", [PARTS, PARTS + b"0\r\n", PARTS + b"zz\r\n", PARTS + b"4\r\nhaXX"])
async def test_a_truncated_response_that_lasts_until_the_end_ends_in_a_reset(
    core_factory: CoreFactory, scheme: dict[str, Any], start: bytes
) -> None:
    """HTTP/1.0 has no other way to say so (RFC 9112 section 8)."""
    seen = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(PARTS)
        await seen.wait()
        await wire.send(start[len(PARTS) :])

    async with (
        upstream(script) as server,
        front(api(server.port), core=core_factory, **scheme) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(OLD + b"\r\n")
        await reader.readuntil(b"hello")
        seen.set()
        with pytest.raises(ConnectionResetError):
            await reader.read()


@pytest.mark.parametrize("surplus", [b"x", HELLO, CONTINUE])
@pytest.mark.parametrize("answer", [HELLO, PARTS + b"0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"])
async def test_what_comes_after_a_response_is_never_the_next_one(
    core_factory: CoreFactory, answer: bytes, surplus: bytes
) -> None:
    async with (
        upstream(answering(answer + surplus)) as server,
        front(api(server.port), core=core_factory) as proxy,
    ):
        first, second = [await proxy.get(b"/orders/") for _ in range(2)]
        assert (first.raw, len(server.wires)) == (second.raw, 2)


# What comes before it.


async def test_an_early_response_is_relayed_and_ends_the_connection(
    core_factory: CoreFactory, scheme: dict[str, Any]
) -> None:
    script = Keeping(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    async with upstream(script) as server, front(api(server.port), core=core_factory, **scheme) as proxy:
        reply = await proxy.send(POST + b"Content-Length: 100\r\n\r\nhello")
        assert (reply.status, reply.body) == (413, b"big")
        await asyncio.gather(*server.tasks)
        assert script.rest in {b"", b"hello"}


async def test_an_early_response_may_go_on_while_content_is_sent(core_factory: CoreFactory) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(PARTS)
        await wire.take(b"hello")
        await wire.send(b"5\r\nthere\r\n0\r\n\r\n")

    async with (
        upstream(script) as server,
        front(api(server.port), core=core_factory) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(POST + b"Content-Length: 5\r\n\r\n")
        await reader.readuntil(b"hello\r\n")
        writer.write(b"hello")
        assert await reader.readuntil(b"0\r\n\r\n") == b"5\r\nthere\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "passes"), [(GET + CLOSE, True), (OLD + b"\r\n", False), (b"HEAD" + GET[3:] + CLOSE, True)]
)
async def test_interim_responses_pass_to_clients_that_know_them(request_: bytes, *, passes: bool) -> None:
    async with upstream(saying(HINTS * 2 + HELLO)) as server, front(api(server.port)) as proxy:
        reply = await proxy.send(request_)
        assert reply.raw.partition(b"HTTP/1.1 200 ")[0] == PASSED_HINTS * 2 * passes


async def test_an_interim_response_passes_at_once() -> None:
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(HINTS)
        await go_on.wait()
        await wire.send(HELLO)

    async with (
        upstream(script) as server,
        front(api(server.port)) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(GET + b"\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == PASSED_HINTS
        go_on.set()
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")


async def test_interim_responses_do_not_reach_a_client_twice_or_late(core_factory: CoreFactory) -> None:
    async with upstream(saying(HINTS + HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.get(b"/orders/")
        assert reply.raw.removeprefix(PASSED_HINTS).startswith(b"HTTP/1.1 200 OK\r\n")


# Expect: 100-continue (RFC 9110 section 10.1.1).


async def test_a_client_that_waits_is_asked_for_its_content_by_the_upstream(
    core_factory: CoreFactory, scheme: dict[str, Any]
) -> None:
    async def script(wire: Wire) -> None:
        assert b"\r\nexpect: 100-continue\r\n" in (await wire.head()).lower()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.reader.read(1), 0.1)
        asked.set()
        await wire.send(CONTINUE)
        await wire.take(b"hello")
        await wire.send(HELLO)

    asked = asyncio.Event()
    async with (
        upstream(script) as server,
        front(api(server.port), core=core_factory, **scheme) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == CONTINUE
        assert asked.is_set()
        writer.write(b"hello")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"417 Expectation Failed", b"200 OK"])
async def test_a_final_response_instead_of_100_is_relayed_and_ends_the_connection(
    core_factory: CoreFactory, status: bytes
) -> None:
    script = Keeping(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nno" % status)
    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert (reply.raw.startswith(b"HTTP/1.1 " + status), reply.body) == (True, b"no")
        assert b"\r\nconnection: close\r\n" in reply.head
        await asyncio.gather(*server.tasks)
        assert script.rest == b""


async def test_a_client_that_does_not_wait_for_100_is_served(core_factory: CoreFactory) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(CONTINUE)
        await wire.take(b"hello")
        await wire.send(HELLO)

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n" + CLOSE + b"hello")
        assert Reply(reply.raw.removeprefix(CONTINUE)).body == b"hello"


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"])
async def test_100_is_not_passed_to_a_client_that_does_not_wait_for_it(
    core_factory: CoreFactory, expects: bytes
) -> None:
    """One without content has nothing to wait with."""
    async with upstream(saying(CONTINUE + HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        assert (await proxy.send(GET + expects + CLOSE)).raw.startswith(b"HTTP/1.1 200 ")


async def test_an_upstream_that_ignores_the_expectation_times_out_as_any_other(core_factory: CoreFactory) -> None:
    plan_seconds = 0.2
    async with (
        upstream(Keeping()) as server,
        front(api(server.port, timeout_seconds=plan_seconds), core=core_factory) as proxy,
    ):
        reply = await proxy.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert (reply.status, reply.document["code"]) == (504, "upstream_timeout")


# Events as they happen.


@pytest.mark.parametrize("framing", [CHUNKED, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_event_reaches_the_client_though_nothing_follows_it(
    core_factory: CoreFactory, scheme: dict[str, Any], framing: bytes, version: bytes
) -> None:
    """Each is sent only when the one before has arrived; 100 of them take less than a second."""
    arrived = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(framing)
        for number in range(100):
            event = b"data: %02d\n\n" % number
            await wire.send(b"a\r\n%b\r\n" % event if framing == CHUNKED else event)
            await arrived.wait()
            arrived.clear()

    async with (
        upstream(script) as server,
        front(api(server.port), core=core_factory, **scheme) as proxy,
        proxy.connection() as (reader, writer),
        asyncio.timeout(1),
    ):
        writer.write(b"GET /orders/ HTTP/%b\r\nHost: x\r\n\r\n" % version)
        for number in range(100):
            assert (await reader.readuntil(b"\n\n")).endswith(b"data: %02d\n\n" % number)
            arrived.set()


async def test_the_head_of_a_stream_reaches_the_client_before_its_first_event(core_factory: CoreFactory) -> None:
    async with (
        upstream(Keeping(CHUNKED)) as server,
        front(api(server.port), core=core_factory) as proxy,
        proxy.connection() as (reader, writer),
    ):
        writer.write(GET + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
