"""No request is served that the listener was not meant to see, and no response goes to another request; each core.

RFC 9112 sections 6.1, 6.3 and 11.2 (request smuggling), 11.1 (response splitting); RFC 9110 section 17.
"""

from __future__ import annotations

import pytest

from exporter.proxy.core import CoreFactory
from tests.proxy.front import api, front, replies
from tests.proxy.upstreams import HELLO, Keeping, Wire, answering, saying, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

POST = b"POST /orders/ HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /orders/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /orders/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BOTH = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % (len(SMUGGLED) + 5)

# With one reading there is a second request in the content, with another there is none.
AMBIGUOUS = {
    "a length and chunks": BOTH,
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: %d\r\n" % (len(SMUGGLED) + 5),
    "two equal lengths": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": b"Content-Length: 5, %d\r\n" % (len(SMUGGLED) + 5),
    "an empty length": b"Content-Length:\r\n",
    "a negative length": b"Content-Length: -5\r\n",
    "a signed length": b"Content-Length: +5\r\n",
    "an hexadecimal length": b"Content-Length: 0x5\r\n",
    "a length that is no number": b"Content-Length: NaN\r\n",
    "a length with an underscore": b"Content-Length: 1_0\r\n",
    "a length of other digits": "Content-Length: \N{ARABIC-INDIC DIGIT FIVE}\r\n".encode(),
    "a length with a space in it": b"Content-Length: 5 5\r\n",
    "a space before the colon of the length": b"Content-Length : 5\r\n",
    "a tab before the colon of the coding": b"Transfer-Encoding\t: chunked\r\n",
    "a space before the name": b" Transfer-Encoding: chunked\r\n",
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n",
    "a folded length": b"X: y\r\n Content-Length: 5\r\n",
    "a coding in another one's place": b"Transfer-Encoding: xchunked\r\n",
    "a quoted coding": b'Transfer-Encoding: "chunked"\r\n',
    "a coding with a parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "chunked in two fields": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "chunked and identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "an empty coding": b"Transfer-Encoding:\r\n",
    "an empty coding, and chunked": b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
    "chunked first": b"Transfer-Encoding: chunked, gzip\r\n",
    "gzip first": b"Transfer-Encoding: gzip, chunked\r\n",
    "a space within the coding": b"Transfer-Encoding: chun ked\r\n",
    "a letter that is K in lower case": "Transfer-Encoding: chun\N{KELVIN SIGN}ed\r\n".encode(),
    "a vertical tab before the coding": b"Transfer-Encoding: \x0bchunked\r\n",
    "NUL in the coding": b"Transfer-Encoding: chunked\x00\r\n",
    "a bare CR in a field": b"X: y\rTransfer-Encoding: chunked\r\n",
    "a bare LF after a field": b"X: y\nTransfer-Encoding: chunked\r\n",
    "NUL in a name": b"Transfer-Encoding\x00: chunked\r\n",
    "a colon alone": b": chunked\r\n",
    "two Hosts": b"Host: y\r\nContent-Length: 5\r\n",
}


@pytest.mark.parametrize("fields", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_request_that_can_be_read_in_two_ways_reaches_nobody(core_factory: CoreFactory, fields: bytes) -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(POST + fields + b"\r\n0\r\n\r\n" + SMUGGLED + LAST)
        assert [each.status for each in replies(reply.raw)] in ([400], [501])
        assert b"\r\nconnection: close\r\n" in reply.head
        assert server.wires == []


BROKEN = {
    "a size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "an empty size": b"\r\nhello\r\n0\r\n\r\n",
    "a size with a space before it": b" 5\r\nhello\r\n0\r\n\r\n",
    "a size that overflows 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a chunk that is longer than it says": b"4\r\nhello\r\n0\r\n\r\n",
    "another end of a chunk": b"5\r\nhelloXX0\r\n\r\n",
    "a chunk that is shorter than it says": b"6\r\nhello\r\n0\r\n\r\n",
    "a bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare CR after the size": b"5\rhello\r\n0\r\n\r\n",
    "a bare LF after the chunk": b"5\r\nhello\n0\r\n\r\n",
    "a bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a last chunk with a bare LF": b"5\r\nhello\r\n0\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
async def test_a_request_whose_chunks_are_broken_is_never_completed(core_factory: CoreFactory, content: bytes) -> None:
    script = Keeping()
    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + content + SMUGGLED)
        assert [each.status for each in replies(reply.raw)] == [400]
        for wire in server.tasks:
            await wire
        assert not script.rest.endswith(b"0\r\n\r\n")
        assert b"smuggled" not in script.rest + b"".join(server.heads)


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        POST + b"Transfer-Encoding: Chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        POST + b"Transfer-Encoding: chunked\r\n\r\n3;%b\r\nabc\r\n0\r\n\r\n" % SMUGGLED[:20],
    ],
)
async def test_a_request_within_content_is_content(core_factory: CoreFactory, request_: bytes) -> None:
    async def script(wire: Wire) -> None:
        while head := await wire.head():
            if b"content-length" in head.lower():
                await wire.take(SMUGGLED)
            elif b"chunked" in head.lower():
                await wire.reader.readuntil(b"0\r\n\r\n")
            await wire.send(HELLO)

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        assert [each.status for each in replies((await proxy.send(request_ + LAST)).raw)] == [200, 200]
        assert server.request_lines == [b"POST / HTTP/1.1", b"GET / HTTP/1.1"]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS"])
