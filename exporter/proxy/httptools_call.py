"""One call of the fast core, from the pool that has it to the connection that carries it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from exporter.proxy.core import Failure, Responder, UpstreamRequest
from exporter.proxy.httptools_connection import Connection

_MOST_HELD = 64 * 1024
# RFC 9110 section 9.2.2.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class CallPool(Protocol):
    """Where a call belongs to."""

    calls: set[HttptoolsCall]
    """Those that are under way."""

    def connect(self, call: HttptoolsCall) -> None:
        """Have the call use a new connection, when there is one."""


class HttptoolsCall:
    """One request. It outlives a connection only to be sent once more."""

    __slots__ = (
        "_connection",
        "_held",
        "_is_complete",
        "_is_over",
        "_is_paused",
        "_pool",
        "_repeated",
        "connecting",
        "request",
        "responder",
    )

    def __init__(self, pool: CallPool, request: UpstreamRequest, responder: Responder) -> None:
        self.request = request
        self.responder = responder
        self.connecting: asyncio.Task[None] | None = None
        self._pool = pool
        self._connection: Connection | None = None
        self._held: list[bytes] = []
        """Content that waits for a connection."""
        self._is_complete = False
        self._is_over = False
        self._is_paused = False
        self._repeated = False

    def use(self, connection: Connection) -> None:
        """Send the request on this connection."""
        self.connecting = None
        if connection.transport.is_closing():
            self.failed(Failure.CLOSED)
            return
        self._connection = connection
        connection.serve(self)
        if self._is_paused:
            connection.pause()
        for data in self._held:
            connection.send(data)
        if self._held:
            self._held = []
            self.responder.resume()
        if self._is_complete:
            connection.end()

    # What the client's side tells.

    def send(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.send(data)
        elif not self._is_over:
            self._held.append(data)
            if sum(map(len, self._held)) > _MOST_HELD:
                self.responder.pause()

    def end(self) -> None:
        self._is_complete = True
        if self._connection is not None:
            self._connection.end()

    def pause(self) -> None:
        self._is_paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        self._is_paused = False
        if self._connection is not None:
            self._connection.resume()

    def cancel(self) -> None:
        if self._is_over:
            return
        connection = self._connection
        self._finish()
        if connection is not None:
            connection.release()
        if self.connecting is not None:
            self.connecting.cancel()

    # What the connection and the pool tell.

    def completed(self) -> None:
        self._is_over = True
        self._connection = None
        self._pool.calls.discard(self)
        self.responder.ended()

    def failed(self, failure: Failure) -> None:
        if not self._is_over:
            self._finish()
            self.responder.failed(failure)

    def cut_off(self) -> None:
        """The upstream is no longer served."""
        self.cancel()
        self.responder.failed(Failure.CLOSED)

    def lost(self) -> bool:
        """A connection that had been idle ended before any sign of a response: it may have been closed before.

        Once more, if that can do no harm (RFC 9110 section 9.2.2) and no content has gone.
        """
        if self._repeated or self.request.length != 0 or self.request.method not in _IDEMPOTENT:
            return False
        self._repeated = True
        self._connection = None
        self._pool.connect(self)
        return True

    def _finish(self) -> None:
        self._is_over = True
        self._connection = None
        self._held = []
        self._pool.calls.discard(self)
