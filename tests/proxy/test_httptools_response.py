"""The heads of upstreams' responses, as bytes: what is passed on and what is not, however they are cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.proxy.content import Chunked, Sized, UntilClose
from exporter.proxy.httptools_response import LARGEST_HEAD, BadResponseError, ResponseHead, ResponseReader
from tests.proxy.segments import cut, segmentations, splits

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CODING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def response(*fields: bytes, status: bytes = b"200 OK", version: bytes = b"1.1") -> bytes:
    return b"".join(b"%b\r\n" % line for line in (b"HTTP/%b %b" % (version, status), *fields)) + b"\r\n"


def read(segments: Iterable[bytes], method: str = "GET") -> tuple[ResponseHead, bytes] | str | None:
    """The head in these segments, with what has come behind it; None: there is more to come."""
    reader = ResponseReader(method)
    segments = iter(segments)
    try:
        for segment in segments:
            if (found := reader.feed(segment)) is not None:
                return found[0], found[1] + b"".join(segments)
    except BadResponseError:
        return "refused"
    return None


def head(message: bytes, method: str = "GET") -> ResponseHead:
    found = read([message], method)
    assert isinstance(found, tuple)
    assert found[1] == b""
    return found[0]


def framing(head: ResponseHead) -> object:
    """What comes behind the head: so many bytes, content of a kind, or nothing."""
    if not head.has_content:
        return None
    content = head.content()
    return content.left if isinstance(content, Sized) else type(content)


REFUSED = {
    "no response": b"hello\r\n\r\n",
    "an empty line alone": b"\r\n\r\n",
    "an empty line before the status line": b"\r\n" + LENGTH,
    "LF before the status line": b"\n" + LENGTH,
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "another protocol": b"ICY 200 OK\r\n\r\n",
    "the version 0.9": response(version=b"0.9"),
    "the version 1.2": response(version=b"1.2"),
    "the version 2.0": response(version=b"2.0"),
    "a version in lower case": b"http/1.1 200 OK\r\n\r\n",
    "two spaces after the version": response(status=b" 200 OK"),
    "no status": response(status=b"OK"),
    "a status of two digits": response(status=b"20 OK"),
    "a status of four digits": response(status=b"2000 OK"),
    "a status below 100": response(status=b"099 OK"),
    "a NUL in the phrase": response(status=b"200 O\0K"),
    "a control character in the phrase": response(status=b"200 \x1b[0m"),
    "a bare CR in the phrase": response(status=b"200 O\rK"),
    "a bare LF in the phrase": response(status=b"200 O\nK"),
    "LF for every line end": LENGTH.replace(b"\r\n", b"\n") + b"\r\n\r\n",
    "LF after the status line": b"HTTP/1.1 200 OK\nX-A: 1\r\n\r\n",
    "LF after a field": b"HTTP/1.1 200 OK\r\nX-A: 1\nX-B: 2\r\n\r\n",
    "LF for the empty line": b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\nhello\r\n\r\n",
    "CR CR LF after a field": response(b"X-A: 1\r"),
    "a line without a colon": response(b"X-A"),
    "an empty name": response(b": 1"),
    "a space before a colon": response(b"X-A : 1"),
    "a space before the colon of Content-Length": response(b"Content-Length : 5"),
    "a space before the colon of Transfer-Encoding": response(b"Transfer-Encoding : chunked"),
    "a parenthesis in a name": response(b"X(A): 1"),
    "a non-ASCII byte in a name": response(b"X\xe4: 1"),
    "a NUL in a value": response(b"X-A: a\0b"),
    "a control character in a value": response(b"X-A: a\x01b"),
    "DEL in a value": response(b"X-A: a\x7fb"),
    "a bare CR in a value": response(b"X-A: a\rb"),
    "a bare CR that begins a field": response(b"X-A: a\rSet-Cookie: b"),
    "a space before the first field": response(b" X-A: 1"),
    "a fold": response(b"X-A: 1", b" 2"),
    "a fold in Content-Length": response(b"Content-Length: 5", b" 6"),
    "a fold in Transfer-Encoding": response(b"Transfer-Encoding:", b" chunked"),
    "a fold in Connection": response(b"Connection: x-a", b"\t, x-b", b"X-B: 1"),
    "Content-Length and Transfer-Encoding": response(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "Transfer-Encoding and Content-Length": response(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two equal Content-Lengths": response(b"Content-Length: 5", b"Content-Length: 5"),
    "two different Content-Lengths": response(b"Content-Length: 5", b"content-length: 6"),
    "a Content-Length that is a list": response(b"Content-Length: 5, 5"),
    "an empty Content-Length": response(b"Content-Length:"),
    "a Content-Length with a plus": response(b"Content-Length: +5"),
    "a Content-Length with a minus": response(b"Content-Length: -5"),
    "a Content-Length in hexadecimal": response(b"Content-Length: 0x5"),
    "a Content-Length of two numbers": response(b"Content-Length: 5 5"),
    "a Content-Length of a superscript digit": response(b"Content-Length: \xb2"),
    "a Content-Length of 19 digits": response(b"Content-Length: " + b"1" * 19),
    "Transfer-Encoding with HTTP/1.0": response(b"Transfer-Encoding: chunked", version=b"1.0"),
    "a 101 that names no protocol": response(b"Connection: upgrade", status=b"101 X"),
    "the coding gzip": response(b"Transfer-Encoding: gzip"),
    "gzip, then chunked": response(b"Transfer-Encoding: gzip, chunked"),
    "chunked, then gzip": response(b"Transfer-Encoding: chunked, gzip"),
    "chunked in two fields": response(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "identity": response(b"Transfer-Encoding: identity"),
    "an empty coding": response(b"Transfer-Encoding:"),
    "xchunked": response(b"Transfer-Encoding: xchunked"),
    "a line that does not end": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * LARGEST_HEAD,
}

PASSED = {
    "a length": LENGTH,
    "chunks": CODING,
    "neither": response(),
    "content behind it": LENGTH + b"hello",
    "a response behind it": response(b"Content-Length: 0") + LENGTH,
    "no phrase": response(status=b"200 "),
    "no phrase and no space": response(status=b"200"),
    "a phrase of Latin-1": response(status=b"200 \xe4\xff"),
    "a phrase with a tab": response(status=b"200 O\tK"),
    "HTTP/1.0": response(b"Content-Length: 5", version=b"1.0"),
    "HTTP/1.0 that keeps the connection": response(b"Connection: keep-alive", version=b"1.0"),
    "a status that is not registered": response(status=b"299 Whatever"),
    # RFC 9110 section 15: the client takes it for a 5xx.
    "a status above 599": response(status=b"600 X"),
    "the last status": response(status=b"999 X"),
    "an interim response": response(b"Link: </a>", status=b"103 Early Hints") + LENGTH,
    "a change of protocol": response(b"Upgrade: WebSocket", b"Connection: Upgrade", status=b"101 X")
    + b"\x81\0\r\n\r\n",
    "an offer to change the protocol": response(b"Upgrade: h2c", b"Connection: upgrade", b"Content-Length: 0"),
    "a 204": response(b"Content-Length: 0", status=b"204 No Content"),
    "a 304 with a length": response(b"Content-Length: 5", status=b"304 Not Modified"),
    "empty values, Latin-1 and tabs": response(b"X-A:", b"X-B: \t", b"X-C: \xe4\tb"),
    "cookies": response(b"Set-Cookie: a=1", b"set-cookie: b=2", b"Content-Length: 5"),
    "chunked in upper case": response(b"Transfer-Encoding: CHUNKED"),
    "a length after tabs": response(b"Content-Length:\t005\t"),
    "a Connection that names fields": response(b"Connection: x-a, close", b"X-A: 1"),
}


def named(messages: dict[str, bytes]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("message", messages.values(), ids=messages.keys())


@named(REFUSED)
def test_a_malformed_response_is_refused(message: bytes) -> None:
    assert read([message]) == "refused"


@named({name: message for name, message in (REFUSED | PASSED).items() if len(message) < 1024})
def test_what_is_made_of_a_response_is_the_same_wherever_it_is_cut(message: bytes) -> None:
    whole = read([message])
    assert all(read(segments) == whole for segments in splits(message, 3 if len(message) < 60 else 2))


@named(PASSED)
def test_there_is_nothing_to_pass_on_before_the_head_has_ended(message: bytes) -> None:
    end = message.index(b"\r\n\r\n") + 4
    assert read(cut(message[: end - 1], *range(end))) is None
    assert isinstance(read([message[:end]]), tuple)


@pytest.mark.parametrize(
    ("message", "length", "content"),
    [
        (LENGTH, 5, 5),
        (response(b"Content-Length: 0"), 0, None),
        (response(b"Content-Length: 007"), 7, 7),
        (response(b"Content-Length: " + b"9" * 18), 10**18 - 1, 10**18 - 1),
        (CODING, None, Chunked),
        (response(), None, UntilClose),
        (response(b"Content-Length: 5", version=b"1.0"), 5, 5),
        (response(version=b"1.0"), None, UntilClose),
        (response(status=b"404 Not Found"), None, UntilClose),
        # RFC 9112 section 6.3: whatever the fields say, nothing comes.
        (response(status=b"204 X"), None, None),
        (response(b"Transfer-Encoding: chunked", status=b"204 X"), None, None),
        (response(b"Content-Length: 5", status=b"304 X"), 5, None),
        (response(b"Transfer-Encoding: chunked", status=b"304 X"), None, None),
        (response(status=b"304 X"), None, None),
        (response(status=b"100 Continue"), None, None),
        (response(status=b"103 Early Hints"), None, None),
        (response(b"Upgrade: x", b"Connection: upgrade", status=b"101 X"), None, None),
    ],
)
def test_what_comes_behind_a_head(message: bytes, length: int | None, content: object) -> None:
    assert (head(message).length, framing(head(message))) == (length, content)


@pytest.mark.parametrize("message", [LENGTH, CODING, response()])
def test_nothing_comes_behind_the_head_that_answers_head(message: bytes) -> None:
    assert framing(head(message, "HEAD")) is None
    assert head(message, "HEAD")[:3] == head(message)[:3]


@pytest.mark.parametrize(
    ("version", "fields", "keep_alive"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"Connection: keep-alive"], True),
        (b"1.1", [b"Connection: x, Close"], False),
        (b"1.1", [b"Connection: keep-alive", b"Connection: close"], False),
        (b"1.0", [], False),
        (b"1.0", [b"Connection: Keep-Alive"], True),
        (b"1.0", [b"Connection: close"], False),
    ],
)
def test_a_connection_is_kept_if_the_upstream_keeps_it(
    version: bytes, fields: list[bytes], *, keep_alive: bool
) -> None:
    assert head(response(b"Content-Length: 5", *fields, version=version)).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("fields", "protocols"),
    [
        ([b"Upgrade: WebSocket"], {b"websocket"}),
        ([b"Upgrade: a/1, B", b"upgrade: c"], {b"a/1", b"b", b"c"}),
    ],
)
def test_protocols_are_named_in_lower_case(fields: list[bytes], protocols: set[bytes]) -> None:
    assert head(response(b"Connection: upgrade", *fields, status=b"101 X")).protocols == protocols


def of_size(size: int) -> bytes:
    return response(b"X-A: " + b"a" * (size - len(response(b"X-A: "))))


@pytest.mark.parametrize("step", [LARGEST_HEAD * 2, 1000, LARGEST_HEAD - 1])
def test_a_head_has_a_limit(step: int) -> None:
    allowed, larger = of_size(LARGEST_HEAD), of_size(LARGEST_HEAD + 1)
    assert isinstance(read(cut(allowed, *range(0, len(allowed), step))), tuple)
    assert read(cut(larger, *range(0, len(larger), step))) == "refused"


def test_content_that_comes_with_the_head_is_outside_its_limit() -> None:
    found = read([LENGTH + b"a" * LARGEST_HEAD])
    assert isinstance(found, tuple)
    assert found[1] == b"a" * LARGEST_HEAD


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A response, with a byte or two that make it another, or none."""
    message = bytearray(draw(st.sampled_from(sorted(PASSED.values()))))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(message) - 1))
        message[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from(BREAKING))
    return bytes(message)


BREAKING = [b"", b"\r\n", b"\r\n ", *(bytes([byte]) for byte in b"\r\n\0 \t:,;/#aZ0\x0b\x7f\x80")]


@settings(max_examples=600, deadline=None)
@given(mutated(), st.data())
def test_whatever_comes_is_taken_the_same_in_any_segments(message: bytes, data: st.DataObject) -> None:
    assert read(data.draw(segmentations(message))) == read([message])


@settings(max_examples=600, deadline=None)
@given(mutated())
def test_nothing_is_passed_on_but_lines_of_a_name_and_a_value(message: bytes) -> None:
    found = read([message])
    if isinstance(found, tuple):
        assert re.fullmatch(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*", found[0].fields)
        assert 100 <= found[0].status <= 999
