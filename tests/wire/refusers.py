"""Upstreams that do not want our certificate, and say so in the ways that there are."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.authority import Authority, Issued
from tests.haproxy import configured_haproxy
from tests.wire.tls_servers import HELLO
from tests.wire.wires import Wire, length_of

_PART = 64 * 1024

_HAPROXY = """
global
    maxconn 64
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend upstream
    bind fd@%(listening)d ssl crt both.pem ca-file clients.pem verify required ssl-min-ver %(version)s ssl-max-ver %(version)s
    http-request return status 200 content-type text/plain string hello
"""  # noqa: E501 (a line of theirs)


@dataclass
class Refuser:
    """Serves whom its context lets in; `refuse` ends what failed, with the alert that OpenSSL would have sent."""

    tls: ssl.SSLContext
    refuse: Callable[[socket.socket, bytes], None]
    port: int = 0
    received: int = 0
    """Requests that came through TLS."""

    def script(self, wire: Wire) -> None:
        received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.tls.wrap_bio(received, to_send, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                wire.send(to_send.read())
                part = wire.part()
                if not part:
                    return
                received.write(part)
            except ssl.SSLError:
                self.refuse(wire.socket, to_send.read())
                return
            else:
                wire.send(to_send.read())
                self._answer(wire, tls, received, to_send)
                return

    def _answer(self, wire: Wire, tls: ssl.SSLObject, received: ssl.MemoryBIO, to_send: ssl.MemoryBIO) -> None:
        content = b""
        while not _is_whole(content):
            try:
                content += tls.read(_PART)
            except ssl.SSLWantReadError:
                received.write(wire.part())
        self.received += 1
        tls.write(HELLO)
        wire.send(to_send.read())


def _is_whole(content: bytes) -> bool:
    head, end, rest = content.partition(b"\r\n\r\n")
    return bool(end) and (b"content-length" not in head.lower() or len(rest) >= length_of(head + end))


def with_an_alert(connection: socket.socket, alert: bytes) -> None:
    """As it should be."""
    connection.sendall(alert)
    without_an_alert(connection, b"")


def without_an_alert(connection: socket.socket, _alert: bytes) -> None:
    """Only the end; what still comes is read, so that it is no reset."""
    connection.shutdown(socket.SHUT_WR)
    with suppress(OSError):
        while connection.recv(_PART):
            pass


def by_a_reset(connection: socket.socket, _alert: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closing(tls: ssl.SSLContext) -> Callable[[Wire], None]:
    """Takes the certificate and the request, and closes without an answer."""

    def script(wire: Wire) -> None:
        with suppress(OSError), tls.wrap_socket(wire.socket, server_side=True) as protected:
            Wire(protected).head()

    return script


@contextmanager
def haproxy(directory: Path, own: Issued, clients: Authority, version: ssl.TLSVersion) -> Iterator[int]:
    """A real HAProxy that serves this authority's clients over this version; its port."""
    directory.mkdir()
    (directory / "both.pem").write_bytes(own.pem + own.key_pem())
    (directory / "clients.pem").write_bytes(clients.root.pem)
    with configured_haproxy(directory, _HAPROXY, version=version.name.replace("_", ".")) as port:
        yield port
