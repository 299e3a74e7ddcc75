"""A proxy core on aiohttp's client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from exporter.certcheck.ports import Observer
from exporter.proxy.aiohttp_connector import Connector, session
from exporter.proxy.aiohttp_failures import failure_of, is_malformed
from exporter.proxy.core import Call, Failure, Fields, Responder, Upstream, UpstreamError, UpstreamRequest
from exporter.proxy.headers import HOP_BY_HOP, lines, split, tokens, without_nominated
from exporter.proxy.presented import Presented
from exporter.proxy.task_call import Response, TaskCall
from exporter.target import in_url

MOST_IN_FLIGHT = 1000
"""Requests one upstream carries at a time; one more is answered 503 `overloaded`."""


class AiohttpCore:
    """One `aiohttp.ClientSession` per upstream: what is remembered for one API is never used for another."""

    def __init__(self, observer: Observer) -> None:
        self._observe = observer
        self._pools: dict[Upstream, _Pool] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def apply(self, upstreams: Collection[Upstream]) -> None:
        gone = [self._pools.pop(upstream) for upstream in self._pools.keys() - set(upstreams)]
        if self._tasks is None:
            # Entered here and left by `close()`: the calls' tasks are the core's, and it awaits them.
            self._tasks = await asyncio.TaskGroup().__aenter__()
        for upstream in upstreams:
            if upstream not in self._pools:
                self._pools[upstream] = _Pool(upstream, Presented(upstream, self._observe))
        for pool in gone:
            await pool.close()

    async def close(self) -> None:
        await self.apply(())
        if self._tasks is not None:
            await self._tasks.__aexit__(None, None, None)
            self._tasks = None

    def call(self, upstream: Upstream, request: UpstreamRequest, responder: Responder) -> Call:
        if upstream.observation is not None:
            self._observe(upstream.observation)
        pool = self._pools.get(upstream)
        if pool is None or self._tasks is None or pool.in_flight >= MOST_IN_FLIGHT:
            raise UpstreamError(Failure.OVERLOADED)
        call = TaskCall(request, responder)
        call.start(self._tasks, pool.send(request, call))
        return call


class _Pool:
    """The connections of one upstream. Opened by its first request."""

    def __init__(self, upstream: Upstream, presented: Presented) -> None:
        self.in_flight = 0
        self._upstream = upstream
        self._presented = presented
        self._opening = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._unanswered: set[asyncio.Timeout] = set()
        self._answered = asyncio.Event()
        self._responses: set[aiohttp.ClientResponse] = set()

    async def close(self) -> None:
        """Cut off what is being carried, and wait until no connection is left, nor one being made."""
        self._closed = True
        for deadline in self._unanswered:
            if not deadline.expired():
                deadline.reschedule(0)
        for response in self._responses:
            response.close()
        if self._session is not None:
            assert isinstance(self._session.connector, Connector)
            self._session.connector.abort()
            await self._session.close()
        if self._unanswered:
            self._answered.clear()
            await self._answered.wait()

    @asynccontextmanager
    async def send(self, request: UpstreamRequest, call: TaskCall) -> AsyncIterator[Response]:
        self.in_flight += 1
        upload = None if request.length == 0 else _Upload(call.content(), self._upstream.timeout_seconds)
        try:
            response = await self._answer(request, upload)
            self._responses.add(response)
            try:
                yield _Response(response)
            finally:
                self._responses.discard(response)
                # A response that was read to its end has given its connection back; any other is cut off.
                response.close()
        finally:
            self.in_flight -= 1

    async def _answer(self, request: UpstreamRequest, upload: _Upload | None) -> aiohttp.ClientResponse:
        """Send, and wait for the header section."""
        target = self._upstream.target
        # All of it is the path: of a query that is empty, the library would send nothing.
        path = request.target.decode()
        url = URL.build(scheme=target.scheme, host=in_url(target.host), port=target.port, path=path, encoded=True)
        # The library keeps of two names that differ in case alone the second only.
        headers = CIMultiDict((name.lower().decode("latin-1"), _text(value)) for name, value in split(request.fields))
        try:
            async with self._in_time(upload):
                session = self._session or await self._open()
                body = None if upload is None else upload.parts()
                response = await session.request(
                    _Method(request.method), url, headers=headers, data=body, allow_redirects=False
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise UpstreamError(
                Failure.CLOSED if self._closed else failure_of(exc, self._upstream.certificate)
            ) from exc
        if self._closed or is_malformed(response):
            response.close()
            # Closed in the very moment in which it arrived.
            raise UpstreamError(Failure.CLOSED if self._closed else Failure.BAD_RESPONSE)
        return response

    @asynccontextmanager
    async def _in_time(self, upload: _Upload | None) -> AsyncIterator[None]:
        """Bound the wait for a response; closing ends it."""
        try:
            async with asyncio.timeout(self._upstream.timeout_seconds) as deadline:
                self._unanswered.add(deadline)
                if upload is not None:
                    upload.deadline = deadline
                yield
        finally:
            if upload is not None:
                upload.deadline = None
            self._unanswered.discard(deadline)
            if not self._unanswered:
                self._answered.set()

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                context = await _context(self._upstream)
                # Closed in the very moment in which the context was made, too late to be cancelled.
                if self._closed:
                    raise UpstreamError(Failure.CLOSED)
                self._session = session(context, self._presented)
        return self._session


class _Method(str):
    """Not made upper case: RFC 9110 section 9.1 has methods as case-sensitive."""

    __slots__ = ()

    def upper(self) -> str:
        return self


class _Upload:
    """A request's body on its way."""

    def __init__(self, body: AsyncIterator[bytes], seconds: float) -> None:
        self.deadline: asyncio.Timeout | None = None
        """For the response; None once it is there."""
        self._body = body
        self._seconds = seconds

    async def parts(self) -> AsyncIterator[bytes]:
        # The library sends the head with the first part; an upstream may want to answer before there is one.
        yield b""
        self._allow(None)
        async for part in self._body:
            self._allow(self._seconds)
            yield part
            self._allow(None)
        self._allow(self._seconds)

    def _allow(self, seconds: float | None) -> None:
        """Give the upstream its time from now; None: as long as the next part is awaited, which is not its fault."""
        if self.deadline is not None and not self.deadline.expired():
            self.deadline.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)


