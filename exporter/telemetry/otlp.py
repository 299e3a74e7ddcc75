"""OTLP: metrics pushed from the samples, providers for logs and spans. All private imports of the SDK are here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter import __version__
from exporter.requests import BOUNDARIES, Histogram
from exporter.telemetry.environment import Otlp, Protocol
from exporter.telemetry.names import Kind
from exporter.telemetry.sample import Family, Labels, Value

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5.0
"""The longest that flushing may hold up the end of the process, whatever the collector does."""

_SCOPE = InstrumentationScope("certgauge", __version__)


@dataclass(slots=True)
class ExportStatus:
    """How the exports of one signal have gone. The SDK's own counters take HTTP errors for successes."""

    signal: str
    failures: int = 0
    last_successful: bool | None = None
    """None: there was none yet."""

    def record(self, *, successful: bool) -> None:
        """Count one export. Logs when it begins to fail and when it works again."""
        if self.last_successful is not successful and not (successful and self.last_successful is None):
            log.log(
                logging.INFO if successful else logging.WARNING,
                "telemetry export works again" if successful else "telemetry export failed",
                extra={"signal": self.signal},
            )
        self.failures += not successful
        self.last_successful = successful


@dataclass(slots=True)
class Exporters:
    """What leaves by OTLP: started, to be closed within a deadline."""

    metrics: MetricPush | None = None
    logs: LoggerProvider | None = None
    traces: TracerProvider | None = None
    statuses: list[ExportStatus] = field(default_factory=list)

    def failures(self) -> int:
        """Exports that failed, of all signals."""
        return sum(status.failures for status in self.statuses)

    async def close(self) -> None:
        """Flush and stop, all at once, for at most `SHUTDOWN_SECONDS`: a dead collector must not hold up the end."""
        shutdowns = [each.shutdown for each in (self.metrics, self.logs, self.traces) if each is not None]
        loop = asyncio.get_running_loop()
        waiting = [asyncio.Event() for _ in shutdowns]
        for shutdown, done in zip(shutdowns, waiting, strict=True):
            # A daemon, for some of the libraries' waits cannot be bounded; the process ends without it.
            Thread(target=_then, args=(shutdown, loop, done), daemon=True, name="otlp shutdown").start()
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                for done in waiting:
                    await done.wait()
        except TimeoutError:
            log.warning("telemetry was not flushed in time", extra={"seconds": SHUTDOWN_SECONDS})

    def start(self, otlp: Otlp, sample: Callable[[], Sequence[Family]]) -> None:
        """Start what the environment asks for; nothing goes out otherwise."""
        # `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` beat what we say of ourselves.
        own = Resource.create({"service.name": "certgauge", "service.version": __version__})
        resource = own.merge(OTELResourceDetector().detect())
        if otlp.metrics is not None:
            exporter = _metric_exporter(otlp.metrics)
            status = self._status("metrics")
            self.metrics = MetricPush(exporter, resource, sample, otlp.metric_interval_seconds, status)
            self.metrics.start()
        if otlp.logs is not None:
            self.logs = LoggerProvider(resource, shutdown_on_exit=False)
            logs = _CountedLogs(_log_exporter(otlp.logs), self._status("logs"))
            self.logs.add_log_record_processor(BatchLogRecordProcessor(logs))
        if otlp.traces is not None:
            self.traces = TracerProvider(resource=resource, shutdown_on_exit=False)
            spans = _CountedSpans(_span_exporter(otlp.traces), self._status("traces"))
            self.traces.add_span_processor(BatchSpanProcessor(spans))

    def _status(self, signal: str) -> ExportStatus:
        self.statuses.append(ExportStatus(signal))
        return self.statuses[-1]


def _then(shutdown: Callable[[], Any], loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    try:
        shutdown()
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)


class MetricPush:
    """Samples and exports at an interval, and a last time when shut down.

    Not the SDK's reader: that keeps every attribute set it ever saw and folds those past its limit into one.
    """

    def __init__(
        self,
        exporter: MetricExporter,
        resource: Resource,
        sample: Callable[[], Sequence[Family]],
        interval_seconds: float,
        status: ExportStatus,
    ) -> None:
        self._exporter = exporter
        self._resource = resource
        self._sample = sample
        self._interval = interval_seconds
        self._status = status
        self._started_at = time.time_ns()
        self._stopping = Event()
        self._thread = Thread(target=self._run, daemon=True, name="otlp metrics")

    def start(self) -> None:
        """Begin; the first export is one interval from now."""
        self._thread.start()

    def shutdown(self) -> None:
        """Export a last time and stop. Blocks for as long as the exporter does."""
        self._stopping.set()
        self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stopping.wait(self._interval)
            try:
                result = self._exporter.export(self._data())
                self._status.record(successful=result is MetricExportResult.SUCCESS)
            except Exception:  # the next interval is another chance
                self._status.record(successful=False)

    def _data(self) -> MetricsData:
        metrics = [self._metric(family, time.time_ns()) for family in self._sample() if family.points]
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(_SCOPE, metrics, "")], "")])

    def _metric(self, family: Family, now: int) -> Metric:
        instrument = family.instrument
        points = [self._point(labels, value, now) for labels, value in family.points]
        data: Any
        match instrument.kind:
            case Kind.GAUGE:
                data = Gauge(points)
            case Kind.COUNTER:
                data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
            case Kind.HISTOGRAM:
                data = HistogramData(points, AggregationTemporality.CUMULATIVE)
        return Metric(instrument.name, instrument.description, instrument.unit, data)

    def _point(self, labels: Labels, value: Value, now: int) -> Any:
        if not isinstance(value, Histogram):
            return NumberDataPoint(labels.attributes, self._started_at, now, value)
        counts = list(value.counts)
        # Neither is known: what is kept are counts per bucket.
        smallest, largest = 0.0, 0.0
        return HistogramDataPoint(
            labels.attributes, self._started_at, now, sum(counts), value.total, counts, BOUNDARIES, smallest, largest
        )


class _CountedLogs(LogRecordExporter):
    def __init__(self, exporter: LogRecordExporter, status: ExportStatus) -> None:
        self._exporter, self._status = exporter, status

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        result = self._exporter.export(batch)
        self._status.record(successful=result is LogRecordExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 the library's signature
        return True


class _CountedSpans(SpanExporter):
    def __init__(self, exporter: SpanExporter, status: ExportStatus) -> None:
        self._exporter, self._status = exporter, status

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._status.record(successful=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


# Imported where they are needed: gRPC alone takes longer to load than the rest of the process.


def _metric_exporter(protocol: Protocol) -> MetricExporter:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

    return Http()


def _log_exporter(protocol: Protocol) -> LogRecordExporter:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as Grpc

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as Http

    return Http()


def _span_exporter(protocol: Protocol) -> SpanExporter:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http()
