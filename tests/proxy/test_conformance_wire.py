"""What goes over the wire, byte for byte, in both directions."""

from __future__ import annotations

import gzip

import pytest

from tests.proxy.conformance import Caller, parts
from tests.proxy.upstreams import HELLO, NO_CONTENT, Wire, answering, saying, upstream


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/a%2Fb",
        b"/a/../b",
        b"/..",
        b"/a/./b/",
        b"//a//b",
        b"//evil.example/a",
        b"/%00%ff%zz%",
        b"/%7euser/~user",
        b"/a;b=c,d",
        b"/:8080/@x",
        b"/http://other/",
        b"/a??",
        b"/a?b",
        b"/a?b=%2f+%20&b=%2F&&=",
        b"/a?\"<>[]\\^`{|}'",
        b"/\"<>[]\\^`{|}'",
        b"/?a=/../b",
        b"/" + b"x" * 8000,
    ],
)
async def test_the_request_target_keeps_its_bytes(caller: Caller, target: bytes) -> None:
    async with upstream(answering(NO_CONTENT)) as server:
        await caller.ask(await caller.to(server.port), target=target)
        assert server.request_lines == [b"GET %s HTTP/1.1" % target]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
async def test_nothing_is_added_to_a_request_without_content(caller: Caller, method: str) -> None:
    async with upstream(answering(NO_CONTENT)) as server:
        await caller.ask(await caller.to(server.port), method)
        assert server.heads == [b"%s / HTTP/1.1\r\nhost: orders.internal\r\n\r\n" % method.encode()]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "REPORT"])
async def test_at_most_the_length_zero_is_added_to_one_that_could_have_content(caller: Caller, method: str) -> None:
    async with upstream(answering(NO_CONTENT)) as server:
        await caller.ask(await caller.to(server.port), method)
        bare = b"%s / HTTP/1.1\r\nhost: orders.internal\r\n" % method.encode()
        assert server.heads[0].lower() in {bare.lower() + b"\r\n", bare.lower() + b"content-length: 0\r\n\r\n"}


async def test_fields_keep_their_order_and_their_duplicates(caller: Caller) -> None:
    fields = [(b"X-b", b"1"), (b"x-A", b"2"), (b"X-B", b"3"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"e", b"")]
    async with upstream(answering(NO_CONTENT)) as server:
        await caller.ask(await caller.to(server.port), headers=fields)
        lines = b"".join(b"%s: %s\r\n" % (name.lower(), value.lower()) for name, value in fields)
        assert server.heads[0].lower() == b"get / http/1.1\r\nhost: orders.internal\r\n" + lines + b"\r\n"


@pytest.mark.parametrize(
    "field",
    [
        (b"user-agent", b"probe/1"),
        (b"accept", b"text/html;q=0.1"),
        (b"accept-encoding", b"br"),
        (b"content-encoding", b"gzip"),
        (b"authorization", b"Basic !not base64"),
        (b"cookie", b'a=1; $b="c"; a=2'),
        (b"x-name", "Zoë 日本".encode()),
        (b"x-quoted", b'a\t"b\\"" ;,'),
    ],
)
async def test_a_field_keeps_its_bytes(caller: Caller, field: tuple[bytes, bytes]) -> None:
    async with upstream(answering(NO_CONTENT)) as server:
        await caller.ask(await caller.to(server.port), headers=[field])
        assert server.heads == [b"GET / HTTP/1.1\r\nhost: orders.internal\r\n%s: %s\r\n\r\n" % field]


