"""Nothing is lost when certificates are many, and nothing is left behind when they are renewed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from exporter.certcheck.certificate import Reading
from exporter.certcheck.inventory import Entry
from exporter.telemetry.environment import Otlp, Protocol
from exporter.telemetry.family import Family
from exporter.telemetry.otlp import Exporters
from exporter.telemetry.push import MOST_POINTS
from tests.receivers import RECEIVERS, Received, absent, attributes
from tests.telemetry.measured import Measured, certificate, own, scraped

CERTIFICATES, ROTATIONS, MANY = 10, 300, 20_000


class Fleet:
    """Ten APIs with a certificate each, that are renewed again and again."""

    def __init__(self) -> None:
        self.measured = Measured()
        self.held: dict[str, list[Entry]] = {}
        self.generation = -1

    def rotate(self) -> None:
        self.generation += 1
        for number in range(CERTIFICATES):
            reading = Reading(certificate(self.cert_id(number), name=f"orders-{number}"))
            entries = self.measured.put(own(reading, api_id=f"api-{number}"))
            self.measured.inventory.forget(self.held.get(f"api-{number}", []))
            self.held[f"api-{number}"] = entries

    def cert_id(self, number: int) -> str:
        return f"{self.generation * CERTIFICATES + number:064x}"


def test_ten_certificates_renewed_300_times_are_still_ten_and_still_named() -> None:
    fleet = Fleet()
    for _ in range(ROTATIONS + 1):
        fleet.rotate()
        fleet.measured.sampler.sample()
    identities = {labels["cert_name"]: labels["cert_id"] for labels in fleet.measured.labels("certificate_info")}
    assert identities == {f"orders-{number}": fleet.cert_id(number) for number in range(CERTIFICATES)}
    assert len(fleet.measured.values("certificate_days_remaining")) == CERTIFICATES


def test_300_renewals_leave_nothing_behind() -> None:
    fleet = Fleet()
    for _ in range(ROTATIONS + 1):
        fleet.rotate()
        fleet.measured.sampler.sample()
    entries = set(fleet.measured.inventory.entries())
    assert len(entries) == CERTIFICATES
    assert set(fleet.measured.sampler._labels) == entries


async def test_ten_certificates_renewed_300_times_are_ten_in_every_push(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()

    def rotated_300_times() -> list[Family]:
        for _ in range(ROTATIONS):
            fleet.rotate()
            fleet.measured.sampler.sample()
        return fleet.measured.sampler.sample()

    with RECEIVERS["http/protobuf"]() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        exporters = Exporters()
        exporters.start(Otlp(metrics="http/protobuf"), rotated_300_times)
        await exporters.close()
    (metric,) = receiver.received.metric("certificate.info")
    names = [attributes(point.attributes)["cert_name"] for point in metric.gauge.data_points]
    assert names == [f"orders-{number}" for number in range(CERTIFICATES)]
    assert not any("otel.metric.overflow" in str(metric) for metric in receiver.received.metrics())


@pytest.fixture(scope="module")
def many() -> Measured:
    """As many slots as are kept by default, with everything known of each."""
    measured = Measured()
    for number in range(MANY):
        reading = Reading(certificate(f"{number:064x}", timedelta(days=number), f"orders-{number}"))
        measured.put(own(reading, api_id=f"api-{number}"))
    return measured


def test_20000_slots_are_all_there_in_the_text(many: Measured) -> None:
    # Of the one metric; to parse them all takes seconds.
    lines = [line for line in many.text().splitlines() if "certificate_days_remaining" in line]
    days = {dict(labels)["api_id"]: value for (_, labels), value in scraped("\n".join(lines) + "\n").items()}
    assert days == {f"api-{number}": number for number in range(MANY)}


@pytest.mark.parametrize("protocol", RECEIVERS)
async def test_20000_slots_are_all_there_in_what_is_pushed_to_a_receiver_of_the_usual_limits(
    protocol: Protocol, many: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RECEIVERS[protocol]() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        exporters, samples = Exporters(), iter([many.sampler.sample()])
        exporters.start(Otlp(metrics=protocol, metric_interval_seconds=0.01), lambda: next(samples, []))
        await receiver.received.until(lambda: receiver.received.metric("certgauge.config.last_reload.successful"), 60)
        await exporters.close()
    assert _days(receiver.received) == {(f"api-{number}", number) for number in range(MANY)}
    assert max(_points(receiver.received)) == MOST_POINTS
    assert exporters.failures() == 0


def _days(received: Received) -> set[tuple[object, float]]:
    points = [point for metric in received.metric("certificate.days_remaining") for point in metric.gauge.data_points]
    return {(attributes(point.attributes)["api_id"], point.as_double) for point in points}


def _points(received: Received) -> list[int]:
    """Of each request: how many."""
    return [
        sum(len(metric.gauge.data_points) for scope in resource.scope_metrics for metric in scope.metrics)
        for request in received.metric_requests
        for resource in request.resource_metrics
    ]


async def test_20000_slots_do_not_make_a_dead_collector_be_asked_50_times(
    many: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with absent("grpc") as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
        exporters = Exporters()
        exporters.start(Otlp(metrics="grpc"), many.sampler.sample)
        await exporters.close()
    # Closing did not have to be cut short, and what it did was one export.
    assert exporters.failures() == 1
