"""OTLP: what is started for each signal, and stopped in time. All private imports of the SDK are here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, TypeVar

from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from exporter import __version__
from exporter.problems import ConfigError, Problem
from exporter.telemetry.environment import Otlp, Protocol
from exporter.telemetry.push import MetricPush
from exporter.telemetry.sample import Family
from exporter.telemetry.status import ExportStatus

T = TypeVar("T")

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5.0
"""The longest that flushing may hold up the end of the process, whatever the collector does."""


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

    def start(self, otlp: Otlp, sample: Callable[[], Sequence[Family]], most_events: int = 2048) -> None:
        """Start what the environment asks for; nothing goes out otherwise. `most_events` may wait to be exported.

        Raises:
            ConfigError: the library cannot use what one of its own variables says.
        """
        try:
            self._start(otlp, sample, most_events)
        except Exception as exc:  # whatever the library says; without its text, which may quote credentials
            message = f"a value is not supported by the exporter ({type(exc).__name__})"
            raise ConfigError([Problem("environment", "OTEL_*", message)]) from None

    def _start(self, otlp: Otlp, sample: Callable[[], Sequence[Family]], most_events: int) -> None:
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
            # The library's own queue would drop the oldest of a thousand APIs' events without a word.
            queue = otlp.log_queue or max(2048, most_events)
            self.logs.add_log_record_processor(BatchLogRecordProcessor(logs, max_queue_size=queue))
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
