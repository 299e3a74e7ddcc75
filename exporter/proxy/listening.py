"""The proxy's listener: from a bound socket to connections, and back."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from exporter.proxy.exchange import Proxy
from exporter.proxy.front import Front

_BACKLOG = 2048
# For files, timers, the admin listener, and whoever connects while others are being refused.
_OTHER_DESCRIPTORS = 200
_MOST_CONNECTIONS = 20_000


def most_connections() -> int:
    """How many clients the process has descriptors for, with one to an upstream for each."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if most < 0 else max(16, min(_MOST_CONNECTIONS, (most - _OTHER_DESCRIPTORS) // 2))


@asynccontextmanager
async def listening(
    proxy: Proxy, bound: socket.socket, tls: ssl.SSLContext | None, drain_timeout_seconds: float
) -> AsyncIterator[None]:
    """Serve clients on a bound socket; leaving stops listening, drains, and closes."""
    loop = asyncio.get_running_loop()
    # A handshake has the time that a head has.
    more: dict[str, Any] = {"ssl_handshake_timeout": proxy.limits.head, "ssl_shutdown_timeout": proxy.limits.stalled}
    server = await loop.create_server(
        lambda: Front(loop, proxy), sock=bound, ssl=tls, backlog=_BACKLOG, **(more if tls else {})
    )
    try:
        yield
    finally:
        server.close()
        await proxy.drain(drain_timeout_seconds)
