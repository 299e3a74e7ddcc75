"""A TLS server that speaks as servers do, alerts included, and counts what it is sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Seen:
    """What it has seen."""

    port: int = 0
    connections: int = 0
    handshakes: int = 0
    application_bytes: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection has ended."""


class _Connection:
    def __init__(self, seen: Seen, context: ssl.SSLContext, *, leaves: bool) -> None:
        self._seen, self._leaves = seen, leaves
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_side=True)
        self._is_open = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._seen.connections += 1
        try:
            goes_on = True
            while goes_on:
                goes_on = self._goes_on()
                writer.write(self._to_send.read())
                data = await reader.read(65536) if goes_on else b""
                goes_on = bool(data)
                self._received.write(data)
        finally:
            writer.close()
            self._seen.over.set()

    def _goes_on(self) -> bool:
        try:
            self._advance()
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:
            return False
        return not self._leaves

    def _advance(self) -> None:
        if not self._is_open:
            self._tls.do_handshake()
            self._is_open = True
            self._seen.handshakes += 1
        while not self._leaves:
            self._seen.application_bytes += len(self._tls.read(65536)) or self._ended()

    def _ended(self) -> int:
        raise ssl.SSLZeroReturnError


@asynccontextmanager
async def tls_upstream(context: ssl.SSLContext, *, leaves: bool = False) -> AsyncIterator[Seen]:
    """Serve handshakes; `leaves`: one that is complete is left at once."""
    seen = Seen()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(seen, context, leaves=leaves).serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        seen.port = server.sockets[0].getsockname()[1]
        yield seen
