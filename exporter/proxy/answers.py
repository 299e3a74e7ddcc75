"""The head of a response as it goes to a client, and how its content is framed there. Pure."""

from __future__ import annotations

import http
from enum import Enum

from exporter.proxy.content import as_chunk
from exporter.proxy.core import Fields
from exporter.proxy.errors import Refusal, document
from exporter.proxy.heads import RequestHead

_CLOSE = b"connection: close\r\n"
_WITHOUT_CONTENT = frozenset({204, 304})


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = {status: _status_line(status) for status in range(100, 1000)}


class Framing(Enum):
    """How the end of a response's content is told (RFC 9112 section 6.3)."""

    NONE = "there is no content, whatever the fields say"
    LENGTH = "its length is known"
    CHUNKED = "in chunks"
    CLOSE = "the connection ends: HTTP/1.0"


def response_head(
    request: RequestHead, status: int, fields: Fields, length: int | None, *, close: bool
) -> tuple[bytes, Framing]:
    """A final response's head. `length` is that of the content, and stands among the fields; None: unknown.

    `close`: the connection carries no other request.
    """
    if request.method == "HEAD" or status in _WITHOUT_CONTENT:
        framing = Framing.NONE
    elif length is not None:
        framing = Framing.LENGTH
    else:
        framing = Framing.CLOSE if request.http_1_0 else Framing.CHUNKED
    coding = b"transfer-encoding: chunked\r\n" if framing is Framing.CHUNKED else b""
    ends = _CLOSE if close or framing is Framing.CLOSE else b""
    return b"".join((_STATUS_LINES[status], fields, coding, ends, b"\r\n")), framing


def framed(data: bytes, framing: Framing) -> bytes:
    """A part of a response's content, as it is sent."""
    if framing is Framing.CHUNKED:
        return as_chunk(data)
    return b"" if framing is Framing.NONE else data


def interim_head(status: int, fields: Fields) -> bytes:
    """The head of a response from 100 to 199: all there is of it."""
    return b"".join((_STATUS_LINES[status], fields, b"\r\n"))


def switching_head(protocol: bytes, fields: Fields) -> bytes:
    """101: what follows are bytes of that protocol (RFC 9110 section 15.2.2)."""
    return interim_head(101, b"connection: upgrade\r\nupgrade: %b\r\n%b" % (protocol, fields))


def refusal_message(refusal: Refusal, *, close: bool, with_content: bool = True) -> bytes:
    """A whole answer of our own. `with_content` is false for HEAD."""
    content = document(refusal)
    fields = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(content)
    head = b"".join((_STATUS_LINES[refusal.status], fields, _CLOSE if close else b"", b"\r\n"))
    return head + content if with_content else head
