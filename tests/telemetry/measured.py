"""What metrics are made of, without a gateway around it; and metrics as they are read by others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, Metric, NumberDataPoint
from prometheus_client import Metric as Parsed
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.certcheck.certificate import Certificate, Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import Entry, Inventory, entries_of
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import Tally
from exporter.durations import Durations
from exporter.telemetry.prometheus import OPENMETRICS, TEXT, render
from exporter.telemetry.sample import Sampler, Sources
from tests.fakes import NOON, FakeClock
from tests.receivers import attributes

Series: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
"""A series as Prometheus knows it: its name and its labels."""


def certificate(cert_id: str = "a" * 64, left: timedelta = timedelta(days=10), name: str = "orders") -> Certificate:
    """A certificate of which everything is known, with `left` to go at noon."""
    return Certificate(
        cert_id,
        NOON - timedelta(days=300),
        NOON + left,
        common_name=name,
        issuer="CN=test CA",
        serial_number="1f",
        key_type="ec-secp256r1",
        signature_algorithm="ecdsa-with-SHA256",
    )


def own(*chain: Reading, api_id: str = "orders", cert_ref: str = "orders-client") -> Observation:
    """A chain that an API presents to its upstream."""
    return Observation(api_id, Role.UPSTREAM, chain, cert_ref, "orders.internal", 8443)


@dataclass
class Measured:
    """The sources of all metrics, to be set at will, and the sampler over them."""

    clock: FakeClock = field(default_factory=FakeClock)
    tally: Tally = field(default_factory=Tally)
    durations: Durations = field(default_factory=Durations)
    batchers: int = 0
    failures: int = 0
    last_reload: tuple[bool, datetime | None] = (False, None)
    pending: dict[str, int] = field(default_factory=dict)
    inventory: Inventory = field(init=False)
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        self.inventory = Inventory(self.tally)
        sources = Sources(
            self.inventory,
            self.tally,
            self.durations,
            self.clock,
            lambda: self.batchers,
            lambda: self.failures,
            lambda: self.last_reload,
            lambda: self.pending,
        )
        self.sampler = Sampler(sources)

    def put(self, observation: Observation) -> list[Entry]:
        entries = entries_of(observation, ExpiryPolicy())
        self.inventory.put(entries)
        return entries

    def text(self, content: str = TEXT) -> str:
        return b"".join(render(self.sampler.sample(), content)).decode()

    def series(self) -> dict[Series, float]:
        """What Prometheus reads."""
        return scraped(self.text())

    def values(self, name: str) -> list[float]:
        """Of all series of one name."""
        return [value for (each, _), value in self.series().items() if each == name]

    def labels(self, name: str) -> list[dict[str, str]]:
        """Of all series of one name."""
        return [dict(labels) for each, labels in self.series() if each == name]


def families(text: str, content: str = TEXT) -> dict[str, Parsed]:
    """The metrics of an exposition, by name."""
    return {each.name: each for each in (parse_openmetrics if content == OPENMETRICS else parse_text)(text)}


def scraped(text: str, content: str = TEXT) -> dict[Series, float]:
    """Every series of an exposition. One that is there twice would be refused by Prometheus, and is an error."""
    samples = [sample for family in families(text, content).values() for sample in family.samples]
    keys = [(sample.name, frozenset(sample.labels.items())) for sample in samples]
    assert [key for key, count in Counter(keys).items() if count > 1] == []
    return dict(zip(keys, (sample.value for sample in samples), strict=True))


def pushed(metrics: Iterable[Metric]) -> dict[Series, float]:
    """The gauges and sums of OTLP data, as a collector's Prometheus exporter names them."""
    series: dict[Series, float] = {}
    for metric in metrics:
        kind = metric.WhichOneof("data")
        name = metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
        if kind in {"gauge", "sum"}:
            for point in metric.gauge.data_points or metric.sum.data_points:
                key = (name + ("_total" if kind == "sum" else ""), labels_of(point))
                assert key not in series
                series[key] = getattr(point, str(point.WhichOneof("value")))
    return series


def labels_of(point: NumberDataPoint | HistogramDataPoint) -> frozenset[tuple[str, str]]:
    return frozenset((key.replace(".", "_"), str(value)) for key, value in attributes(point.attributes).items())
