"""OTLP: metrics pushed from the samples, providers for logs and spans. All private imports of the SDK are here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from threading import Event, Thread
from typing import Any, TypeAlias, TypeVar, cast

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
from exporter.problems import ConfigError, Problem
from exporter.requests import BOUNDARIES, Histogram
from exporter.telemetry.environment import Otlp, Protocol
from exporter.telemetry.names import Instrument, Kind
from exporter.telemetry.sample import Family, Labels, Value

T = TypeVar("T")

Sample: TypeAlias = tuple[Sequence[Family], int]
"""What there was, and when: nanoseconds since the epoch."""

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5.0
"""The longest that flushing may hold up the end of the process, whatever the collector does."""

MOST_POINTS = 2000
"""Data points in one request: of 2 KiB each, the longest there are, they fill the 4 MiB that gRPC receivers take."""

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

    def sample_last(self) -> None:
        """Keep the metrics of this instant to be pushed at the end: unloading what they tell of ends their series."""
        if self.metrics is not None:
            self.metrics.sample_last()

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
        """Start what the environment asks for; nothing goes out otherwise.

        Raises:
            ConfigError: the library cannot use what one of its own variables says.
        """
        try:
            self._start(otlp, sample)
        except Exception as exc:  # whatever the library says; without its text, which may quote credentials
            message = f"a value is not supported by the exporter ({type(exc).__name__})"
            raise ConfigError([Problem("environment", "OTEL_*", message)]) from None

    def _start(self, otlp: Otlp, sample: Callable[[], Sequence[Family]]) -> None:
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
        # Nobody waits any more if the loop has been closed.
        with contextlib.suppress(RuntimeError):
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
        self._kept: Sample | None = None
        self._started_at = time.time_ns()
        self._stopping = Event()
        self._thread = Thread(target=self._run, daemon=True, name="otlp metrics")

    def start(self) -> None:
        """Begin; the first export is one interval from now."""
        self._thread.start()

    def sample_last(self) -> None:
        """Take the sample that is exported first when this is shut down."""
        self._kept = self._now()

    def shutdown(self) -> None:
        """Export a last time and stop. Blocks for as long as the exporter does."""
        self._stopping.set()
        self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stopping.wait(self._interval)
            if last and self._kept is not None:
                self._export(self._kept)
            self._export()

    def _now(self) -> Sample:
        return self._sample(), time.time_ns()

    def _export(self, kept: Sample | None = None) -> None:
        # What follows a failure is not tried: that would be another wait for the same dead collector.
        try:
            families, at = kept or self._now()
            requests = self._requests(families, at)
            successful = all(self._exporter.export(each) is MetricExportResult.SUCCESS for each in requests)
        except Exception:  # the next interval is another chance
            successful = False
        self._status.record(successful=successful)

    def _requests(self, families: Sequence[Family], at: int) -> Iterator[MetricsData]:
        metrics: list[Metric] = []
        room = MOST_POINTS
        for family in families:
            series = iter(family)
            while taken := list(islice(series, room)):
                metrics.append(self._metric(family.instrument, taken, at))
                room -= len(taken)
                if not room:
                    yield self._request(metrics)
                    metrics, room = [], MOST_POINTS
        if metrics:
            yield self._request(metrics)

    def _request(self, metrics: Sequence[Metric]) -> MetricsData:
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(_SCOPE, metrics, "")], "")])

    def _metric(self, instrument: Instrument, series: Sequence[tuple[Labels, Value]], at: int) -> Metric:
        points = [self._point(labels, value, at) for labels, value in series]
        data: Any
        match instrument.kind:
            case Kind.GAUGE:
                data = Gauge(points)
            case Kind.COUNTER:
                data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
            case Kind.HISTOGRAM:
                data = HistogramData(points, AggregationTemporality.CUMULATIVE)
        return Metric(instrument.name, instrument.description, instrument.unit, data)

    def _point(self, labels: Labels, value: Value, at: int) -> Any:
        if not isinstance(value, Histogram):
            return NumberDataPoint(labels.attributes, self._started_at, at, value)
        counts = list(value.counts)
        # Neither is known: what is kept are counts per bucket. None is left out of the message.
        smallest = largest = cast("float", None)
        return HistogramDataPoint(
            labels.attributes, self._started_at, at, sum(counts), value.total, counts, BOUNDARIES, smallest, largest
        )


class _CountedLogs(LogRecordExporter):
    def __init__(self, exporter: LogRecordExporter, status: ExportStatus) -> None:
        self._exporter, self._status = exporter, status

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        try:
            result = self._exporter.export(batch)
        except Exception:  # the library loses the batch without a word; here it is counted
            result = LogRecordExportResult.FAILURE
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
