"""Where a message's content ends, however it is cut into segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.proxy.content import LAST_CHUNK, Chunked, ContentError, Sized, UntilClose, as_chunk
from tests.proxy.segments import cut, segmentations, splits
from tests.proxy.vectors import ACCEPTED, BODIES, Accepted, Refused

SHORT = 300


@dataclass
class Read:
    """What became of content that came in segments."""

    content: bytes = b""
    surplus: bytes | None = None
    """What came behind its end; None: it has not ended."""
    broken_in: tuple[int, int] | None = None
    """Where the segment began and ended that cannot be content; None: there was none."""


def read(content: Sized | Chunked | UntilClose, segments: Iterable[bytes]) -> Read:
    seen, position = Read(), 0
    for segment in segments:
        if content.complete:
            seen.surplus = (seen.surplus or b"") + segment
            continue
        try:
            parts, rest = content.feed(segment)
        except ContentError:
            seen.broken_in = position, position + len(segment)
            return seen
        assert content.complete or not rest
        assert all(parts)
        seen.content += b"".join(parts)
        seen.surplus = rest if content.complete else None
        position += len(segment)
    return seen


def bytewise(message: bytes) -> list[bytes]:
    return cut(message, *range(len(message)))


def by_name(vector: Refused | Accepted) -> str:
    return vector.name


def content_of(vector: Refused | Accepted) -> bytes:
    return vector.message.partition(b"\r\n\r\n")[2]


# Chunks.


@pytest.mark.parametrize(
    ("message", "content", "surplus"),
    [
        (b"0\r\n\r\n", b"", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", b"hello", b"GET / HTTP/1.1\r\n"),
        (b"0\r\n\r\n\r\n", b"", b"\r\n"),
        (b"0\r\n\r\n0\r\n\r\n", b"", b"0\r\n\r\n"),
        (b"2\r\n\r\n\r\n2;a=b\r\n0\r\r\n0\r\n\r\n", b"\r\n0\r", b""),
        (b"00000000000000A \t; x\r\n0123456789\r\n0;last\r\nA: 1\r\nB:\r\n\r\n!", b"0123456789", b"!"),
        (b"", b"", None),
        (b"5", b"", None),
        (b"5\r\nhel", b"hel", None),
        (b"5\r\nhello\r", b"hello", None),
        (b"5\r\nhello\r\n", b"hello", None),
        (b"0\r\n", b"", None),
        (b"0\r\n\r", b"", None),
        (b"0\r\nA: 1\r\n", b"", None),
    ],
)
def test_chunked_content_ends_with_the_line_that_is_empty(message: bytes, content: bytes, surplus: bytes) -> None:
    for segments in splits(message, 3):
        assert read(Chunked(), segments) == Read(content, surplus)


@pytest.mark.parametrize("vector", [each for each in ACCEPTED if b"chunked" in each.message.lower()], ids=by_name)
def test_chunks_in_order_are_the_same_content_in_any_segments(vector: Accepted) -> None:
    for segments in splits(content_of(vector), 3):
        assert read(Chunked(), segments) == Read(vector.content, b"")


@pytest.mark.parametrize("vector", [each for each in BODIES if len(each.message) < SHORT], ids=by_name)
def test_chunks_break_at_the_same_byte_wherever_they_are_cut(vector: Refused) -> None:
    whole = content_of(vector)
    place = read(Chunked(), bytewise(whole)).broken_in
    assert place is not None
    for segments in splits(whole, 3):
        assert encloses(read(Chunked(), segments).broken_in, place)


@pytest.mark.parametrize("vector", [each for each in BODIES if len(each.message) >= SHORT], ids=by_name)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_chunks_that_are_large_break_at_the_same_byte(vector: Refused, data: st.DataObject) -> None:
    whole = content_of(vector)
    place = read(Chunked(), bytewise(whole[:40000])).broken_in
    assert place is not None
    assert encloses(read(Chunked(), data.draw(segmentations(whole))).broken_in, place)


def encloses(segment: tuple[int, int] | None, byte: tuple[int, int]) -> bool:
    return segment is not None and segment[0] <= byte[0] and byte[1] <= segment[1]


def extension_of(size: int) -> bytes:
    return b"0;%b\r\n\r\n" % (b"a" * (size - len(b"0;\r\n")))


def trailer_of(size: int) -> bytes:
    return b"0\r\nA:%b\r\n\r\n" % (b"a" * (size - len(b"A:\r\n")))


def trailers_of(size: int) -> bytes:
    lines = [b"A:%b\r\n" % (b"a" * 2046)] * 7 + [b"A:%b\r\n" % (b"a" * (size - 7 * 2048 - 2))]
    return b"0\r\n%b\r\n" % b"".join(lines)


@pytest.mark.parametrize(("message_of", "most"), [(extension_of, 4096), (trailer_of, 4096), (trailers_of, 16 * 1024)])
def test_what_is_dropped_has_a_limit(message_of: Callable[[int], bytes], most: int) -> None:
    allowed, larger = message_of(most), message_of(most + 1)
    for ways in (lambda message: [message], bytewise):
        assert read(Chunked(), ways(allowed)) == Read(b"", b"")
        assert read(Chunked(), ways(larger)).broken_in is not None


@pytest.mark.parametrize(
    ("size", "in_order"), [(b"f" * 15, True), (b"0" * 14 + b"1", True), (b"1" + b"0" * 15, False), (b"0" * 16, False)]
)
def test_a_chunks_size_has_fifteen_digits_at_most(size: bytes, *, in_order: bool) -> None:
    assert (read(Chunked(), [size + b"\r\n"]).broken_in is None) is in_order


@pytest.mark.parametrize("line", [b"5;%c\r\n", b"0\r\nA: %c\r\n"])
@pytest.mark.parametrize("byte", range(256))
def test_extensions_and_trailers_are_visible_characters_spaces_and_tabs(line: bytes, byte: int) -> None:
    in_order = byte == 0x09 or 0x20 <= byte < 0x7F or byte >= 0x80
    assert (read(Chunked(), [line % byte]).broken_in is None) is in_order


# What is encoded is decoded again.

parts = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
surplus = st.binary(max_size=20)


@settings(deadline=None)
@given(parts, surplus, st.data())
def test_chunks_are_the_content_again(parts: list[bytes], surplus: bytes, data: st.DataObject) -> None:
    message = b"".join(map(as_chunk, parts)) + LAST_CHUNK + surplus
    assert read(Chunked(), data.draw(segmentations(message))) == Read(b"".join(parts), surplus)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60), surplus, st.data())
def test_sized_content_ends_after_so_many_bytes(content: bytes, surplus: bytes, data: st.DataObject) -> None:
    segments = data.draw(segmentations(content + surplus))
    assert read(Sized(len(content)), segments) == Read(content, surplus)
    assert read(Sized(len(content) + len(surplus) + 1), segments) == Read(content + surplus, None)


@settings(deadline=None)
@given(st.binary(max_size=60), st.data())
def test_content_until_the_end_is_all_there_is(content: bytes, data: st.DataObject) -> None:
    assert read(UntilClose(), data.draw(segmentations(content))) == Read(content, None)


@settings(max_examples=300, deadline=None)
@given(st.text("0123abf;\r\n :", max_size=40).map(str.encode), st.data())
def test_whatever_comes_is_taken_the_same_in_any_segments(message: bytes, data: st.DataObject) -> None:
    whole = read(Chunked(), bytewise(message))
    cut = read(Chunked(), data.draw(segmentations(message)))
    assert (cut.surplus, cut.broken_in is None) == (whole.surplus, whole.broken_in is None)
    assert whole.content.startswith(cut.content)


@pytest.mark.parametrize(("length", "complete"), [(0, True), (1, False)])
def test_content_of_no_bytes_is_complete_from_the_beginning(length: int, *, complete: bool) -> None:
    assert Sized(length).complete is complete
