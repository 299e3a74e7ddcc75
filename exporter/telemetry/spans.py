"""A server and a client span for each proxied request, with W3C propagation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from exporter.durations import known_method
from exporter.gateway import Api
from exporter.proxy.core import UpstreamRequest
from exporter.telemetry.sample import CLIENT_FAILURE, SERVER_FAILURE

_PROPAGATOR = TraceContextTextMapPropagator()
_FIELDS = (b"traceparent", b"tracestate")


class RequestSpans:
    """Makes the spans. Where there is no traces exporter there is no such object, and no cost."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def server(self, scope: Scope, route: str | None) -> Iterator[Span]:
        """The span of the request as the client sees it; continues the client's trace."""
        # W3C Trace Context section 3.3.1: tracestate may come in several lines, which are one list.
        received = {name.decode(): [v.decode("latin-1") for k, v in scope["headers"] if k == name] for name in _FIELDS}
        attributes: dict[str, Any] = {
            "http.request.method": known_method(scope["method"]),
            "url.scheme": scope["scheme"],
            "url.path": scope["raw_path"].decode("latin-1"),
        }
        if route is not None:
            attributes["http.route"] = route
        name = f"{known_method(scope['method'])} {route}" if route else known_method(scope["method"])
        context = _PROPAGATOR.extract(received, context=Context())
        span = self._tracer.start_span(name, context, SpanKind.SERVER, attributes)
        with use_span(span, end_on_exit=True, record_exception=False):
            yield span

    @contextmanager
    def client(self, request: UpstreamRequest, api: Api) -> Iterator[Span]:
        """The span of the call to the upstream; its context replaces the client's in the outgoing fields."""
        target = api.plan.upstream.target
        attributes: dict[str, Any] = {
            "http.request.method": known_method(request.method),
            "server.address": target.host,
            "server.port": target.port,
            "api_id": api.plan.api_id,
        }
        span = self._tracer.start_span(known_method(request.method), None, SpanKind.CLIENT, attributes)
        with use_span(span, end_on_exit=True, record_exception=False):
            carrier: dict[str, str] = {}
            _PROPAGATOR.inject(carrier)
            kept = [(name, value) for name, value in request.headers if name.lower() not in _FIELDS]
            request.headers[:] = [*kept, *((name.encode(), value.encode()) for name, value in carrier.items())]
            yield span

    def status(self, span: Any, status: int | None, error: str | None) -> None:
        """Set what became of the request."""
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        failure = CLIENT_FAILURE if getattr(span, "kind", None) is SpanKind.CLIENT else SERVER_FAILURE
        if error is not None or (status is not None and status >= failure):
            span.set_attribute("error.type", error or str(status))
            span.set_status(Status(StatusCode.ERROR))
