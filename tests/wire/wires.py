"""Blocking sockets and threads: clients and upstreams that see each byte, and take their time when told to."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from threading import Event
from typing import TypeAlias
from urllib.parse import urlsplit

PATIENCE_SECONDS = 20.0
STALLED_SECONDS = 0.5
"""When nothing has been taken for so long, the other end is holding back."""

_PART = 64 * 1024
# Content whose every part differs from where it would be had something been lost, repeated or swapped: no piece that
# is read or written, and no power of two, is a divisor of the period.
_PERIOD = 1_000_003
_CONTENT = Random(_PERIOD).randbytes(_PERIOD) * 2


@dataclass(frozen=True)
class Response:
    """One that was read whole."""

    status: int
    content: bytes


class Wire:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._ahead = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self) -> bytes:
        """A line and its fields; empty if the connection has ended."""
        while b"\r\n\r\n" not in self._ahead:
            try:
                part = self.socket.recv(_PART)
            except ConnectionError:
                part = b""
            if not part:
                return b""
            self._ahead += part
        head, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def part(self) -> bytes:
        """What comes next, however much that is; empty at the end."""
        part, self._ahead = self._ahead or self.socket.recv(_PART), b""
        return part

    def exactly(self, length: int) -> bytes:
        while len(self._ahead) < length:
            part = self.socket.recv(_PART)
            assert part, "the connection has ended within content"
            self._ahead += part
        content, self._ahead = self._ahead[:length], self._ahead[length:]
        return content

    def response(self) -> Response:
        """A whole response that has a Content-Length."""
        head = self.head()
        return Response(int(head.split()[1]), self.exactly(length_of(head)))

    def ask(self, path: str) -> Response:
        """Send a request, and read its response."""
        self.send(request(path))
        return self.response()

    def pour(self, total: int, stalled: Event) -> None:
        """Send content; tells when the other end has not taken any for a while, and goes on when it does."""
        self.socket.setblocking(False)
        sent = 0
        while sent < total:
            try:
                sent += self.socket.send(_content(sent, min(_PART, total - sent)))
            except (BlockingIOError, ssl.SSLWantWriteError):
                if not self._is_writable(STALLED_SECONDS):
                    stalled.set()
                    assert self._is_writable(PATIENCE_SECONDS), "the other end has stalled for good"
        self.socket.settimeout(PATIENCE_SECONDS)

    def take(self, total: int) -> None:
        """Read content that was poured; all of it, and as it was."""
        taken = 0
        while taken < total:
            part = self.part()
            assert part, f"the connection has ended after {taken} bytes"
            assert part == _content(taken, len(part)), f"not what was sent, between {taken} and {taken + len(part)}"
            taken += len(part)

    def _is_writable(self, seconds: float) -> bool:
        return bool(select.select([], [self.socket], [], seconds)[1])


def request(path: str, *fields: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: gateway.example", *fields, "", ""]
    return "\r\n".join(lines).encode()


def answer(content: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(content), content)


def length_of(head: bytes) -> int:
    """The value of Content-Length."""
    return int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])


@contextmanager
def connected(url: str, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    """A client's connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE_SECONDS) as plain:
        if tls is None:
            yield Wire(plain)
        else:
            with tls.wrap_socket(plain, server_hostname=parts.hostname) as protected:
                yield Wire(protected)


Script: TypeAlias = Callable[[Wire], None]


@contextmanager
def serving(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """An upstream that serves each connection by a script, in a thread; its port. What a script raises is raised.

    To be left when its clients have left.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(64) as threads:
        served: list[Future[None]] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    served.append(threads.submit(_serve, script, listening.accept()[0], tls))

        accepting = threads.submit(accept)
        try:
            yield listening.getsockname()[1]
        finally:
            # Which close() alone does not: a thread that waits in accept() would wait on.
            listening.shutdown(socket.SHUT_RDWR)
        accepting.result(PATIENCE_SECONDS)
        for each in served:
            each.result(PATIENCE_SECONDS)


def _serve(script: Script, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
    connection.settimeout(PATIENCE_SECONDS)
    with tls.wrap_socket(connection, server_side=True) if tls else connection as wrapped:
        script(Wire(wrapped))


def _content(at: int, length: int) -> bytes:
    begin = at % _PERIOD
    return _CONTENT[begin : begin + length]
