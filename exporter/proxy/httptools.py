"""The fast proxy core: connections of our own on the event loop's transports, no task for a request.

A task is there only to connect. A request on a connection that is open already is written where it arrives, and its
response is passed on from where that is read.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection
from typing import Any

from exporter.certcheck.ports import Observer
from exporter.proxy.core import Call, Failure, Responder, Upstream, UpstreamError, UpstreamRequest
from exporter.proxy.dialing import dial
from exporter.proxy.httptools_call import HttptoolsCall
from exporter.proxy.httptools_connection import Connection
from exporter.proxy.presented import Presented
from exporter.proxy.tls_failures import failure_of_connecting

log = logging.getLogger(__name__)

MOST_IN_FLIGHT = 1000
"""Requests one upstream carries at a time; one more is answered 503 `overloaded`."""

IDLE_SECONDS = 50.0
"""How long a connection is kept that nobody uses: less than the 60 s after which many servers close it."""

_LOOK_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
_BUFFER = 256 * 1024


class HttptoolsCore:
    """One pool for each upstream."""

    def __init__(self, observer: Observer) -> None:
        self._observe = observer
        self._pools: dict[Upstream, _Pool] = {}
        self._buffer = memoryview(bytearray(_BUFFER))
        self._tasks: asyncio.TaskGroup | None = None
        self._look: asyncio.TimerHandle | None = None

    async def apply(self, upstreams: Collection[Upstream]) -> None:
        gone = [self._pools.pop(upstream) for upstream in self._pools.keys() - set(upstreams)]
        if self._tasks is None:
            # Entered here and left by `close()`: the tasks that connect are the core's, and it awaits them.
            self._tasks = await asyncio.TaskGroup().__aenter__()
            self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._close_unused)
        for upstream in upstreams:
            if upstream not in self._pools:
                self._pools[upstream] = _Pool(upstream, Presented(upstream, self._observe), self._tasks, self._buffer)
        for pool in gone:
            pool.close()
        for pool in gone:
            await pool.closed()

    async def close(self) -> None:
        await self.apply(())
        if self._tasks is not None and self._look is not None:
            self._look.cancel()
            await self._tasks.__aexit__(None, None, None)
            self._tasks = None

    def call(self, upstream: Upstream, request: UpstreamRequest, responder: Responder) -> Call:
        if upstream.observation is not None:
            self._observe(upstream.observation)
        pool = self._pools.get(upstream)
        if pool is None:
            raise UpstreamError(Failure.OVERLOADED)
        return pool.call(request, responder)

    def _close_unused(self) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(_LOOK_SECONDS, self._close_unused)
        for pool in self._pools.values():
            pool.close_unused(loop.time() - IDLE_SECONDS)


class _Pool:
    """The connections of one upstream: nobody else's request ever goes over them."""

    def __init__(self, upstream: Upstream, presented: Presented, tasks: asyncio.TaskGroup, buffer: memoryview) -> None:
        self._upstream = upstream
        self._presented = presented
        self._tasks = tasks
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._context: ssl.SSLContext | None = None
        self._making = asyncio.Lock()
        self.calls: set[HttptoolsCall] = set()
        self._idle: dict[Connection, None] = {}
        """The one that was used last is at the end, and is used first: the others may become too old."""
        self._connections: set[Connection] = set()
        self._closed = False
        self._empty = asyncio.Event()

    def call(self, request: UpstreamRequest, responder: Responder) -> HttptoolsCall:
        if len(self.calls) >= MOST_IN_FLIGHT:
            raise UpstreamError(Failure.OVERLOADED)
        call = HttptoolsCall(self, request, responder)
        self.calls.add(call)
        while self._idle:
            connection, _ = self._idle.popitem()
            if not connection.transport.is_closing():
                call.use(connection)
                return call
        self.connect(call)
        return call

    def connect(self, call: HttptoolsCall) -> None:
        """Give the call a connection of its own, as soon as there is one."""
        call.connecting = self._tasks.create_task(self._connect(call), name=f"connect {self._upstream.api_id}")

    def close_unused(self, since: float) -> None:
        """Close what nobody has used since then, by the loop's clock."""
        for connection in [each for each in self._idle if each.idle_since < since]:
            del self._idle[connection]
            connection.transport.close()

    def close(self) -> None:
        """Cut off what is being carried."""
        self._closed = True
        for call in list(self.calls):
            call.cut_off()
        for connection in self._connections:
            connection.transport.abort()

    async def closed(self) -> None:
        """Wait until no connection is left."""
        while self._connections:
            self._empty.clear()
            await self._empty.wait()

    # What connections tell.

    def made(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self._closed:
            connection.transport.abort()

    def idle(self, connection: Connection) -> None:
        connection.idle_since = self._loop.time()
        self._idle[connection] = None

    def gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        if not self._connections:
            self._empty.set()

    async def _connect(self, call: HttptoolsCall) -> None:
        try:
            async with asyncio.timeout(self._upstream.timeout_seconds):
                connection = await self._open()
        except (OSError, ValueError) as exc:
            call.failed(failure_of_connecting(exc))
        except UpstreamError as exc:
            call.failed(exc.failure)
        except Exception:  # a bug here must not end the group, and with it every other call
            log.exception("connecting failed")
            call.failed(Failure.UNREACHABLE)
        else:
            call.use(connection)

    async def _open(self) -> Connection:
        target, seconds = self._upstream.target, self._upstream.timeout_seconds
        more: dict[str, Any] = {}
        if self._upstream.tls is not None:
            more = {
                "ssl": await self._tls(self._upstream.tls),
                "server_hostname": target.host,
                # The bound is our own, and comes first.
                "ssl_handshake_timeout": seconds + 1,
                "ssl_shutdown_timeout": _GOODBYE_SECONDS,
            }
        socket, address = await dial(self._loop, target.host, target.port)
        connection = Connection(self, self._loop, seconds, self._buffer)
        try:
            await self._loop.create_connection(lambda: connection, sock=socket, **more)
        except BaseException as exc:
            # Given up between being made and being told so, uvloop forgets to say that it is lost.
            self.gone(connection)
            socket.close()
            if isinstance(exc, ssl.SSLCertVerificationError):
                self._presented.failed(address, exc)
            if isinstance(exc, OSError) and more:
                raise UpstreamError(failure_of_connecting(exc, self._upstream.certificate)) from exc
            raise
        connection.peer = self._presented.accepted(connection.transport)
        return connection

    async def _tls(self, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        # The first request makes it, however many come at once.
        async with self._making:
            if self._context is None:
                try:
                    self._context = await asyncio.to_thread(make)
                except (OSError, ValueError) as exc:
                    raise UpstreamError(Failure.CERTIFICATE_UNUSABLE) from exc
            return self._context
