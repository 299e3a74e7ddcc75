"""Real OTLP receivers on loopback, in threads of their own: they decode what they are sent, and keep it."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Attributes: TypeAlias = dict[str, str | int | float | bool | None]
"""Of one record or point; None is a null that was sent."""

_SECONDS = 15.0


@dataclass
class Received:
    """What a receiver was sent, as requests in the order of their arrival. Safe in any thread."""

    metric_requests: list[metrics_pb2.ExportMetricsServiceRequest] = field(default_factory=list)
    log_requests: list[logs_pb2.ExportLogsServiceRequest] = field(default_factory=list)
    trace_requests: list[trace_pb2.ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request, names in lower case."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def keep(self, request: Any, headers: Mapping[str, str]) -> None:
        kinds: dict[type[Any], list[Any]] = {
            metrics_pb2.ExportMetricsServiceRequest: self.metric_requests,
            logs_pb2.ExportLogsServiceRequest: self.log_requests,
            trace_pb2.ExportTraceServiceRequest: self.trace_requests,
        }
        with self._changed:
            self.headers.append({name.lower(): value for name, value in headers.items()})
            kinds[type(request)].append(request)
            self._changed.notify_all()

    def wait(self, condition: Callable[[], object], seconds: float = _SECONDS) -> None:
        """Block until something that arrived makes `condition` true."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), f"not received within {seconds} s"

    async def until(self, condition: Callable[[], object], seconds: float = _SECONDS) -> None:
        """The same, off the loop."""
        await asyncio.to_thread(self.wait, condition, seconds)

    def metrics(self) -> list[Metric]:
        """Every metric of every request."""
        return [
            metric
            for request in self.metric_requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]

    def metric(self, name: str) -> list[Metric]:
        return [metric for metric in self.metrics() if metric.name == name]

    def records(self) -> list[LogRecord]:
        """Every log record."""
        return [
            record
            for request in self.log_requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def spans(self) -> list[Span]:
        """Every span."""
        return [
            span
            for request in self.trace_requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resources(self) -> list[Attributes]:
        """The resource of every request, of all signals."""
        resources: list[Any] = [
            *(each.resource for request in self.metric_requests for each in request.resource_metrics),
            *(each.resource for request in self.log_requests for each in request.resource_logs),
            *(each.resource for request in self.trace_requests for each in request.resource_spans),
        ]
        return [attributes(resource.attributes) for resource in resources]


def attributes(pairs: Sequence[KeyValue]) -> Attributes:
    """Attributes as a dict. A key that is there twice would be hidden by it, and is an error."""
    assert len({pair.key for pair in pairs}) == len(pairs)
    return {pair.key: plain(pair.value) for pair in pairs}


def plain(value: AnyValue) -> Any:
    """The Python value of an attribute; None for a null."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [plain(each) for each in value.array_value.values]
        case "kvlist_value":
            return attributes(value.kvlist_value.values)
        case kind:
            return getattr(value, kind)


@dataclass(frozen=True)
class Receiver:
    """Where a receiver listens, and what has reached it."""

    url: str
    received: Received


@contextmanager
def http_receiver(status: int = 200, port: int = 0) -> Iterator[Receiver]:
    """Takes OTLP over HTTP/protobuf; another status refuses what is kept here all the same. Port 0: a free one."""
    received = Received()
    kinds: dict[str, tuple[type[Any], type[Any]]] = {
        "/v1/metrics": (metrics_pb2.ExportMetricsServiceRequest, metrics_pb2.ExportMetricsServiceResponse),
        "/v1/logs": (logs_pb2.ExportLogsServiceRequest, logs_pb2.ExportLogsServiceResponse),
        "/v1/traces": (trace_pb2.ExportTraceServiceRequest, trace_pb2.ExportTraceServiceResponse),
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.headers["content-type"] == "application/x-protobuf"
            request, response = kinds[self.path]
            received.keep(request.FromString(body), dict(self.headers))
            answer = response().SerializeToString()
            self.send_response(status)
            if status != 200:
                # Where another one listens later, nobody is to stay with this one.
                self.send_header("Connection", "close")
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the library's name
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield Receiver(f"http://127.0.0.1:{server.server_address[1]}", received)
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def grpc_receiver(refuse: grpc.StatusCode | None = None) -> Iterator[Receiver]:
    """Takes OTLP over gRPC, with the usual limit of 4 MiB a message; with a status it refuses all the same."""
    received = Received()

    class _Service:
        def __init__(self, response: type[Any]) -> None:
            self.response = response

        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 the service's name
            if refuse is not None:
                context.abort(refuse, "refused")
            received.keep(request, dict(context.invocation_metadata()))
            return self.response()

    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool)
    services: list[tuple[Any, type[Any]]] = [
        (metrics_grpc.add_MetricsServiceServicer_to_server, metrics_pb2.ExportMetricsServiceResponse),
        (logs_grpc.add_LogsServiceServicer_to_server, logs_pb2.ExportLogsServiceResponse),
        (trace_grpc.add_TraceServiceServicer_to_server, trace_pb2.ExportTraceServiceResponse),
    ]
    for add, response in services:
        add(_Service(response), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield Receiver(f"http://127.0.0.1:{port}", received)
    finally:
        server.stop(grace=None).wait()
        pool.shutdown()


RECEIVERS: dict[str, Callable[[], AbstractContextManager[Receiver]]] = {
    "http/protobuf": http_receiver,
    "grpc": grpc_receiver,
}
"""A receiver that takes everything, by `OTEL_EXPORTER_OTLP_PROTOCOL`."""


@contextmanager
def refusing(protocol: str) -> Iterator[str]:
    """The URL of a collector that answers, and takes nothing from us."""
    made = http_receiver(401) if protocol != "grpc" else grpc_receiver(grpc.StatusCode.UNAUTHENTICATED)
    with made as receiver:
        yield receiver.url


@contextmanager
def black_hole(_protocol: str, port: int = 0) -> Iterator[str]:
    """The URL of a collector that takes connections and never answers."""
    with socket.socket() as listening:
        # Where another collector was a moment ago.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def absent(_protocol: str) -> Iterator[str]:
    """A URL where nothing listens, and nothing else will as long as we hold the port."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


UNWELL: dict[str, Callable[[str], AbstractContextManager[str]]] = {
    "refusing": refusing,
    "black-holed": black_hole,
    "absent": absent,
}
"""Collectors that take nothing, by how they fail; each for a protocol."""


def poll(condition: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Wait for another process, which can tell us nothing itself."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)
