"""OTLP: what is started for each signal, and stopped in time. All private imports of the SDK are here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, TypeVar

from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from exporter import __version__
from exporter.problems import ConfigError, Problem
from exporter.telemetry.environment import Otlp, Protocol
from exporter.telemetry.event_log import EventLog
from exporter.telemetry.family import Family
from exporter.telemetry.push import MetricPush
from exporter.telemetry.status import ExportStatus

T = TypeVar("T")

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5.0
"""The longest that flushing may hold up the end of the process, whatever the collector does."""


@dataclass(slots=True)
class Exporters:
    """What leaves by OTLP: started, to be closed within a deadline."""

    metrics: MetricPush | None = None
    events: EventLog | None = None
    traces: TracerProvider | None = None
    statuses: list[ExportStatus] = field(default_factory=list)
    _ending: list[asyncio.Event] = field(default_factory=list)
    _ends_at: float = 0.0
    """By the loop's clock."""

    def failures(self) -> int:
        """Exports that failed, of all signals."""
        return sum(status.failures for status in self.statuses)

    def sample_last(self) -> None:
        """Keep the metrics of this instant to be pushed at the end: unloading what they tell of ends their series."""
        if self.metrics is not None:
            self.metrics.sample_last()

    def begin_closing(self) -> None:
        """Flush and stop metrics and traces, beside what is still done to have events delivered."""
        self._ends_at = asyncio.get_running_loop().time() + SHUTDOWN_SECONDS
        for each in (self.metrics, self.traces):
            if each is not None:
                self._ending.append(_ending(each.shutdown))

    async def close(self) -> None:
        """Stop, at most `SHUTDOWN_SECONDS` after `begin_closing`: a dead collector must not hold up the end."""
        if not self._ends_at:
            self.begin_closing()
        if self.events is not None:
            self._ending.append(_ending(self.events.shutdown))
        try:
            async with asyncio.timeout_at(self._ends_at):
                for done in self._ending:
                    await done.wait()
        except TimeoutError:
            log.warning("telemetry was not flushed in time", extra={"seconds": SHUTDOWN_SECONDS})

    def start(self, otlp: Otlp, sample: Callable[[], Sequence[Family]], instance: str = "") -> None:
        """Start what the environment asks for; nothing goes out otherwise. `instance` tells replicas apart.

        Raises:
            ConfigError: the library cannot use what one of its own variables says.
        """
        try:
            self._start(otlp, sample, instance)
        except Exception as exc:  # whatever the library says; without its text, which may quote credentials
            message = f"a value is not supported by the exporter ({type(exc).__name__})"
            raise ConfigError([Problem("environment", "OTEL_*", message)]) from None

    def _start(self, otlp: Otlp, sample: Callable[[], Sequence[Family]], instance: str) -> None:
        own = {"service.name": "certgauge", "service.version": __version__}
        if instance:
            # The SDK's own is another one at each start, and every series with it.
            own["service.instance.id"] = instance
        # `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` beat what we say of ourselves.
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        if otlp.metrics is not None:
            exporter = _metric_exporter(otlp.metrics)
            status = self._status("metrics")
            self.metrics = MetricPush(exporter, resource, sample, otlp.metric_interval_seconds, status)
            self.metrics.start()
        if otlp.logs is not None:
            self.events = EventLog(_log_exporter(otlp.logs), resource, self._status("logs"))
        if otlp.traces is not None:
            self.traces = TracerProvider(resource=resource, shutdown_on_exit=False)
            spans = _CountedSpans(_span_exporter(otlp.traces), self._status("traces"))
            self.traces.add_span_processor(BatchSpanProcessor(spans))

    def _status(self, signal: str) -> ExportStatus:
        self.statuses.append(ExportStatus(signal))
        return self.statuses[-1]


def _ending(shutdown: Callable[[], Any]) -> asyncio.Event:
    """Set when that has returned. In a daemon, for some of the libraries' waits cannot be bounded."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    Thread(target=_then, args=(shutdown, loop, done), daemon=True, name="otlp shutdown").start()
    return done


def _then(shutdown: Callable[[], Any], loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    try:
        shutdown()
    finally:
        # Nobody waits any more if the loop has been closed.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set)


class _CountedSpans(SpanExporter):
    def __init__(self, exporter: SpanExporter, status: ExportStatus) -> None:
        self._exporter, self._status = exporter, status

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # as for logs
            result = SpanExportResult.FAILURE
        self._status.record(successful=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _with_compression(exporter: Callable[..., T]) -> T:
    """A gRPC exporter; `none`, which is in the specification, is not in its library."""
    from grpc import Compression  # type: ignore[import-untyped]
    from opentelemetry.exporter.otlp.proto.grpc.exporter import InvalidCompressionValueException

    try:
        return exporter()
    except InvalidCompressionValueException:
        return exporter(compression=Compression.NoCompression)


# Imported where they are needed: gRPC alone takes longer to load than the rest of the process.


def _metric_exporter(protocol: Protocol) -> MetricExporter:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc

        return _with_compression(Grpc)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

    return Http()


def _log_exporter(protocol: Protocol) -> LogRecordExporter:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as Grpc

        return _with_compression(Grpc)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as Http

    return Http()


def _span_exporter(protocol: Protocol) -> SpanExporter:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return _with_compression(Grpc)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http()
