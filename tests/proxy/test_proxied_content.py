"""Content through the whole proxy, with each core: RFC 9112 sections 6 and 7, RFC 9110 sections 6.4 and 8."""

from __future__ import annotations

import asyncio
import random

import pytest

from exporter.proxy.core import CoreFactory
from tests.proxy.front import api, front
from tests.proxy.upstreams import NO_CONTENT, Wire, answering, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

RANDOM = random.Random(5).randbytes(3 * 2**20)
SIZES = [1, 1000, 2**16, 2**16 + 1, len(RANDOM)]
CLOSE = b"Host: x\r\nConnection: close\r\n"


def chunks(content: bytes, size: int) -> bytes:
    """The content in chunks of this size."""
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


async def arrived(reader: asyncio.StreamReader) -> bytes:
    """The content that comes in chunks."""
    content = bytearray()
    while size := int(await reader.readuntil(b"\r\n"), 16):
        content += (await reader.readexactly(size + 2))[:-2]
    assert await reader.readexactly(2) == b"\r\n"
    return bytes(content)


async def echo(wire: Wire) -> None:
    """Answers with the content that has come, framed as that was."""
    while head := await wire.head():
        if b"transfer-encoding: chunked" in head.lower():
            content = await arrived(wire.reader)
            await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(content, 5000))
        else:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            content = await wire.reader.readexactly(length)
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, content))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"GET"])
async def test_content_of_known_length_passes_both_ways(core_factory: CoreFactory, method: bytes, size: int) -> None:
    async with upstream(echo) as server, front(api(server.port), core=core_factory) as proxy:
        head = b"%b /orders/ HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (method, CLOSE, size)
        reply = await proxy.send(head + RANDOM[:size])
        assert reply.body == RANDOM[:size]
        assert b"transfer-encoding" not in reply.head.lower() + server.heads[0].lower()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [7, 4096, 10**7])
async def test_content_in_chunks_passes_both_ways(core_factory: CoreFactory, chunk: int, size: int) -> None:
    content = RANDOM[: min(size, 10_000 * chunk)]
    async with upstream(echo) as server, front(api(server.port), core=core_factory) as proxy:
        head = b"POST /orders/ HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % CLOSE
        reply = await proxy.send(head + chunks(content, chunk))
        assert reply.content == content
        assert b"content-length" not in reply.head.lower() + server.heads[0].lower()


async def test_content_from_a_client_of_http_1_0_passes(core_factory: CoreFactory) -> None:
    async with upstream(echo) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(b"POST /orders/ HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
        assert (reply.body, reply.raw[:9]) == (b"hello", b"HTTP/1.1 ")
        assert server.request_lines == [b"POST / HTTP/1.1"]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"DELETE"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 0\r\n"])
async def test_no_content_stays_no_content(core_factory: CoreFactory, method: bytes, length: bytes) -> None:
    async with upstream(answering(NO_CONTENT)) as server, front(api(server.port), core=core_factory) as proxy:
        twice = b"%b /orders/ HTTP/1.1\r\nHost: x\r\n%b\r\n" % (method, length)
        last = b"%b /orders/ HTTP/1.1\r\n%b%b\r\n" % (method, CLOSE, length)
        assert (await proxy.send(twice + last)).raw.count(b" 204 ") == 2
        assert (len(server.heads), len(server.wires)) == (2, 1)
        assert b"transfer-encoding" not in server.heads[0].lower()


async def test_empty_content_in_chunks_stays_empty(core_factory: CoreFactory) -> None:
    async with upstream(echo) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(b"POST /orders/ HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % CLOSE)
        assert (reply.status, reply.body) == (200, b"0\r\n\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n",
        b"5;name=value\r\nhello\r\n0;last\r\nX-Late: 1\r\nHost: evil\r\n\r\n",
        b"05\r\nhello\r\n000\r\nX-Late: 1\r\nX-Late: 2\r\n\r\n",
    ],
)
async def test_trailers_and_extensions_end_here(core_factory: CoreFactory, sent: bytes) -> None:
    """RFC 9110 section 6.5.1: a trailer may be dropped, and none is ever a field."""
    seen = b""

    async def script(wire: Wire) -> None:
        nonlocal seen
        await wire.head()
        seen = await wire.reader.readuntil(b"\r\n0\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n" + sent)

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        head = b"POST /orders/ HTTP/1.1\r\n%bTrailer: X-Late\r\nTransfer-Encoding: chunked\r\n\r\n" % CLOSE
        reply = await proxy.send(head + sent)
        assert (reply.body, seen) == (b"5\r\nhello\r\n0\r\n\r\n",) * 2
        assert b"x-late" not in (server.heads[0] + reply.raw).lower()


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"identity", b"made-up, gzip"])
async def test_content_is_not_decoded(core_factory: CoreFactory, coding: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00" % coding
    async with upstream(answering(answer)) as server, front(api(server.port), core=core_factory) as proxy:
        assert (await proxy.get(b"/orders/")).raw == answer.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)


PARTS = [b"a\r\n0123456789\r\n"] * 100
REUSED = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no content": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "many chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(PARTS) + b"0\r\n\r\n",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
    "HTTP/1.0 that says so": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("answer", REUSED.values(), ids=REUSED)
async def test_a_connection_is_used_again_whatever_it_has_carried(core_factory: CoreFactory, answer: bytes) -> None:
    """RFC 9112 section 9.3."""
    async with upstream(answering(answer)) as server, front(api(server.port), core=core_factory) as proxy:
        first, *others = [(await proxy.get(b"/orders/")).raw for _ in range(4)]
        assert (others, len(server.wires)) == ([first] * 3, 1)


@pytest.mark.parametrize("answer", REUSED.values(), ids=REUSED)
async def test_a_response_is_the_same_however_it_is_cut(core_factory: CoreFactory, answer: bytes) -> None:
    async def bytewise(wire: Wire) -> None:
        while await wire.head():
            for at in range(len(answer)):
                await wire.send(answer[at : at + 1])

    async with (
        upstream(answering(answer)) as whole,
        upstream(bytewise) as cut,
        front(api(whole.port), api(cut.port, "cut", listen_path=b"/cut/"), core=core_factory) as proxy,
    ):
        first, second = [await proxy.get(target) for target in (b"/orders/", b"/cut/")]
        assert first.head == second.head
        assert first.content == second.content
