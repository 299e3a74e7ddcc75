"""The head of a request: what is let in, by RFC 9112 and RFC 9110, and what is refused, with which answer. Pure.

Stricter than the RFCs allow to be, wherever two readers of a message could understand it differently: nothing is
repaired, nothing is chosen between.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from exporter.proxy.core import Fields
from exporter.proxy.errors import Refusal
from exporter.proxy.headers import HOP_BY_HOP, Read, connection_options, divide, reader_of, tokens, without_nominated

LONGEST_TARGET = 8 * 1024
LONGEST_LINE = LONGEST_TARGET + 64
LARGEST_HEAD = 32 * 1024
MOST_FIELDS = 100

# RFC 9110 section 5.6.2.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9112 section 3.2.1: origin-form, in visible ASCII, and no fragment. No other form asks for what is served here.
_ORIGIN = rb"/[!\"$-~]*"
# RFC 9110 section 5.5, with obs-text; a line ends with CRLF alone, and is not folded (RFC 9112 sections 2.2 and 5.2).
_FIELD = _TOKEN + rb":[\t -~\x80-\xff]*"

_REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/([0-9])\.([0-9])\r\n" % _TOKEN)
_ORIGIN_FORM = re.compile(_ORIGIN)
_FIELD_LINE = re.compile(_FIELD + rb"\r\n")
# RFC 9110 section 7.2: a host, which may be an IPv6 address, and a port; never userinfo.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
# A whole head. Most begin with a plain Host, which then needs no other look.
_PLAIN_HOST = rb"[A-Za-z0-9.-]+(?::(?:[0-9]{1,4}|[1-5][0-9]{4}))?"
_HEAD = re.compile(
    rb"(%b) (%b) HTTP/1\.([01])(?:\r\n[Hh]ost: (%b)(?=\r))?((?:\r\n%b)*)\r\n\r\n"
    % (_TOKEN, _ORIGIN, _PLAIN_HOST, _FIELD)
)
_CODINGS = re.compile(rb"%b(?:[\t ]*,[\t ]*%b)*" % (_TOKEN, _TOKEN))
_LAST_PORT = 65535
_LONGEST_NUMBER = 18
_LENGTH = re.compile(rb"[0-9]+")

# What the proxy reads, or sets itself. X-Forwarded-* is never trusted from outside, never appended to.
_READER = reader_of(HOP_BY_HOP | {b"host", b"content-length", b"expect", b"forwarded", b"x-forwarded-*", b"x-real-ip"})
_PASSED_ON = frozenset({b"content-length", b"expect"})
# RFC 9113 section 3.1 ended h2c; and a tunnel of another HTTP, or of TLS, would go round all that is checked here.
_NO_UPGRADES = (b"h2", b"http", b"tls")


class RefusedError(Exception):
    """The message is not let in."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class RequestHead(NamedTuple):
    """A request whose head is in order."""

    method: str
    target: bytes
    path: bytes
    """The target up to its query."""
    http_1_0: bool
    fields: Fields
    """The end-to-end ones to pass on, less Host and what the proxy says itself."""
    host: bytes
    """As received; empty where HTTP/1.0 has none."""
    length: int | None
    """Of the content; None: chunked."""
    keep_alive: bool
    expects_continue: bool
    upgrade: bytes | None
    """The protocols that it offers to change to."""


class HeadReader:
    """Finds the head of one request in the bytes that have arrived.

    The verdict is about the bytes alone: it is the same however they were cut into segments. Each line is judged when
    it is complete, each limit when it is exceeded, in the order of the bytes.
    """

    def __init__(self) -> None:
        self._looked = 0
        self._line = 0
        self._fields = 0

    def read(self, data: bytes) -> tuple[RequestHead, int] | None:
        """The head, and where it ends in `data`, which is all that has come so far; None: there is more to come.

        Raises:
            RefusedError: it cannot become a head that is let in.
        """
        # RFC 9112 section 2.2: one empty line before a request is ignored.
        start = 2 if data.startswith(b"\r\n") else 0
        end = data.find(b"\r\n\r\n", max(start, self._looked - 3)) + 4
        if start + 4 <= end <= start + LARGEST_HEAD and (found := _HEAD.fullmatch(data, start, end)):
            if found.end(3) + 2 - start > LONGEST_LINE:
                raise RefusedError(Refusal.TARGET_TOO_LONG)
            return _head(found), end
        self._judge(data, start)
        self._looked = len(data)
        return None

    def _judge(self, data: bytes, start: int) -> None:
        line = max(self._line, start)
        while (end := data.find(b"\n", max(line, self._looked)) + 1) > 0:
            _in_limits(end - start, is_first=line == start)
            if line == start:
                _check_request_line(data[line:end])
            elif not _FIELD_LINE.fullmatch(data, line, end):
                raise RefusedError(Refusal.BAD_REQUEST)
            else:
                self._fields += 1
                if self._fields > MOST_FIELDS:
                    raise RefusedError(Refusal.HEAD_TOO_LARGE)
            self._line = line = end
        _in_limits(len(data) - start, is_first=line == start)


