"""One request and its response: matched, refused or handed to the gateway, passed on as it comes, measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from time import perf_counter
from typing import Protocol

from exporter.certcheck.usage import Usage
from exporter.durations import ClientKey, Durations, Histogram, ServerKey, known_method
from exporter.gateway import Api, Gateway
from exporter.proxy.clients import ClientPolicy
from exporter.proxy.core import Call, Failure, Fields, UpstreamError, UpstreamRequest
from exporter.proxy.errors import Refusal, refusal_of
from exporter.proxy.front import Front
from exporter.proxy.handling import Limits
from exporter.proxy.heads import RequestHead
from exporter.proxy.outgoing import outgoing

# Nothing was sent, so there is no call to measure.
_NOT_CALLED = frozenset({Failure.CERTIFICATE_UNUSABLE.value, Failure.OVERLOADED.value})
_CONTINUE = 100


class Trace(Protocol):
    """The spans of one request."""

    def call(self, request: UpstreamRequest, api: Api) -> UpstreamRequest:
        """Begin the client span; the request that is given back carries its context."""

    def called(self, status: int | None, error: str | None) -> None:
        """End the client span."""

    def end(self, status: int | None, error: str | None) -> None:
        """End the server span."""


class Spans(Protocol):
    """Makes a server and a client span for a request."""

    def begin(self, method: str, path: bytes, scheme: str, fields: Fields, route: str | None) -> Trace: ...


class Proxy:
    """What all connections of the proxy's listener share."""

    def __init__(
        self,
        gateway: Gateway,
        durations: Durations,
        clock: Callable[[], datetime],
        spans: Spans | None = None,
        most_connections: int = 10_000,
        *,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        usage: Callable[[], Usage | None] = lambda: None,
    ) -> None:
        self.gateway = gateway
        self.durations = durations
        self.clock = clock
        self.spans = spans
        self.limits = limits
        self._usage = usage
        self._most_connections = most_connections
        self._connections: set[Front] = set()
        self._draining = False
        self._empty = asyncio.Event()

    def exchange(self, front: Front, head: RequestHead) -> Exchange:
        return Exchange(self, front, head)

    def refused(self, front: Front, refusal: Refusal) -> None:
        key = ServerKey(None, None, "_OTHER", front.client.scheme, refusal.status, refusal.code)
        self.durations.of_server(key).record(0.0)

    def opened(self, front: Front) -> bool:
        front.client.served = self._usage()
        self._connections.add(front)
        return not self._draining and len(self._connections) <= self._most_connections

    def closed(self, front: Front) -> None:
        self._connections.discard(front)
        if not self._connections:
            self._empty.set()

    async def drain(self, seconds: float) -> None:
        """Close idle connections at once, the others when their request is done, or cut them off after `seconds`."""
        self._draining = True
        for front in list(self._connections):
            front.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gone()
        for front in list(self._connections):
            front.abort()
        await self._gone()

    async def _gone(self) -> None:
        while self._connections:
            self._empty.clear()
            await self._empty.wait()


