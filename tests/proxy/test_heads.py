"""The heads of requests, as bytes: what is let in and what is not, however they are cut into segments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import httptools
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exporter.proxy.errors import Refusal
from exporter.proxy.headers import split, tokens
from exporter.proxy.heads import HeadReader, RefusedError, RequestHead
from tests.proxy.segments import segmentations, splits
from tests.proxy.vectors import ACCEPTED, BODIES, HEADS, Accepted, Refused

Verdict = tuple[RequestHead, int] | Refusal | None

SHORT, TINY = 1024, 80


def verdict(segments: Iterable[bytes]) -> Verdict:
    """What is said of bytes that come in these segments: as soon as it is said, for nobody reads on then."""
    reader, data = HeadReader(), b""
    try:
        for segment in segments:
            data += segment
            if (found := reader.read(data)) is not None:
                return found
    except RefusedError as exc:
        return exc.refusal
    return None


def head(message: bytes) -> RequestHead:
    found = verdict([message])
    assert isinstance(found, tuple)
    assert found[1] == len(message)
    return found[0]


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"".join(b"%b\r\n" % each for each in (line, b"Host: a", *fields)) + b"\r\n"


def by_name(vector: Refused | Accepted) -> str:
    return vector.name


# The verdict on every message there is.


@pytest.mark.parametrize("vector", HEADS, ids=by_name)
def test_a_malformed_head_is_refused_with_its_status(vector: Refused) -> None:
    refusal = verdict([vector.message])
    assert isinstance(refusal, Refusal)
    assert refusal.status in vector.statuses


@pytest.mark.parametrize("vector", [*ACCEPTED, *BODIES], ids=by_name)
def test_a_head_in_order_is_let_in_up_to_its_end(vector: Accepted | Refused) -> None:
    found = verdict([vector.message])
    assert isinstance(found, tuple)
    assert found[1] == vector.message.index(b"\r\n\r\n", 2) + 4


MESSAGES: list[Refused | Accepted] = [*HEADS, *ACCEPTED]


@pytest.mark.parametrize("vector", [each for each in MESSAGES if len(each.message) <= SHORT], ids=by_name)
def test_the_verdict_is_the_same_wherever_a_message_is_cut(vector: Refused | Accepted) -> None:
    whole = verdict([vector.message])
    assert all(verdict(segments) == whole for segments in splits(vector.message, 2))


@pytest.mark.parametrize("vector", [each for each in MESSAGES if len(each.message) < TINY], ids=by_name)
def test_the_verdict_is_the_same_wherever_a_message_is_cut_twice(vector: Refused | Accepted) -> None:
    whole = verdict([vector.message])
    assert all(verdict(segments) == whole for segments in splits(vector.message, 3))


@pytest.mark.parametrize("vector", [each for each in MESSAGES if len(each.message) > SHORT], ids=by_name)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_the_verdict_on_a_large_message_is_the_same_in_any_segments(
    vector: Refused | Accepted, data: st.DataObject
) -> None:
    assert verdict(data.draw(segmentations(vector.message))) == verdict([vector.message])


@pytest.mark.parametrize("message", [get(), get(b"X-A: 1", b"X-B: 2"), b"\r\n" + get()])
def test_there_is_no_verdict_on_less_than_a_head(message: bytes) -> None:
    assert [verdict([message[:end]]) for end in range(len(message))] == [None] * len(message)


# Limits, on both sides of each.


def target_of(size: int) -> bytes:
    return get(line=b"GET /%b HTTP/1.1" % (b"a" * (size - 1)))


def line_of(size: int) -> bytes:
    return get(line=b"A" * (size - len(b" / HTTP/1.1\r\n")) + b" / HTTP/1.1")


def head_of(size: int) -> bytes:
    return get(b"X-A: " + b"a" * (size - len(get(b"X-A: "))))


def fields_of(number: int) -> bytes:
    return get(*(b"X-%d: 1" % each for each in range(number - 1)))


def digits_of(number: int) -> bytes:
    return get(b"Content-Length: " + b"9" * number)


def port_of(number: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a:%d\r\n\r\n" % number


LIMITS = [
    (target_of, 8192, Refusal.TARGET_TOO_LONG),
    (line_of, 8256, Refusal.TARGET_TOO_LONG),
    (head_of, 32768, Refusal.HEAD_TOO_LARGE),
    (fields_of, 100, Refusal.HEAD_TOO_LARGE),
    (digits_of, 18, Refusal.CONTENT_TOO_LARGE),
    (port_of, 65535, Refusal.BAD_REQUEST),
]


def ways(message: bytes) -> list[list[bytes]]:
    """Whole, less its end and then that, and in segments of 1000 bytes: each with an empty line before it, too."""
    return [
        segments
        for sent in (message, b"\r\n" + message)
        for segments in (
            [sent],
            [sent[:-1], sent[-1:]],
            [sent[at : at + 1000] for at in range(0, len(sent), 1000)],
        )
    ]


@pytest.mark.parametrize(("message_of", "most", "refusal"), LIMITS)
def test_what_is_as_large_as_it_may_be_is_let_in(
    message_of: Callable[[int], bytes], most: int, refusal: Refusal
) -> None:
    assert all(isinstance(verdict(segments), tuple) for segments in ways(message_of(most)))


@pytest.mark.parametrize(("message_of", "most", "refusal"), LIMITS)
def test_what_is_larger_by_one_is_refused(message_of: Callable[[int], bytes], most: int, refusal: Refusal) -> None:
    assert {verdict(segments) for segments in ways(message_of(most + 1))} == {refusal}


@pytest.mark.parametrize(
    ("message", "most", "refusal"),
    [
        (b"A" * 8257, 8256, Refusal.TARGET_TOO_LONG),
        (b"GET /" + b"a" * 9000, 8256, Refusal.TARGET_TOO_LONG),
        (b"CONNECT /" + b"a" * 9000, 8256, Refusal.TARGET_TOO_LONG),
        (get()[:-2] + b"X-A: " + b"a" * 40000, 32768, Refusal.HEAD_TOO_LARGE),
        (get()[:-2] + b"X-A" * 20000, 32768, Refusal.HEAD_TOO_LARGE),
    ],
)
def test_a_line_that_does_not_end_is_refused_when_it_is_too_long(message: bytes, most: int, refusal: Refusal) -> None:
    assert verdict([message[:most]]) is None
    assert verdict([message[: most + 1]]) is verdict([message[:most], message[most:]]) is refusal


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        # The first byte that cannot be right decides, and what comes behind it is never read.
        (b"GET\r\n", Refusal.BAD_REQUEST),
        (b"GET / HTTP/2.0\r\n", Refusal.VERSION_NOT_SUPPORTED),
        (b"TRACE / HTTP/1.1\r\n", Refusal.NOT_IMPLEMENTED),
        (b"TRACE / HTTP/2.0\r\n", Refusal.VERSION_NOT_SUPPORTED),
        (b"GET / HTTP/1.1\r\nX A: 1\r\n", Refusal.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n", Refusal.BAD_REQUEST),
        (b"\r\n\r\n", Refusal.BAD_REQUEST),
        (b"\n", Refusal.BAD_REQUEST),
    ],
)
def test_a_line_is_judged_when_it_is_complete(message: bytes, refusal: Refusal) -> None:
    assert verdict([message]) is refusal
    assert verdict([message[:-1]]) is None


# What a head says.


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], 0),
        ([b"Content-Length: 0"], 0),
        ([b"content-length:\t007 "], 7),
        ([b"Transfer-Encoding: Chunked"], None),
    ],
)
def test_the_length_of_the_content(fields: list[bytes], length: int | None) -> None:
    assert head(get(*fields)).length == length


@pytest.mark.parametrize(
    ("version", "fields", "keep_alive"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"Connection: keep-alive"], True),
        (b"1.1", [b"Connection: x, CLOSE"], False),
        (b"1.1", [b"Connection: keep-alive", b"Connection: close"], False),
        (b"1.1", [b"Proxy-Connection: close"], True),
        (b"1.0", [], False),
        # RFC 9112 appendix C.2.2: what an HTTP/1.0 client keeps alive, it may not know the end of.
        (b"1.0", [b"Connection: keep-alive"], False),
    ],
)
def test_a_connection_is_kept_unless_the_client_says_otherwise(
    version: bytes, fields: list[bytes], *, keep_alive: bool
) -> None:
    assert head(get(*fields, line=b"GET / HTTP/" + version)).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("version", "fields", "expects"),
    [
        (b"1.1", [b"Expect: 100-continue", b"Content-Length: 5"], True),
        (b"1.1", [b"expect:100-Continue", b"Transfer-Encoding: chunked"], True),
        (b"1.1", [b"Expect: x, 100-continue", b"Content-Length: 5"], True),
        (b"1.1", [b"Expect: x", b"Content-Length: 5"], False),
        # RFC 9110 section 10.1.1: without content, or of HTTP/1.0, it means nothing.
        (b"1.1", [b"Expect: 100-continue"], False),
        (b"1.1", [b"Expect: 100-continue", b"Content-Length: 0"], False),
        (b"1.0", [b"Expect: 100-continue", b"Content-Length: 5"], False),
    ],
)
def test_a_client_may_wait_before_it_sends_content(version: bytes, fields: list[bytes], *, expects: bool) -> None:
    assert head(get(*fields, line=b"POST / HTTP/" + version)).expects_continue is expects


@pytest.mark.parametrize(
    ("version", "fields", "offered"),
    [
        (b"1.1", [b"Upgrade: websocket", b"Connection: Upgrade"], b"websocket"),
        (b"1.1", [b"Upgrade: a/1", b"Upgrade: B", b"Connection: close, upgrade"], b"a/1, B"),
        (b"1.1", [b"Upgrade: websocket"], None),
        (b"1.1", [b"Connection: upgrade"], None),
        (b"1.1", [b"Upgrade: websocket", b"Connection: upgrade", b"Content-Length: 1"], None),
        (b"1.1", [b"Upgrade: h2c", b"Connection: upgrade"], None),
        (b"1.1", [b"Upgrade: websocket, H2C", b"Connection: upgrade"], None),
        (b"1.1", [b"Upgrade: TLS/1.0", b"Connection: upgrade"], None),
        (b"1.1", [b"Upgrade: HTTP/3.0", b"Connection: upgrade"], None),
        (b"1.0", [b"Upgrade: websocket", b"Connection: upgrade"], None),
    ],
)
def test_an_offer_to_change_the_protocol(version: bytes, fields: list[bytes], offered: bytes | None) -> None:
    assert head(get(*fields, line=b"GET / HTTP/" + version)).upgrade == offered


@pytest.mark.parametrize(
    ("target", "path"), [(b"/", b"/"), (b"/a?b?c", b"/a"), (b"/?", b"/"), (b"//a%3f;b?", b"//a%3f;b")]
)
def test_the_path_is_the_target_up_to_its_query(target: bytes, path: bytes) -> None:
    found = head(get(line=b"GET %b HTTP/1.1" % target))
    assert (found.target, found.path) == (target, path)


# What another reader says of it.


class Other:
    """What httptools makes of a message."""

    def __init__(self, message: bytes) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(message)
        self.method = parser.get_method()
        self.version = parser.get_http_version()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.rstrip(b"\t ")))

    def on_headers_complete(self) -> None:
        self.complete = True


KNOWN = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PURGE", b"M-SEARCH", b"PROPFIND"]
BREAKING = [b"", *(bytes([byte]) for byte in b"\r\n\0 \t:,;/#aZ0\x0b\x7f\x80")]
NOT_PASSED = {b"host", b"connection", b"transfer-encoding"}

names = st.text("!#$%&'*+-.^_`|~aZ09", min_size=1, max_size=8).map(str.encode)
targets = st.text([chr(code) for code in range(0x21, 0x7F) if code != ord("#")], max_size=12).map(
    lambda text: b"/" + text.encode()
)
values = st.text([chr(code) for code in (0x09, *range(0x20, 0x7F), *range(0x80, 0x100))], max_size=12).map(
    lambda text: text.encode("latin-1")
)
framings = st.sampled_from([b"X-A: 1", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A head in order, all but for HTTP/1.0 with a transfer coding."""
    line = b"%b %b HTTP/1.%d" % (draw(st.sampled_from(KNOWN)), draw(targets), draw(st.sampled_from([1, 1, 1, 0])))
    fields = draw(st.lists(st.tuples(names, values).map(b": ".join), max_size=5))
    return get(*fields, draw(framings), line=line)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A head, with a byte or two that make it another, or none."""
    message = bytearray(draw(heads()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(message) - 1))
        message[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from(BREAKING))
    return bytes(message)


@settings(max_examples=200, deadline=None)
@given(heads())
def test_a_head_in_order_is_understood_as_another_reader_does(message: bytes) -> None:
    found = verdict([message])
    assume(isinstance(found, tuple))
    agree(message)


@settings(max_examples=600, deadline=None)
@given(mutated())
def test_nothing_is_let_in_that_another_reader_refuses_or_takes_for_something_else(message: bytes) -> None:
    if isinstance(verdict([message]), tuple):
        agree(message)


def agree(message: bytes) -> None:
    found = verdict([message])
    assert isinstance(found, tuple)
    ours, end = found
    assume(ours.method.encode() in KNOWN)
    other = Other(message[:end])
    assert other.complete
    assert (other.method.decode(), other.target) == (ours.method, ours.target)
    assert other.version == ("1.0" if ours.http_1_0 else "1.1")
    nominated = tokens(value for name, value in other.fields if name.lower() == b"connection")
    passing = [field for field in other.fields if field[0].lower() not in NOT_PASSED | nominated]
    assert [(name, value.rstrip(b"\t ")) for name, value in split(ours.fields)] == passing


@settings(max_examples=600, deadline=None)
@given(mutated())
def test_nothing_is_let_in_with_a_control_character_or_a_bare_line_end(message: bytes) -> None:
    found = verdict([message])
    if isinstance(found, tuple):
        lines = message[: found[1]].removeprefix(b"\r\n").split(b"\r\n")
        assert lines[-2:] == [b"", b""]
        assert all(lines[:-2])
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", b"".join(lines))


@settings(max_examples=300, deadline=None)
@given(mutated(), st.data())
def test_the_verdict_is_the_same_in_any_segments_whatever_the_message(message: bytes, data: st.DataObject) -> None:
    assert verdict(data.draw(segmentations(message))) == verdict([message])
