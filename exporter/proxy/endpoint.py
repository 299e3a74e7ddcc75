"""The proxy's ASGI endpoint: matches a request, hands it to the gateway, relays what comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from exporter.durations import ClientKey, Durations, Histogram, ServerKey, known_method
from exporter.gateway import Api, Gateway
from exporter.proxy.core import Failure, Headers, UpstreamError, UpstreamRequest
from exporter.proxy.errors import Refusal, answer, refusal_of
from exporter.proxy.headers import has_body, request_headers, response_headers, value_of

log = logging.getLogger(__name__)


# Nothing was sent, so there is no call to measure.
_NOT_CALLED = frozenset({Failure.CERTIFICATE_UNUSABLE.value, Failure.OVERLOADED.value})


class ClientGoneError(Exception):
    """The client closed its connection before its response was complete."""


class Spans(Protocol):
    """Makes a server and a client span around a request, and puts the client's context into the outgoing fields."""

    def server(self, scope: Scope, route: str | None) -> AbstractContextManager[Any]: ...

    def client(self, request: UpstreamRequest, api: Api) -> AbstractContextManager[Any]: ...

    def status(self, span: Any, status: int | None, error: str | None) -> None: ...


def application(gateway: Gateway, durations: Durations, spans: Spans | None = None) -> Starlette:
    """The proxy listener's application."""
    app = Starlette()
    # Not a route: those match the decoded path, and some of those have line breaks.
    app.router.default = ProxyEndpoint(gateway, durations, spans)
    return app


class ProxyEndpoint:
    """A raw ASGI application: Starlette's response classes cost several times what proxying does."""

    def __init__(self, gateway: Gateway, durations: Durations, spans: Spans | None = None) -> None:
        self._gateway = gateway
        self._durations = durations
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = perf_counter()
        api = self._gateway.match(scope["raw_path"])
        route = api.plan.listen_path.decode() if api else None
        exchange = _Exchange(scope, receive, send)
        with self._spans.server(scope, route) if self._spans else nullcontext() as span:
            try:
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(exchange.client_gone())
                    await self._serve(api, exchange)
                    watch.cancel()
            except* ClientGoneError:
                exchange.error = "client_gone"
            if self._spans:
                self._spans.status(span, exchange.status, exchange.error)
        if api is not None and api.finished:
            return
        key = ServerKey(
            api.plan.api_id if api else None,
            route,
            known_method(scope["method"]),
            scope["scheme"],
            exchange.status,
            exchange.error,
        )
        _histogram(self._durations.server, key).record(perf_counter() - started_at)

    async def _serve(self, api: Api | None, exchange: _Exchange) -> None:
        refusal = _refused(api, exchange.scope)
        if refusal is None and api is not None:
            try:
                await self._forward(api, exchange)
            except UpstreamError as exc:
                refusal = refusal_of(exc.failure)
        if refusal is not None:
            await exchange.refuse(refusal)

    async def _forward(self, api: Api, exchange: _Exchange) -> None:
        request = exchange.outgoing(api)
        started_at = perf_counter()
        status: int | None = None
        error: str | None = None
        with self._spans.client(request, api) if self._spans else nullcontext() as span:
            try:
                async with self._gateway.forward(api, request) as response:
                    status = response.status
                    await exchange.relay(status, response.headers, response.body())
            except UpstreamError as exc:
                error = exc.failure.value
                raise
            except (ClientGoneError, asyncio.CancelledError):
                error = "cancelled"
                raise
            finally:
                if self._spans:
                    self._spans.status(span, status, error)
                self._measure(api, request, status, error, perf_counter() - started_at)

    def _measure(
        self, api: Api, request: UpstreamRequest, status: int | None, error: str | None, seconds: float
    ) -> None:
        if not api.finished and error not in _NOT_CALLED:
            target, method = api.plan.upstream.target, known_method(request.method)
            key = ClientKey(api.plan.api_id, method, target.host, target.port, status, error)
            _histogram(self._durations.client, key).record(seconds)