async def test_content_where_none_is_expected_is_content(core_factory: CoreFactory, method: bytes) -> None:
    async def script(wire: Wire) -> None:
        while head := await wire.head():
            if b"content-length" in head.lower():
                await wire.take(SMUGGLED)
            await wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        head = b"%b /orders/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (method, len(SMUGGLED))
        assert (await proxy.send(head + SMUGGLED + LAST)).raw.count(b" 204 ") == 2
        assert server.request_lines == [method + b" / HTTP/1.1", b"GET / HTTP/1.1"]


# Responses.


@pytest.mark.parametrize(
    "answer",
    [
        HELLO + HELLO,
        b"HTTP/1.1 204 No Content\r\n\r\n" + HELLO,
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + HELLO,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + HELLO,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HELLO,
    ],
    ids=["two", "204", "304", "empty", "no chunk"],
)
async def test_a_second_response_reaches_nobody(core_factory: CoreFactory, answer: bytes) -> None:
    mine = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(answer if len(wire.server.wires) == 1 else mine)
        await wire.rest()

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        await proxy.get(b"/orders/")
        assert (await proxy.get(b"/orders/")).body == b"mine"
        assert len(server.wires) == 2


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_content_in_the_answer_to_head_reaches_nobody(core_factory: CoreFactory, method: bytes) -> None:
    async with upstream(saying(HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        assert (await proxy.get(b"/orders/", method=b"HEAD")).body == b""
        assert (await proxy.get(b"/orders/", method=method)).body == b"hello" * (method == b"GET")
        assert len(server.wires) == 2


async def test_a_client_gets_the_response_to_its_own_request(core_factory: CoreFactory) -> None:
    """Also where the one before it, on the same connection to the upstream, was given up."""

    async def script(wire: Wire) -> None:
        while head := await wire.head():
            if b"/slow" in head:
                await wire.rest()
                return
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")

    async with upstream(script) as server, front(api(server.port), core=core_factory) as proxy:
        await proxy.get(b"/orders/")
        async with proxy.connection() as (_, writer):
            writer.write(b"GET /orders/slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await server.reached(heads=2)
        await proxy.deserted()
        assert (await proxy.get(b"/orders/")).body == b"mine"
        assert len(server.wires) == 2


# Fields that would become lines (RFC 9112 section 11.1).


@pytest.mark.parametrize("inserted", [b"\rX-Evil: 1", b"\nX-Evil: 1", b"\x00X-Evil: 1", b"\r\r\nX-Evil: 1"])
async def test_no_field_is_inserted_by_another_ones_value(core_factory: CoreFactory, inserted: bytes) -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        reply = await proxy.send(b"GET /orders/ HTTP/1.1\r\nHost: x\r\nX: y%b\r\n\r\n" % inserted)
        assert (reply.status, server.wires) == (400, [])


@pytest.mark.parametrize("target", [b"/orders/%0d%0aX-Evil:%201", b"/orders/?a=%0D%0AX-Evil:%201"])
async def test_no_field_is_inserted_by_a_target(core_factory: CoreFactory, target: bytes) -> None:
    async with upstream(answering(HELLO)) as server, front(api(server.port), core=core_factory) as proxy:
        assert (await proxy.get(target)).status == 200
        assert b"\nx-evil" not in server.heads[0].lower()
