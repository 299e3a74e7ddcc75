"""TLS servers that present what they are told to, and count what they are told."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.authority import Authority, Issued
from tests.wire.wires import Wire, length_of, serving

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"


@dataclass
class TlsServer:
    """Answers one request a connection, so that each has a handshake of its own."""

    tls: ssl.SSLContext
    """Of the connections that come."""
    port: int = 0
    connections: int = 0
    handshakes: int = 0
    """Those that succeeded."""
    received: bytearray = field(default_factory=bytearray)
    """Every byte that came through TLS."""

    def script(self, wire: Wire) -> None:
        self.connections += 1
        with suppress(OSError), self.tls.wrap_socket(wire.socket, server_side=True) as protected:
            self.handshakes += 1
            self._answer(_Counting(protected, self.received))

    def _answer(self, wire: Wire) -> None:
        if head := wire.head():
            wire.exactly(length_of(head) if b"content-length" in head.lower() else 0)
            wire.send(HELLO)


class _Counting(Wire):
    """Keeps every byte that it has read."""

    def __init__(self, connection: ssl.SSLSocket, received: bytearray) -> None:
        super().__init__(connection)
        self._received = received

    def head(self) -> bytes:
        head = super().head()
        self._received += head + self._ahead
        return head


@contextmanager
def presenting(leaf: Issued, *issuers: Issued) -> Iterator[TlsServer]:
    """A server with this chain. To be left when its clients have left."""
    server = TlsServer(context(leaf, *issuers))
    with serving(server.script) as server.port:
        yield server


def context(
    leaf: Issued, *issuers: Issued, clients: Authority | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """A server's, with OpenSSL's defaults; with `clients` it demands a certificate of that authority."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as name:
        certificate, key = leaf.write(Path(name), "leaf")
        with (Path(name) / certificate).open("ab") as file:
            file.writelines(each.pem for each in issuers)
        made.load_cert_chain(Path(name) / certificate, Path(name) / key)
    if clients is not None:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(cadata=clients.root.pem.decode())
    if version is not None:
        made.minimum_version = made.maximum_version = version
    return made
