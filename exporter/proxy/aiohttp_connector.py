"""aiohttp's client as a proxy needs it: nothing added, nothing remembered, and every connection within reach."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from exporter.proxy.dialing import race
from exporter.proxy.presented import Peer, Presented

_CHUNK = 64 * 1024


def session(context: ssl.SSLContext | bool, presented: Presented) -> aiohttp.ClientSession:  # noqa: FBT001
    """A session with a connector of its own; True stands for no context: plain HTTP."""
    connector = Connector(context, presented)
    return aiohttp.ClientSession(
        connector=connector,
        middlewares=(connector.retry_if_stale,),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        read_bufsize=_CHUNK,
        max_line_size=16 * 1024,
        max_field_size=64 * 1024,
    )


class Protocol(ResponseHandler):
    """Ends content that is malformed: the library closes the connection, and lets whoever reads the content wait."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        content = self._payload
        if self.exception() is not None and content is not None and not content.is_eof():
            content.set_exception(aiohttp.ClientPayloadError())
            # Whoever was woken by the end of a chunk that came along with it would wait again, and for ever.
            content.feed_eof()


class RefusedError(aiohttp.ClientConnectionError):
    """The upstream has refused our certificate without a word."""


class Connector(aiohttp.TCPConnector):
    """Knows its connections: all of them, to cut them off, and which request got one that had been used before."""

    def __init__(self, context: ssl.SSLContext | bool, presented: Presented) -> None:  # noqa: FBT001
        super().__init__(limit=0, ssl=context, keepalive_timeout=60)
        made: type[ResponseHandler] = Protocol
        self._factory = partial(made, loop=self._loop)
        self._presented = presented
        self._connections: WeakKeyDictionary[ResponseHandler, Peer] = WeakKeyDictionary()
        self._on_new: WeakKeyDictionary[aiohttp.ClientRequest, Peer] = WeakKeyDictionary()
        self._on_used: WeakSet[aiohttp.ClientRequest] = WeakSet()

    def abort(self) -> None:
        """End every connection now, whatever is still to be sent."""
        for connection in self._connections:
            connection.abort()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (the library's signature)
    ) -> Connection:
        self._on_used.discard(req)
        self._on_new.pop(req, None)
        connection = await super().connect(req, traces, timeout)
        # What has come while nobody had asked would be taken for the answer to this request.
        while (used := connection.protocol) is not None and used in self._connections and used.should_close:
            connection.close()
            connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        if protocol is None:
            return connection
        peer = self._connections.get(protocol)
        if peer is not None:
            self._on_used.add(req)
        else:
            transport = protocol.transport
            peer = self._presented.accepted(transport) if transport is not None else Peer()
            self._connections[protocol] = self._on_new[req] = peer
        if peer.usage is not None:
            peer.usage.requests += 1
        return connection

    async def _wrap_create_connection(
        self, *args: Any, addr_infos: list[Any], req: aiohttp.ClientRequest, **named: Any
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """Dials itself: of several addresses, the library does not tell which one failed verification."""
        # Emptied, for the library would try again what is left.
        found, addr_infos[:] = [*addr_infos], []
        try:
            connected, address = await race(self._loop, found)
        except OSError as exc:
            raise aiohttp.ClientConnectorError(req.connection_key, exc) from exc
        try:
            return await self._wrap_existing_connection(*args, req=req, sock=connected, **named)
        except BaseException as exc:
            connected.close()
            if isinstance(exc, aiohttp.ClientConnectorCertificateError):
                self._presented.failed(address, exc.certificate_error)
            raise

    async def retry_if_stale(
        self, req: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Let the library repeat a request only if its connection may have been closed while it was idle.

        It does so once, for idempotent methods whose body nobody has begun to read: RFC 9110 section 9.2.2.
        """
        try:
            return await handler(req)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
            if isinstance(exc, aiohttp.ClientConnectorError) or (req in self._on_used and not _had_begun(exc)):
                raise
            peer = self._on_new.get(req)
            if peer is not None and not _had_begun(exc) and peer.has_refused():
                raise RefusedError from exc
            raise aiohttp.ClientConnectionError from exc


def _had_begun(exc: Exception) -> bool:
    """Whether a part of the response had arrived."""
    return isinstance(exc, aiohttp.ServerDisconnectedError) and not isinstance(exc.message, str)