async def _context(upstream: Upstream) -> ssl.SSLContext | bool:
    if upstream.tls is None:
        return True
    try:
        return await asyncio.to_thread(upstream.tls)
    except (OSError, ValueError) as exc:
        raise UpstreamError(Failure.CERTIFICATE_UNUSABLE) from exc


def _text(value: bytes) -> str:
    """A field's value for the library, which sends text in UTF-8: other bytes beyond ASCII do not survive it."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class _Response:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        # Gone from the response when its content is complete.
        self._protocol = response.connection.protocol if response.connection else None
        self.status = response.status
        self.fields = _end_to_end(response.status, response.raw_headers)
        self.length = response.content_length

    async def body(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
            if self._response.content.exception() is not None or self._ended_by_error():
                raise UpstreamError(Failure.CLOSED)
        except (aiohttp.ClientError, OSError) as exc:
            raise UpstreamError(Failure.CLOSED) from exc

    def _ended_by_error(self) -> bool:
        """Whether content that lasts until the end was cut off: the library takes any end for a good one."""
        framed = "content-length" in self._response.headers or "transfer-encoding" in self._response.headers
        return not framed and self._protocol is not None and isinstance(self._protocol.exception(), OSError)


def _end_to_end(status: int, received: Iterable[tuple[bytes, bytes]]) -> Fields:
    fields = [(name, name.lower(), value) for name, value in received]
    connection = tokens(value for _, lower, value in fields if lower == b"connection")
    # RFC 9110 section 8.6: a 204 has no length.
    dropped = HOP_BY_HOP | {b"content-length"} if status == 204 else HOP_BY_HOP
    return without_nominated(lines((name, value) for name, lower, value in fields if lower not in dropped), connection)
