"""Where a message's content ends (RFC 9112 sections 6 and 7). Pure: bytes in, content out."""

from __future__ import annotations

import re

# RFC 9112 section 7.1: more digits than a size can have are an attempt to overflow it.
_MOST_DIGITS = 15
_LONGEST_LINE = 4 * 1024
_LARGEST_TRAILERS = 16 * 1024

# The size, then extensions, which are ignored: nothing but HTAB and visible characters.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,%d})(?:[\t ]*;[\t -~\x80-\xff]*)?" % _MOST_DIGITS)
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")

LAST_CHUNK = b"0\r\n\r\n"


class ContentError(Exception):
    """The content's framing is broken: nothing behind this point can be told apart."""


class Sized:
    """Content of a known length."""

    __slots__ = ("complete", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.complete = length == 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The parts of the content, and what is behind its end: empty as long as it is not complete."""
        size = len(data)
        if size < self.left:
            self.left -= size
            return [data], b""
        content, rest = (data, b"") if size == self.left else (data[: self.left], data[self.left :])
        self.left = 0
        self.complete = True
        return [content], rest


class Chunked:
    """Content in chunks. Extensions and trailers are checked and dropped: no trailer ever becomes a field."""

    __slots__ = ("_held", "_left", "_trailers", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._held = b""
        self._left = 0
        """Of the present chunk, with its CRLF; 0: a size comes next."""
        self._trailers: int | None = None
        """How large the trailer section is so far; None: it has not begun."""

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The parts of the content, and what is behind its end: empty as long as it is not complete.

        Raises:
            ContentError: a size, a chunk's end, an extension or a trailer is not as it has to be.
        """
        parts: list[bytes] = []
        data = self._held + data if self._held else data
        self._held = b""
        position, end = 0, len(data)
        while position < end and not self.complete:
            if self._left > 2:
                part = data[position : position + self._left - 2]
                parts.append(part)
                position += len(part)
                self._left -= len(part)
            elif self._left:
                if not b"\r\n".startswith(data[position : position + 2]):
                    raise ContentError
                if position + 2 > end:
                    break
                self._left = 0
                position += 2
            else:
                line_end = data.find(b"\n", position) + 1
                if end - position > _LONGEST_LINE and not 0 < line_end <= position + _LONGEST_LINE:
                    raise ContentError
                if line_end == 0:
                    break
                self._line(data[position:line_end])
                position = line_end
        if self.complete:
            return parts, data[position:]
        self._held = data[position:]
        return parts, b""

    def _line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise ContentError
        bare = line[:-2]
        if self._trailers is not None:
            self._trailer(bare)
        elif (found := _SIZE.fullmatch(bare)) is None:
            raise ContentError
        elif size := int(found[1], 16):
            self._left = size + 2
        else:
            self._trailers = 0

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.complete = True
            return
        self._trailers = (self._trailers or 0) + len(line)
        if self._trailers > _LARGEST_TRAILERS or not _TRAILER.fullmatch(line):
            raise ContentError


class UntilClose:
    """Content that lasts until the connection ends."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """All of it."""
        return [data], b""


def as_chunk(data: bytes) -> bytes:
    """The data as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