async def test_a_body_of_known_length_is_sent_with_that_length(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        assert (await wire.head()).endswith(b"\r\ncontent-length: 7\r\n\r\n")
        await wire.take(b"onetwo!")
        await wire.send(NO_CONTENT)

    async with upstream(script) as server:
        body = parts(b"one", b"two", b"!")
        answer = await caller.ask(await caller.to(server.port), "POST", b"/", [(b"content-length", b"7")], body)
        assert answer.status == 204
        assert b"transfer-encoding" not in server.heads[0].lower()


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_body_of_unknown_length_is_sent_in_chunks(caller: Caller, method: str) -> None:
    async def script(wire: Wire) -> None:
        assert b"\r\ntransfer-encoding: chunked\r\n" in (await wire.head()).lower()
        await wire.take(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        await wire.send(NO_CONTENT)

    async with upstream(script) as server:
        answer = await caller.ask(await caller.to(server.port), method, body=parts(b"one", b"two"))
        assert answer.status == 204
        assert b"content-length" not in server.heads[0].lower()


async def test_an_empty_part_does_not_end_a_chunked_body(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.take(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        await wire.send(NO_CONTENT)

    async with upstream(script) as server:
        body = parts(b"", b"one", b"", b"two", b"")
        assert (await caller.ask(await caller.to(server.port), "POST", body=body)).status == 204


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 503 Later\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 999 Denied\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    ],
)
async def test_a_body_arrives_whole_however_it_is_framed(caller: Caller, response: bytes, body: bytes) -> None:
    async with upstream(saying(response)) as server:
        answer = await caller.ask(await caller.to(server.port))
        assert (answer.status, answer.body) == (int(response.split()[1]), body)


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"])
async def test_the_answer_to_head_has_no_body_and_leaves_the_connection_usable(caller: Caller, framing: bytes) -> None:
    async with upstream(answering(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % framing)) as server:
        to = await caller.to(server.port)
        assert [(await caller.ask(to, "HEAD")).body, (await caller.ask(to, "HEAD")).body] == [b"", b""]


async def test_informational_responses_are_skipped(caller: Caller) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Early: 1\r\n\r\n"
    async with upstream(answering(early + HELLO)) as server:
        to = await caller.to(server.port)
        for _ in range(2):
            answer = await caller.ask(to)
            assert (answer.status, answer.body, len(answer.headers)) == (200, b"hello", 1)
        assert len(server.wires) == 1


async def test_thousands_of_informational_responses_at_once_are_skipped(caller: Caller) -> None:
    async with upstream(saying(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000 + HELLO)) as server:
        answer = await caller.ask(await caller.to(server.port))
        assert (answer.status, answer.body) == (200, b"hello")


async def test_fields_of_a_response_keep_order_and_duplicates_and_bytes(caller: Caller) -> None:
    fields = b"Set-Cookie: a=1\r\nX-B: \xc3\xab\xe9\r\nSet-Cookie: a=2; Path=/\r\nx-empty:\r\nContent-Length: 0\r\n"
    async with upstream(saying(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")) as server:
        answer = await caller.ask(await caller.to(server.port))
        assert [(name.lower(), value) for name, value in answer.headers] == [
            (b"set-cookie", b"a=1"),
            (b"x-b", b"\xc3\xab\xe9"),
            (b"set-cookie", b"a=2; Path=/"),
            (b"x-empty", b""),
            (b"content-length", b"0"),
        ]


async def test_no_cookie_is_remembered(caller: Caller) -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=secret; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with upstream(answering(cookie)) as server:
        to = await caller.to(server.port, host="localhost")
        await caller.ask(to)
        await caller.ask(to)
        assert b"secret" not in server.heads[1]
        assert server.heads[0] == server.heads[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_passed_through(caller: Caller, status: int) -> None:
    redirect = b"HTTP/1.1 %d Moved\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\ngo" % status
    async with upstream(answering(redirect)) as server:
        answer = await caller.ask(await caller.to(server.port), "GET")
        assert (answer.status, answer.body, len(server.heads)) == (status, b"go", 1)
        assert (b"location", b"/elsewhere") in [(name.lower(), value) for name, value in answer.headers]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_proxies_of_the_environment_are_ignored(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async with upstream(answering(NO_CONTENT)) as proxy, upstream(answering(NO_CONTENT)) as server:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        await caller.ask(await caller.to(server.port))
        assert (len(server.heads), len(proxy.heads)) == (1, 0)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd", b"made-up"])
async def test_nothing_is_decompressed(caller: Caller, coding: bytes) -> None:
    content = gzip.compress(b"hello" * 100)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(content))
    async with upstream(saying(head + content)) as server:
        answer = await caller.ask(await caller.to(server.port))
        assert answer.body == content
        assert (b"content-encoding", coding) in [(name.lower(), value) for name, value in answer.headers]
