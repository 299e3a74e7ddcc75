"""Listening sockets and the servers on them."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

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
