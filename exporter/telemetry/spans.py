"""A server and a client span for each proxied request, with W3C propagation."""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from exporter.durations import known_method
from exporter.gateway import Api
from exporter.proxy.core import Fields, UpstreamRequest
from exporter.proxy.headers import lines, split, without
from exporter.telemetry.sample import CLIENT_FAILURE, SERVER_FAILURE

_PROPAGATOR = TraceContextTextMapPropagator()
_FIELDS = frozenset({b"traceparent", b"tracestate"})


class RequestSpans:
    """Makes the spans. Where there is no traces exporter there is no such object, and no cost."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(self, method: str, path: bytes, scheme: str, fields: Fields, route: str | None) -> RequestTrace:
        """Begin the span of the request as the client sees it; it continues the client's trace."""
        # W3C Trace Context section 3.3.1: tracestate may come in several lines, which are one list.
        given = split(fields)
        received = {name.decode(): [v.decode("latin-1") for k, v in given if k.lower() == name] for name in _FIELDS}
        attributes: dict[str, Any] = {
            "http.request.method": known_method(method),
            "url.scheme": scheme,
            "url.path": path.decode("latin-1"),
        }
        if route is not None:
            attributes["http.route"] = route
        name = f"{known_method(method)} {route}" if route else known_method(method)
        context = _PROPAGATOR.extract(received, context=Context())
        return RequestTrace(self._tracer, self._tracer.start_span(name, context, SpanKind.SERVER, attributes))


class RequestTrace:
    """The spans of one request."""

    def __init__(self, tracer: Tracer, server: Span) -> None:
        self._tracer = tracer
        self._server = server
        self._client: Span | None = None

    def call(self, request: UpstreamRequest, api: Api) -> UpstreamRequest:
        """Begin the span of the call to the upstream; in the request that is given back, its context replaces the
        client's.
        """
        target = api.plan.upstream.target
        attributes: dict[str, Any] = {
            "http.request.method": known_method(request.method),
            "server.address": target.host,
            "server.port": target.port,
            "api_id": api.plan.api_id,
        }
        within = set_span_in_context(self._server)
        client = self._client = self._tracer.start_span(
            known_method(request.method), within, SpanKind.CLIENT, attributes
        )
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(client))
        own = lines((name.encode(), value.encode()) for name, value in carrier.items())
        return request._replace(fields=without(request.fields, _FIELDS) + own)

    def called(self, status: int | None, error: str | None) -> None:
        """End the span of the call."""
        if self._client is not None:
            _end(self._client, status, error, CLIENT_FAILURE)

    def end(self, status: int | None, error: str | None) -> None:
        """End the span of the request."""
        _end(self._server, status, error, SERVER_FAILURE)


def _end(span: Span, status: int | None, error: str | None, failure: int) -> None:
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    if error is not None or (status is not None and status >= failure):
        span.set_attribute("error.type", error or str(status))
        span.set_status(Status(StatusCode.ERROR))
    span.end()