class Exchange:
    """Between a client's connection and a call of the core: policy, and nothing of either's framing.

    Whatever ends it ends it once: the response is complete, it is refused, the upstream fails, or the client leaves.
    """

    __slots__ = ("_api", "_call", "_called_at", "_front", "_head", "_proxy", "_started_at", "_status", "_trace")

    def __init__(self, proxy: Proxy, front: Front, head: RequestHead) -> None:
        self._proxy = proxy
        self._front = front
        self._head = head
        self._started_at = perf_counter()
        self._called_at = 0.0
        self._api: Api | None = None
        self._call: Call | None = None
        self._status: int | None = None
        self._trace: Trace | None = None

    # What the client's connection tells.

    def start(self, content: bytes) -> None:
        head, proxy = self._head, self._proxy
        served = self._front.client.served
        if served is not None:
            served.requests += 1
        api = self._api = proxy.gateway.match(head.path)
        if proxy.spans is not None:
            route = api.route if api else None
            self._trace = proxy.spans.begin(head.method, head.path, self._front.client.scheme, head.fields, route)
        if api is None:
            refusal: Refusal | None = Refusal.NO_SUCH_API
        elif (clients := api.plan.clients) is None:
            refusal = self._forward(api, content)
        else:
            refusal = self._unadmitted(api, clients) or self._forward(api, content)
        if refusal is not None:
            self._answer(refusal)

    def send(self, data: bytes) -> None:
        if self._call is not None:
            self._call.send(data)

    def end(self) -> None:
        if self._call is not None:
            self._call.end()

    def refuse(self, refusal: Refusal) -> None:
        self._give_up("cancelled")
        self._answer(refusal)

    def gone(self) -> None:
        self._give_up("cancelled")
        self._measure("client_gone")

    def hold(self) -> None:
        if self._call is not None:
            self._call.pause()

    def release(self) -> None:
        if self._call is not None:
            self._call.resume()

    # What the upstream tells.

    def informed(self, status: int, fields: Fields) -> None:
        if not self._head.http_1_0 and (status != _CONTINUE or self._head.expects_continue):
            self._front.inform(status, fields)

    def began(self, status: int, fields: Fields, length: int | None, content: bytes = b"") -> None:
        self._status = status
        if self._api is not None:
            self._api.plan.upstream.usage.accepted = True
        self._front.begin(status, fields, length, content)

    def switched(self, protocol: bytes, fields: Fields) -> None:
        self._status = 101
        self._front.switch(protocol, fields)

    def received(self, data: bytes) -> None:
        self._front.write(data)

    def ended(self) -> None:
        api = self._api
        if self._trace is not None or api is None or api.finished:
            self._over(None)
            self._measure(None)
        else:
            self._call = None
            api.end()
            ended_at = perf_counter()
            key = (known_method(self._head.method), self._front.client.scheme, self._status)
            server, client = api.durations.get(key) or self._series(api, key)
            server.record(ended_at - self._started_at)
            client.record(ended_at - self._called_at)
        self._front.finish()

    def failed(self, failure: Failure) -> None:
        if failure is Failure.CERTIFICATE_REFUSED and self._api is not None:
            self._api.plan.upstream.usage.refuse()
        self._over(failure.value)
        self._answer(refusal_of(failure))

    def pause(self) -> None:
        self._front.pause_reading()

    def resume(self) -> None:
        self._front.resume_reading()

    # Within.

    def _unadmitted(self, api: Api, clients: ClientPolicy) -> Refusal | None:
        admission = self._front.client.admission(api.plan.api_id, clients)
        if admission.observation is not None:
            admission.observation.usage.requests += 1
            self._proxy.gateway.observe(admission.observation)
        return admission.refusal(self._proxy.clock())

    def _forward(self, api: Api, content: bytes) -> Refusal | None:
        request = outgoing(self._head, content, api, self._front.client.forwarded)
        if self._trace is not None:
            request = self._trace.call(request, api)
        self._called_at = perf_counter()
        try:
            self._call = self._proxy.gateway.call(api, request, self)
        except UpstreamError as exc:
            if self._trace is not None:
                self._trace.called(None, exc.failure.value)
            return refusal_of(exc.failure)
        return None

    def _answer(self, refusal: Refusal) -> None:
        """Answer with an error of our own; where an answer had begun, leave it incomplete."""
        if self._status is None:
            self._status = refusal.status
            self._measure(refusal.code)
            self._front.refuse(refusal)
        else:
            self._measure(refusal.code)
            self._front.break_off()

    def _give_up(self, error: str) -> None:
        if self._call is not None:
            self._call.cancel()
            self._over(error)

    def _over(self, error: str | None) -> None:
        """The call is: it is measured, and no longer in flight."""
        api = self._api
        if self._call is None or api is None:
            return
        self._call = None
        api.end()
        if self._trace is not None:
            self._trace.called(self._status, error)
        if not api.finished and error not in _NOT_CALLED:
            key = _client_key(api, known_method(self._head.method), self._status, error)
            self._proxy.durations.of_client(key).record(perf_counter() - self._called_at)

    def _series(self, api: Api, key: tuple[str, str, int | None]) -> tuple[Histogram, Histogram]:
        method, scheme, status = key
        durations = self._proxy.durations
        server = durations.of_server(ServerKey(api.plan.api_id, api.route, method, scheme, status, None))
        client = durations.of_client(_client_key(api, method, status, None))
        api.durations[key] = server, client
        return server, client

    def _measure(self, error: str | None) -> None:
        if self._trace is not None:
            self._trace.end(self._status, error)
        api = self._api
        if api is not None and api.finished:
            return
        key = ServerKey(
            api.plan.api_id if api else None,
            api.route if api else None,
            known_method(self._head.method),
            self._front.client.scheme,
            self._status,
            error,
        )
        self._proxy.durations.of_server(key).record(perf_counter() - self._started_at)


def _client_key(api: Api, method: str, status: int | None, error: str | None) -> ClientKey:
    target = api.plan.upstream.target
    return ClientKey(api.plan.api_id, method, target.host, target.port, status, error)
