"""A proxy core on aiohttp's client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from exporter.certcheck.ports import Observer
from exporter.proxy.core import Failure, Headers, Upstream, UpstreamError, UpstreamRequest, UpstreamResponse

MOST_IN_FLIGHT = 1000
"""Requests one upstream carries at a time; one more is answered 503 `overloaded`."""

_CHUNK = 64 * 1024
_CERTIFICATE_HAS_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
# What a TLS peer says of our certificate, by OpenSSL's names for the alerts of RFC 8446 section 6.2.
_REFUSALS = (
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "ACCESS_DENIED",
)


class AiohttpCore:
    """One `aiohttp.ClientSession` per upstream: what is remembered for one API is never used for another."""

    def __init__(self, observer: Observer) -> None:
        self._observe = observer
        self._pools: dict[Upstream, _Pool] = {}

    async def apply(self, upstreams: Collection[Upstream]) -> None:
        gone = [self._pools.pop(upstream) for upstream in self._pools.keys() - set(upstreams)]
        for upstream in upstreams:
            if upstream not in self._pools:
                self._pools[upstream] = _Pool(upstream)
        for pool in gone:
            await pool.close()

    async def close(self) -> None:
        await self.apply(())

    @asynccontextmanager
    async def forward(self, upstream: Upstream, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
        if upstream.observation is not None:
            self._observe(upstream.observation)
        pool = self._pools.get(upstream)
        if pool is None or pool.in_flight >= MOST_IN_FLIGHT:
            raise UpstreamError(Failure.OVERLOADED)
        pool.in_flight += 1
        try:
            async with pool.send(request) as response:
                yield _Response(response)
        finally:
            pool.in_flight -= 1


class _Pool:
    """The connections of one upstream. Opened by its first request."""

    def __init__(self, upstream: Upstream) -> None:
        self.in_flight = 0
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def send(self, request: UpstreamRequest) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._session or await self._open()
        target = self._upstream.target
        url = URL(f"{target.scheme}://{_authority(target.host)}:{target.port}{request.target.decode()}", encoded=True)
        deadline = asyncio.timeout(self._upstream.timeout_seconds)
        body = None if request.body is None else _extending(request.body, deadline, self._upstream.timeout_seconds)
        headers = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
        try:
            async with deadline:
                response = await session.request(
                    request.method, url, headers=headers, data=body, allow_redirects=False, timeout=_NO_TIMEOUT
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise UpstreamError(_failure(exc)) from exc
        try:
            yield response
        finally:
            # A response that was read to its end has given its connection back; any other is cut off.
            response.close()

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                self._session = await _session(self._upstream)
        return self._session


_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


async def _session(upstream: Upstream) -> aiohttp.ClientSession:
    context: ssl.SSLContext | bool = True
    if upstream.tls is not None:
        try:
            context = await asyncio.to_thread(upstream.tls)
        except (OSError, ValueError) as exc:
            raise UpstreamError(Failure.CERTIFICATE_UNUSABLE) from exc
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        read_bufsize=_CHUNK,
        max_line_size=16 * 1024,
        max_field_size=64 * 1024,
    )


def _authority(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _extending(body: AsyncIterator[bytes], deadline: asyncio.Timeout, seconds: float) -> AsyncIterator[bytes]:
    """Pass a body on. The upstream's time to answer begins anew with each part: a slow client is not its fault."""
    loop = asyncio.get_running_loop()
    async for chunk in body:
        yield chunk
        if not deadline.expired() and deadline.when() is not None:
            deadline.reschedule(loop.time() + seconds)


class _Response:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Headers = list(response.raw_headers)

    async def body(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as exc:
            raise UpstreamError(Failure.CLOSED) from exc


def _failure(exc: Exception) -> Failure:
    """The failure that an exception of the library stands for."""
    if isinstance(exc, TimeoutError):
        return Failure.TIMEOUT
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return _server_certificate(exc.certificate_error)
    if (error := _tls_error(exc)) is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return _server_certificate(error)
        if any(word in (error.reason or "") for word in _REFUSALS):
            return Failure.CERTIFICATE_REFUSED
        return Failure.UNREACHABLE
    if isinstance(exc, aiohttp.ClientConnectorError):
        return Failure.UNREACHABLE
    if isinstance(exc, aiohttp.ClientResponseError | ValueError):
        return Failure.BAD_RESPONSE
    return Failure.CLOSED


def _tls_error(exc: BaseException | None) -> ssl.SSLError | None:
    while exc is not None:
        if isinstance(exc, ssl.SSLError):
            return exc
        exc = getattr(exc, "os_error", None) or exc.__cause__
    return None


def _server_certificate(error: Exception) -> Failure:
    expired = getattr(error, "verify_code", None) == _CERTIFICATE_HAS_EXPIRED
    return Failure.SERVER_CERTIFICATE_EXPIRED if expired else Failure.SERVER_CERTIFICATE_INVALID
