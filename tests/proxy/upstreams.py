"""Upstreams scripted byte for byte, on raw streams: what goes over the wire is seen as it is."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from exporter.certificates.tls import Pair, client_context, server_context
from tests.authority import Authority, Issued

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@dataclass
class Wire:
    """One connection, as the upstream sees it."""

    server: RawUpstream
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        """The next request's line and fields, noted in the server's `heads`; empty if the connection has ended."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            return b""
        self.server.heads.append(head)
        self.server.changed.set()
        return head

    async def take(self, expected: bytes) -> None:
        """Read exactly these bytes."""
        assert await self.reader.readexactly(len(expected)) == expected

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """What still comes until the other end closes or resets."""
        read = bytearray()
        with suppress(OSError):
            while part := await self.reader.read(65536):
                read += part
        return bytes(read)

    def reset(self) -> None:
        """End the connection with a RST."""
        # uvloop's sockets have no setsockopt; the descriptor is the same.
        with socket.socket(fileno=self.writer.get_extra_info("socket").fileno()) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            same.detach()
        self.writer.transport.abort()


Script: TypeAlias = Callable[[Wire], Awaitable[None]]


@dataclass
class RawUpstream:
    """A server and what it has seen."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    """One for each connection; done when it has been closed."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def reached(self, wires: int = 0, heads: int = 0) -> None:
        """Wait until there have been so many connections, and so many requests."""
        while len(self.wires) < wires or len(self.heads) < heads:
            self.changed.clear()
            await self.changed.wait()

    @property
    def request_lines(self) -> list[bytes]:
        return [head.partition(b"\r\n")[0] for head in self.heads]


@asynccontextmanager
async def upstream(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawUpstream]:
    """Serve each connection by `script`, then close it. What a script raises fails the test, and so does what hangs."""
    seen = RawUpstream()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:

        async def serve(wire: Wire) -> None:
            try:
                await script(wire)
            finally:
                wire.writer.close()
                with suppress(OSError):
                    await wire.writer.wait_closed()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            wire = Wire(seen, reader, writer)
            seen.wires.append(wire)
            seen.changed.set()
            seen.tasks.append(group.create_task(serve(wire), name="upstream's connection"))

        server = await asyncio.start_server(
            connected, "127.0.0.1", 0, ssl=tls, ssl_handshake_timeout=10 if tls else None
        )
        seen.port = server.sockets[0].getsockname()[1]
        try:
            yield seen
        finally:
            server.close()
            for task in seen.tasks:
                task.cancel()


def answering(answer: bytes) -> Script:
    """Answers every request, whatever comes, as long as the connection lives. For requests without a body."""

    async def script(wire: Wire) -> None:
        with suppress(OSError):
            while await wire.head():
                await wire.send(answer)

    return script


def saying(answer: bytes) -> Script:
    """Answers one request, and closes."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(answer)

    return script


def refusing(context: ssl.SSLContext) -> Script:
    """Makes a handshake, or tells the other end by an alert why not, as servers do but asyncio's do not."""

    async def script(wire: Wire) -> None:
        received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(received, to_send, server_side=True)
        done = False
        while not done:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                done = True
            await wire.send(to_send.read())
            if not done:
                received.write(await wire.reader.read(65536))

    return script


def in_three_parts(taken: asyncio.Event) -> Script:
    """Sends a response part by part, each when the one before has been taken."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(CHUNKED)
        for _ in range(3):
            await wire.send(b"4\r\npart\r\n")
            await taken.wait()
            taken.clear()
        await wire.send(b"0\r\n\r\n")

    return script


@dataclass
class Keeping:
    """Answers one request with these bytes, and keeps what still comes until the other end closes."""

    answer: bytes = b""
    rest: bytes = b""
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, wire: Wire) -> None:
        await wire.head()
        await wire.send(self.answer)
        self.rest = await wire.rest()
        self.closed.set()


def sized(content: bytes | int) -> bytes:
    """A response with this content, or with so many bytes."""
    content = bytes(content)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


async def endless(wire: Wire) -> None:
    """Sends for as long as the other end is there."""
    await wire.head()
    with suppress(OSError):
        await wire.send(CHUNKED)
        while True:
            await wire.send(b"10000\r\n" + bytes(2**16) + b"\r\n")


def unread(writer: asyncio.StreamWriter, *, again: bool = False) -> None:
    """Do not look at what the other end sends; or do so again."""
    # The same object reads and writes.
    transport = cast("asyncio.Transport", writer.transport)
    transport.resume_reading() if again else transport.pause_reading()


async def silent(wire: Wire) -> None:
    """Reads, and never answers."""
    await wire.rest()


@asynccontextmanager
async def unaccepting() -> AsyncIterator[int]:
    """A port whose queue is full: a connection to it neither succeeds nor fails."""
    with socket.socket() as listening, socket.socket() as one, socket.socket() as two:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for client in (one, two):
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(listening.getsockname())
        yield listening.getsockname()[1]


def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def server_tls(
    issued: Issued, clients: Authority | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """A server's context; with `clients` it demands a certificate of that authority."""
    context = server_context(Pair(issued.pem, issued.key_pem(), b""))
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.root.der)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def client_tls(authority: Authority, own: Issued | None = None) -> Callable[[], ssl.SSLContext]:
    """What makes a plan's context: trusts `authority`, presents `own`."""
    pair = Pair(own.pem, own.key_pem(), b"") if own else None
    return lambda: client_context(pair, authority.root.pem)


def without_names(authority: Authority, common_name: str) -> Issued:
    """A certificate of `authority` that has a common name and no SAN."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]))
        .issuer_name(authority.root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(authority.now - timedelta(days=1))
        .not_valid_after(authority.now + timedelta(days=1))
    )
    return Issued(builder.sign(authority.root.key, hashes.SHA256()), key)
