"""Listening sockets and the servers on them."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable

import uvicorn
from starlette.types import ASGIApp

from exporter.target import in_url

_BACKLOG = 2048


def bind(listen: str) -> socket.socket:
    """A bound socket for `ADDRESS:PORT`; port 0 is a free one.

    Raises:
        OSError: the address is taken, or not ours.
    """
    host, _, port = listen.rpartition(":")
    address = host.strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address, int(port)))
    except OSError:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket, *, tls: bool) -> str:
    """Where a bound socket can be reached."""
    host, port = bound.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{in_url(host)}:{port}"


class ListenerTls:
    """The TLS of a listener, whose context can be exchanged while connections are served.

    `on_handshake` is called for each ClientHello: the certificate is in use.
    """

    def __init__(self, on_handshake: Callable[[], None]) -> None:
        self._on_handshake = on_handshake
        self._current: ssl.SSLContext | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Runs without SNI, too; what it sets serves this handshake.
        self.context.sni_callback = self._choose

    def use(self, context: ssl.SSLContext) -> None:
        """Serve new connections with this context. It is complete: a live one is never changed."""
        self._current = context
        # What the first context says of versions and of client certificates is settled before the callback runs.
        self.context.minimum_version = context.minimum_version
        self.context.verify_mode = context.verify_mode

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _initial: ssl.SSLContext) -> None:
        if self._current is not None:
            connection.context = self._current
        self._on_handshake()


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, bound: socket.socket, tls: ssl.SSLContext | None, drain_timeout_seconds: float
) -> AsyncIterator[None]:
    """Serve `app` on a bound socket; leaving stops listening, drains, and closes."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(drain_timeout_seconds)),
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )
    config.load()
    # Not `serve()`: that takes the process's signals, and is a task to own for what only sets a Date field.
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([bound])
    try:
        yield
    finally:
        await server.shutdown([bound])
