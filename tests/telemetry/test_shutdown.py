"""What the collector does must not hold up the end; what it did not take is counted; what there is goes out."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from exporter.attempts import Attempt, Delivered, Retry
from exporter.certcheck.events import EventKind
from exporter.delivery import record_of
from exporter.outbox import Delivery
from exporter.sinks.otlp import NAME, OtlpHandler
from exporter.telemetry.environment import Otlp, Protocol, read_otlp
from exporter.telemetry.otlp import SHUTDOWN_SECONDS, Exporters, _CountedSpans
from exporter.telemetry.status import ExportStatus
from tests.receivers import RECEIVERS, UNWELL, http_receiver
from tests.telemetry.kit import EXPIRED, EXPIRING, Site, get
from tests.telemetry.measured import Measured, pushed, scraped
from tests.telemetry.test_event_log import DAY, certificate, event

PROTOCOLS: list[Protocol] = ["http/protobuf", "grpc"]
PATIENT = {"OTEL_METRIC_EXPORT_INTERVAL": "60000"}
RECORD = record_of(event(EventKind.EXPIRED, known=certificate(-DAY)))


def loaded(protocol: Protocol) -> Exporters:
    """Exporters of all signals, with something to send of each. The environment says where to."""
    exporters = Exporters()
    exporters.start(Otlp(protocol, protocol, protocol), Measured().sampler.sample)
    assert exporters.traces is not None
    exporters.traces.get_tracer("test").start_span("request").end()
    return exporters


async def exported(exporters: Exporters) -> Sequence[Attempt]:
    """One attempt to hand over an event."""
    assert exporters.events is not None
    handler = OtlpHandler(exporters.events.export)
    return await handler.deliver([Delivery(RECORD, NAME, 0, RECORD.announced_at)], RECORD.announced_at)


@pytest.fixture
def unwell(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[tuple[Protocol, str], Exporters]]:
    """Exporters for each protocol and each kind of collector that takes nothing; started once its URL is known."""
    with ExitStack() as stack:
        exporters: dict[tuple[Protocol, str], Exporters] = {}
        for protocol in PROTOCOLS:
            for kind, collector in UNWELL.items():
                monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", stack.enter_context(collector(protocol)))
                exporters[protocol, kind] = loaded(protocol)
        yield exporters


async def test_closing_is_bounded_whatever_the_collector_does(
    unwell: dict[tuple[Protocol, str], Exporters],
) -> None:
    async def seconds(exporters: Exporters) -> float:
        async with asyncio.TaskGroup() as tasks:
            under_way = tasks.create_task(exported(exporters))
            started_at = time.monotonic()
            await exporters.close()
            took = time.monotonic() - started_at
            under_way.cancel()
            return took

    took = dict(zip(unwell, await asyncio.gather(*map(seconds, unwell.values())), strict=True))
    assert {key: each for key, each in took.items() if each > SHUTDOWN_SECONDS + 1} == {}
    # A collector that says no has not to be waited for.
    assert {key: each for key, each in took.items() if key[1] == "refusing" and each > SHUTDOWN_SECONDS / 2} == {}


@pytest.mark.parametrize("kind", UNWELL)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_is_not_taken_is_counted_for_each_signal(
    protocol: Protocol, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    with UNWELL[kind](protocol) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        exporters = loaded(protocol)
        [attempt] = await exported(exporters)
        await exporters.close()
    assert isinstance(attempt, Retry)
    statuses = {each.signal: (each.failures, each.last_successful) for each in exporters.statuses}
    assert statuses == {"metrics": (1, False), "logs": (1, False), "traces": (1, False)}
    assert exporters.failures() == 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_cannot_even_be_sent_is_counted_too(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    # A line feed, which no field value may hold.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=a%0Ab")
    with RECEIVERS[protocol]() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        exporters = loaded(protocol)
        await exported(exporters)
        await exporters.close()
    assert exporters.failures() == 3


class Broken(SpanExporter):
    """An exporter with a bug: the SDK's processor logs what it raises, and loses the batch."""

    def export(self, batch: Sequence[Any]) -> Any:
        raise ValueError("canary")

    def shutdown(self) -> None:
        """Nothing to be done."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def test_an_exporter_that_raises_is_counted() -> None:
    spans = ExportStatus("traces")
    assert _CountedSpans(Broken(), spans).export([]) is SpanExportResult.FAILURE
    assert spans.failures == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_is_taken_is_no_failure(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    with RECEIVERS[protocol]() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        exporters = loaded(protocol)
        assert await exported(exporters) == [Delivered()]
        await exporters.close()
    assert {(each.signal, each.failures, each.last_successful) for each in exporters.statuses} == {
        ("metrics", 0, True),
        ("logs", 0, True),
        ("traces", 0, True),
    }
    assert [record.event_name for record in receiver.received.records()] == ["certificate.expired"]
    assert [span.name for span in receiver.received.spans()] == ["request"]


async def test_a_gateway_shows_in_its_metrics_and_its_health_that_exports_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_receiver(401) as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{receiver.url}/v1/metrics")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
        async with Site(tmp_path).standard().serve(read_otlp(os.environ)) as serves:
            # The second is sent after the first has been found to have failed.
            await receiver.received.until(lambda: len(receiver.received.metric_requests) >= 2)
            series = scraped(await get(f"{serves.admin_url}/metrics"))
            health = json.loads(await get(f"{serves.admin_url}/health"))
    assert series["certificate_errors_total", frozenset({("reason", "otlp_export_failed")})] >= 1
    assert health["checks"]["exporters"] == [{"componentId": "metrics", "status": "warn"}]
    assert health["status"] == "warn"


def test_the_log_says_when_exports_begin_to_fail_and_when_they_work_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    status = ExportStatus("test")
    for successful in (True, True, False, False, True, True):
        status.record(successful=successful)
    lines = [(each.levelname, each.getMessage()) for each in caplog.records if vars(each).get("signal") == "test"]
    assert lines == [("WARNING", "telemetry export failed"), ("INFO", "telemetry export works again")]
    assert (status.failures, status.last_successful) == (2, True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sigterm_flushes_what_the_intervals_would_have_sent_a_minute_later(protocol: Protocol, tmp_path: Path) -> None:
    with RECEIVERS[protocol]() as receiver:
        received = receiver.received
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        with Site(tmp_path).standard().process(environment | PATIENT) as served:
            assert (received.metrics(), received.records()) == ([], [])
            signalled_at = datetime.now(UTC).timestamp()
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(SHUTDOWN_SECONDS) == 0
    assert {record.event_name for record in received.records()} == {
        "certificate.expiring_soon",
        "certificate.expired",
    }
    (reload_time, *_) = received.metric("certgauge.config.last_reload.successful")
    assert reload_time.gauge.data_points[0].time_unix_nano / 1e9 >= signalled_at


def test_the_last_export_tells_of_the_certificates_there_were_when_the_signal_came(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with Site(tmp_path).standard().process(environment | PATIENT) as served:
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(SHUTDOWN_SECONDS) == 0
    (days,) = receiver.received.metric("certificate.days_remaining")
    assert {dict(labels)["api_id"] for _, labels in pushed([days])} == {EXPIRING, EXPIRED}


async def test_what_was_sampled_last_is_pushed_though_its_series_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    batchers = Measured(batchers=2)
    with http_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        exporters = Exporters()
        exporters.start(Otlp(metrics="http/protobuf"), batchers.sampler.sample)
        exporters.sample_last()
        batchers.batchers = 0
        await exporters.close()
    values = [metric.gauge.data_points[0].as_int for metric in receiver.received.metric("certificate.batchers")]
    assert values == [2, 0]


def test_a_process_ends_though_its_collector_never_answers(tmp_path: Path) -> None:
    with ExitStack() as stack:
        served = {}
        for name, protocol in (("http", "http/protobuf"), ("grpc", "grpc")):
            url = stack.enter_context(UNWELL["black-holed"](protocol))
            environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
            (tmp_path / name).mkdir()
            site = Site(tmp_path / name).standard()
            served[name] = stack.enter_context(site.process({**environment, "OTEL_TRACES_EXPORTER": "otlp"}))
        signalled_at = time.monotonic()
        for each in served.values():
            each.process.send_signal(signal.SIGTERM)
        status = {name: each.process.wait(20) for name, each in served.items()}
        seconds = time.monotonic() - signalled_at
        logs = {name: each.log for name, each in served.items()}
    assert status == {"http": 0, "grpc": 0}
    # Closing, and what a process of Python takes to end.
    assert seconds < SHUTDOWN_SECONDS + 3
    assert all('message="telemetry was not flushed in time" seconds=5.0' in log for log in logs.values())
    assert "Traceback" not in "".join(logs.values())
