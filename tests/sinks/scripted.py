"""A real receiver of webhooks that answers each connection by the next line of its script, and counts."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

MIB = 1024 * 1024


@dataclass(frozen=True)
class Got:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass
class Scripted:
    """What a receiver does, and what it has seen. The last line of the script is repeated."""

    script: Sequence[Line]
    port: int = 0
    connections: int = 0
    got: list[Got] = field(default_factory=list)
    sent: int = 0
    """Bytes of content that were taken, by the last connection of those that send much."""
    names: list[str | None] = field(default_factory=list)
    """That clients asked for in TLS."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/", *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = self.script[min(self.connections, len(self.script) - 1)]
        self.connections += 1
        try:
            request = await _request(reader)
            if request is not None:
                self.got.append(request)
                await line(self, writer)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()


Line: TypeAlias = Callable[[Scripted, asyncio.StreamWriter], Awaitable[None]]


async def _request(reader: asyncio.StreamReader) -> Got | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    method, target, _ = first.split(" ")
    return Got(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def status(code: int, *fields: str, content: bytes = b"x") -> Line:
    """An ordinary response."""

    async def line(_receiver: Scripted, writer: asyncio.StreamWriter) -> None:
        head = "\r\n".join([f"HTTP/1.1 {code} Whatever", *fields, f"Content-Length: {len(content)}", "", ""])
        writer.write(head.encode() + content)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return line


def says(data: bytes, *, reset: bool = False) -> Line:
    """Just these bytes, and then the end, or a reset."""

    async def line(_receiver: Scripted, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if reset:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            writer.close()
            await writer.wait_closed()

    return line


async def hang(receiver: Scripted, _writer: asyncio.StreamWriter) -> None:
    """No answer."""
    await receiver.over.wait()


def drip(first: bytes, each: bytes) -> Line:
    """A beginning, and a little more every few milliseconds, without an end."""

    async def line(receiver: Scripted, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not receiver.over.is_set():
            writer.write(each)
            await writer.drain()
            try:
                async with asyncio.timeout(0.01):
                    await receiver.over.wait()
            except TimeoutError:
                continue

    return line


def much(code: int, length: int = 5 * MIB) -> Line:
    """A long content."""

    async def line(receiver: Scripted, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {code} Much\r\nContent-Length: {length}\r\n\r\n".encode())
        receiver.sent = 0
        while receiver.sent < length:
            writer.write(bytes(64 * 1024))
            await writer.drain()
            receiver.sent += 64 * 1024

    return line


@asynccontextmanager
async def scripted(
    *script: Line, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Scripted]:
    """Serve on loopback; leaving ends every connection."""
    receiver = Scripted(script or [status(200)])
    if tls is not None:
        tls.sni_callback = lambda _tls, name, _context: receiver.names.append(name)
    async with asyncio.TaskGroup() as group:

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            group.create_task(receiver.serve(reader, writer))

        server = await asyncio.start_server(connected, host, 0, ssl=tls)
        receiver.port = server.sockets[0].getsockname()[1]
        try:
            yield receiver
        finally:
            receiver.over.set()
            server.close()
            await server.wait_closed()