def _refused(api: Api | None, scope: Scope) -> Refusal | None:
    if scope["method"] == "CONNECT":
        # RFC 9110 section 9.3.6: it asks for a tunnel, and a gateway makes none.
        return Refusal.NOT_IMPLEMENTED
    hosts = sum(name == b"host" for name, _ in scope["headers"])
    # RFC 9112 section 3.2: a request of HTTP/1.1 has one Host, and which of two would count is anybody's guess.
    if hosts > 1 or (hosts == 0 and scope["http_version"] == "1.1"):
        return Refusal.BAD_REQUEST
    if not all(0x21 <= byte <= 0x7E for byte in scope["raw_path"] + scope["query_string"]):
        return Refusal.BAD_REQUEST
    if api is None:
        return Refusal.NO_SUCH_API
    if api.plan.client_certificates:
        # Closed until clients' certificates are verified: an allow-list that is not enforced must not look as if.
        return Refusal.CLIENT_CERTIFICATE_REQUIRED
    return None


def _histogram(series: dict[Any, Histogram], key: ServerKey | ClientKey) -> Histogram:
    histogram = series.get(key)
    if histogram is None:
        histogram = series[key] = Histogram()
    return histogram


class _Exchange:
    """One request and its response, on the client's side."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.status: int | None = None
        self.error: str | None = None
        self._receive = receive
        self._send = send
        self._headers: Headers = scope["headers"]
        self._body_read = asyncio.Event()
        self._complete = False

    def outgoing(self, api: Api) -> UpstreamRequest:
        """The request as it goes to the API's upstream."""
        scope, plan = self.scope, api.plan
        target = plan.upstream.target
        host = value_of(self._headers, b"host") if plan.preserve_host_header else None
        headers = request_headers(
            self._headers,
            host=host or target.authority.encode(),
            client=scope["client"][0] if scope["client"] else "unknown",
            scheme=scope["scheme"],
        )
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        path = outgoing_path(
            scope["raw_path"], plan.listen_path if plan.strip_listen_path else b"", target.path.encode()
        )
        body = self._body() if has_body(self._headers) else None
        if body is None:
            self._body_read.set()
        return UpstreamRequest(scope["method"], path + query, headers, body)

    async def relay(self, status: int, headers: Headers, body: AsyncIterator[bytes]) -> None:
        """Pass a response on as it arrives. If it ends early, it is left incomplete for the client to see."""
        self.status = status
        fields = response_headers(headers)
        if status in {204, 304}:
            # RFC 9110 section 8.6: it would be the length of a content that is not sent.
            fields = [(name, value) for name, value in fields if name != b"content-length"]
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        async for chunk in body:
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._complete = True
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error of our own; where an answer had begun, leave it incomplete: the server cuts it off."""
        self.error = refusal.code
        if self.status is None:
            self.status = refusal.status
            self._complete = True
            unread = not self._body_read.is_set() and has_body(self._headers)
            await answer(self._send, refusal, close=refusal.closes or unread)

    async def client_gone(self) -> None:
        """Wait until the client has gone, or has all of its response: the server tells of both alike.

        Raises:
            ClientGoneError: it went before.
        """
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._complete:
            raise ClientGoneError

    async def _body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message: Message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            if chunk := message.get("body"):
                yield chunk
            more = message.get("more_body", False)
        self._body_read.set()


def outgoing_path(raw: bytes, listen_path: bytes, base: bytes) -> bytes:
    """The path to send: what follows the listen path (empty: all of it), appended to the target's path.

    No byte of it is changed; one slash is put where the two meet, if neither brings one.
    """
    rest = raw[len(listen_path) :]
    if listen_path.endswith(b"/"):
        return (base if base.endswith(b"/") else base + b"/") + rest
    return base.removesuffix(b"/") + rest or b"/" if rest else base
