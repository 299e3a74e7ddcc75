"""Metrics pushed at an interval, as OTLP."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from threading import Event, Thread
from typing import Any, TypeAlias, cast

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
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter import __version__
from exporter.durations import BOUNDARIES, Histogram
from exporter.telemetry.family import Family, Labels, Value
from exporter.telemetry.names import Instrument, Kind
from exporter.telemetry.status import ExportStatus

log = logging.getLogger(__name__)

Sample: TypeAlias = tuple[Sequence[Family], int]
"""What there was, and when: nanoseconds since the epoch."""

MOST_POINTS = 2000
"""Data points in one request: of 2 KiB each, the longest there are, they fill the 4 MiB that gRPC receivers take."""

_SCOPE = InstrumentationScope("certgauge", __version__)


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
        except Exception as exc:  # the next interval is another chance
            log.warning("metrics could not be exported", extra={"error": type(exc).__name__})
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