def _in_limits(size: int, *, is_first: bool) -> None:
    if is_first and size > LONGEST_LINE:
        raise RefusedError(Refusal.TARGET_TOO_LONG)
    if size > LARGEST_HEAD:
        raise RefusedError(Refusal.HEAD_TOO_LARGE)


def _check_request_line(line: bytes) -> None:
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise RefusedError(Refusal.BAD_REQUEST)
    method, target, major, minor = found.groups()
    if major != b"1" or minor not in {b"0", b"1"}:
        raise RefusedError(Refusal.VERSION_NOT_SUPPORTED)
    _check_method_and_target(method, target)
    if not _ORIGIN_FORM.fullmatch(target):
        raise RefusedError(Refusal.BAD_REQUEST)


def _check_method_and_target(method: bytes, target: bytes) -> None:
    # RFC 9110 section 9.3.6: CONNECT asks for a tunnel, and a gateway makes none; TRACE would show what it has added.
    if method in {b"CONNECT", b"TRACE"}:
        raise RefusedError(Refusal.NOT_IMPLEMENTED)
    if len(target) > LONGEST_TARGET:
        raise RefusedError(Refusal.TARGET_TOO_LONG)


def _head(found: re.Match[bytes]) -> RequestHead:
    method, target, minor, host, received = found.groups()
    _check_method_and_target(method, target)
    if received.count(b"\n") + (host is not None) > MOST_FIELDS:
        raise RefusedError(Refusal.HEAD_TOO_LARGE)
    read, fields = divide(received + b"\r\n", _READER, _PASSED_ON)
    http_1_0 = minor == b"0"
    if host is None:
        host = _host(read.get(b"host"), http_1_0=http_1_0)
    elif b"host" in read:
        raise RefusedError(Refusal.BAD_REQUEST)
    if not read and not http_1_0:
        # Nothing is said but what is to be passed on.
        path = target.partition(b"?")[0]
        return RequestHead(method.decode(), target, path, False, fields, host, 0, True, False, None)
    framed = b"content-length" in read or b"transfer-encoding" in read
    length = _length(read, http_1_0=http_1_0) if framed else 0
    connection = connection_options(read)
    return RequestHead(
        method.decode(),
        target,
        target.partition(b"?")[0],
        http_1_0,
        without_nominated(fields, connection),
        host,
        length,
        not http_1_0 and b"close" not in connection,
        b"expect" in read and not http_1_0 and length != 0 and b"100-continue" in tokens(read[b"expect"]),
        _upgrade(read, connection) if b"upgrade" in read and length == 0 and not http_1_0 else None,
    )


def _host(values: list[bytes] | None, *, http_1_0: bool) -> bytes:
    """RFC 9112 section 3.2: one, and which of two would count is anybody's guess. HTTP/1.0 may have none."""
    if values is None and http_1_0:
        return b""
    if values is None or len(values) != 1 or not _is_host(values[0]):
        raise RefusedError(Refusal.BAD_REQUEST)
    return values[0]


@lru_cache(maxsize=1000)
def _is_host(value: bytes) -> bool:
    found = _HOST.fullmatch(value)
    return found is not None and int(found[1] or 0) <= _LAST_PORT


def _length(read: Read, *, http_1_0: bool) -> int | None:
    """RFC 9112 section 6.3, without its leniencies: two lengths, of whatever kind, are one too many."""
    if (codings := read.get(b"transfer-encoding")) is not None:
        if b"content-length" in read or http_1_0 or len(codings) != 1:
            raise RefusedError(Refusal.BAD_REQUEST)
        if codings[0].lower() != b"chunked":
            known = _CODINGS.fullmatch(codings[0]) is not None
            raise RefusedError(Refusal.NOT_IMPLEMENTED if known else Refusal.BAD_REQUEST)
        return None
    lengths = read[b"content-length"]
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise RefusedError(Refusal.BAD_REQUEST)
    if len(lengths[0]) > _LONGEST_NUMBER:
        raise RefusedError(Refusal.CONTENT_TOO_LARGE)
    return int(lengths[0])


def _upgrade(read: Read, connection: frozenset[bytes]) -> bytes | None:
    """What is offered, if a Connection field says so too, and all of it may be tunnelled (RFC 9110 section 7.8)."""
    offered = b", ".join(read[b"upgrade"])
    refused = any(protocol.startswith(_NO_UPGRADES) for protocol in tokens([offered]))
    return None if refused or b"upgrade" not in connection else offered
