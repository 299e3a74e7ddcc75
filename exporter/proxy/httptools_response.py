"""The head of an upstream's response, read by httptools, and what is refused though that library lets it pass.

A parser is made for each head and fed nothing but that head: what a persistent one does with HEAD, with interim
responses, with trailers and with surplus bytes cannot happen.
"""

from __future__ import annotations

from typing import NamedTuple

import httptools

from exporter.proxy.content import Chunked, Sized, UntilClose
from exporter.proxy.core import Fields
from exporter.proxy.headers import HOP_BY_HOP, connection_options, divide, reader_of, tokens, without_nominated

LARGEST_HEAD = 64 * 1024
_LONGEST_NUMBER = 18

_READER = reader_of(HOP_BY_HOP | {b"content-length"})
_KEEP_ALIVE = b"\r\nConnection: keep-alive\r\n"
_LENGTH = frozenset({b"content-length"})
_NONE: frozenset[bytes] = frozenset()
# RFC 9110 section 5.5: CR, LF and NUL are invalid; other controls (but HTAB) no client is to be sent either.
_ALLOWED = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F), *range(0x80, 0x100)])
_NO_CONTENT = frozenset({204, 304})


class BadResponseError(Exception):
    """It cannot be passed on."""


class ResponseHead(NamedTuple):
    """A response whose head is in order."""

    status: int
    fields: Fields
    """The end-to-end ones."""
    length: int | None
    """As a Content-Length field says; None: there is none."""
    has_content: bool
    chunked: bool
    keep_alive: bool
    protocols: frozenset[bytes]
    """Of the Upgrade field, in lower case."""

    def content(self) -> Sized | Chunked | UntilClose:
        """What finds the end of the content."""
        if self.chunked:
            return Chunked()
        return UntilClose() if self.length is None else Sized(self.length)


class ResponseReader:
    """Finds one response's head in what an upstream sends."""

    __slots__ = ("_complete", "_fed", "_held", "_method", "_parser")

    # What httptools looks for when a parser is made, and would otherwise look for in vain.
    on_message_begin = on_url = on_status = on_header = on_body = on_message_complete = None
    on_chunk_header = on_chunk_complete = None

    def __init__(self, method: str) -> None:
        self._method = method
        self._complete = False
        self._held = b""
        self._fed = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """The head, and what has come behind it; None: there is more to come.

        Raises:
            BadResponseError: it is malformed, ambiguous, or too large.
        """
        if self._held:
            data = self._held + data
        end = data.find(b"\r\n\r\n", max(0, self._fed - 3)) + 4
        head = data[:end] if end > 3 else data
        if len(head) > LARGEST_HEAD or head.translate(None, _ALLOWED):
            raise BadResponseError
        try:
            self._parser.feed_data(head[self._fed :])
        except httptools.HttpParserUpgrade:
            # 101: there is nothing behind a head here.
            pass
        except httptools.HttpParserError:
            raise BadResponseError from None
        if end <= 3:
            self._held, self._fed = data, len(data)
            return None
        # For httptools, empty lines may come first, and the version may be 0.9 or 2.0.
        if not self._complete or not head.startswith(b"HTTP/1."):
            raise BadResponseError
        return self._head(head), data[end:]

    def on_headers_complete(self) -> None:
        """The head has ended, for httptools."""
        self._complete = True

    def _head(self, head: bytes) -> ResponseHead:
        status = self._parser.get_status_code()
        # RFC 9110 section 8.6: an interim response and a 204 have no length.
        received = head[head.index(b"\r") : -2]
        http_1_0 = head.startswith(b"HTTP/1.0")
        if not http_1_0:
            # Says nothing: HTTP/1.1 does so anyway.
            received = received.replace(_KEEP_ALIVE, b"\r\n")
        read, fields = divide(received, _READER, _NONE if status < 200 or status == 204 else _LENGTH)
        # RFC 9110 section 15: beyond 599 is invalid, and for the client to take as 5xx.
        if not 100 <= status <= 999:
            raise BadResponseError
        length = _length(read[b"content-length"]) if b"content-length" in read else None
        chunked = b"transfer-encoding" in read
        # A coding but chunked would have to be decoded, for its name is not passed on (RFC 9112 section 7).
        if chunked:
            codings = [coding.lower() for coding in read[b"transfer-encoding"]]
            if length is not None or http_1_0 or codings != [b"chunked"]:
                raise BadResponseError
        connection = connection_options(read)
        return ResponseHead(
            status,
            without_nominated(fields, connection),
            length,
            # RFC 9112 section 6.3.
            status >= 200 and status not in _NO_CONTENT and self._method != "HEAD" and length != 0,
            chunked,
            b"keep-alive" in connection if http_1_0 else b"close" not in connection,
            tokens(read[b"upgrade"]) if b"upgrade" in read else _NONE,
        )


def _length(values: list[bytes]) -> int:
    if len(values) != 1 or not values[0].isdigit() or len(values[0]) > _LONGEST_NUMBER:
        raise BadResponseError
    return int(values[0])
