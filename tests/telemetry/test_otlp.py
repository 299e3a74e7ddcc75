"""A real gateway pushes to a real receiver what `OTEL_*` says: gauges, log records, its resource."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import ScopeMetrics

from exporter.telemetry.environment import Protocol, read_otlp
from tests.authority import DAY
from tests.receivers import RECEIVERS, Received, attributes, http_receiver, plain
from tests.telemetry.kit import EXPIRED, EXPIRING, Site
from tests.telemetry.measured import pushed

QUICK = {"OTEL_METRIC_EXPORT_INTERVAL": "50"}


async def served(
    site: Site, protocol: Protocol, environment: pytest.MonkeyPatch, **more: str
) -> tuple[Received, datetime]:
    """Serve until gauges and both events have arrived, and stop; what was received, and when the gateway started."""
    with RECEIVERS[protocol]() as receiver:
        set_environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            **QUICK,
            **more,
        }
        for name, value in set_environment.items():
            environment.setenv(name, value)
        received, started_at = receiver.received, datetime.now(site.authority.now.tzinfo)
        async with site.serve(read_otlp(os.environ)):
            await received.until(lambda: received.metric("certificate.days_remaining") and len(received.records()) == 2)
    return received, started_at


@pytest.mark.parametrize("protocol", RECEIVERS)
async def test_gauges_arrive_for_every_certificate(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received, _ = await served(Site(tmp_path).standard(), protocol, monkeypatch)
    # Before the first API is loaded there is something to push, too.
    scopes = [request.resource_metrics[0].scope_metrics[0] for request in received.metric_requests]
    scope = next(scope for scope in scopes if len(remaining(scope)) == 2)
    days = remaining(scope)
    assert days == {EXPIRING: pytest.approx(10.25, abs=0.01), EXPIRED: pytest.approx(-5.25, abs=0.01)}
    assert (scope.scope.name, bool(scope.scope.version)) == ("certgauge", True)


def remaining(scope: ScopeMetrics) -> dict[str, Any]:
    """Days left by API, of what was pushed once."""
    found = pushed(scope.metrics).items()
    return {dict(labels)["api_id"]: value for (name, labels), value in found if "remaining" in name}


@pytest.mark.parametrize("protocol", RECEIVERS)
async def test_log_records_arrive_as_they_are_specified(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path).standard()
    received, started_at = await served(site, protocol, monkeypatch)
    records = {record.event_name: record for record in received.records()}
    soon, expired = records["certificate.expiring_soon"], records["certificate.expired"]
    assert len(received.records()) == 2

    assert (soon.severity_number, soon.severity_text) == (SeverityNumber.SEVERITY_NUMBER_WARN, "WARN")
    assert (expired.severity_number, expired.severity_text) == (SeverityNumber.SEVERITY_NUMBER_ERROR, "ERROR")
    expected = {"event": "CertificateExpiringSoon", "message": "Upstream certificate will expire in 10 days"}
    assert_record(soon, site, EXPIRING, expected | {"days_remaining": 10}, started_at)
    expected = {"event": "CertificateExpired", "message": "Upstream certificate expired 5 days ago"}
    expired_at = certificate_of(site, EXPIRED).not_valid_after_utc
    more = {"days_remaining": -6, "days_since_expiry": 5, "expired_at": rfc3339(expired_at)}
    assert_record(expired, site, EXPIRED, expected | more, started_at)


def assert_record(
    record: LogRecord, site: Site, api_id: str, expected: dict[str, object], started_at: datetime
) -> None:
    """Every attribute, and no other."""
    certificate = certificate_of(site, api_id)
    sha256 = certificate.fingerprint(certificate.signature_hash_algorithm or pytest.fail("unsigned")).hex()
    found = attributes(record.attributes)
    event_id = found.pop("event_id")
    subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    not_before, not_after = rfc3339(certificate.not_valid_before_utc), rfc3339(certificate.not_valid_after_utc)
    assert found == {
        "api_id": api_id,
        "cert_id": sha256,
        "cert_role": "upstream",
        "cert_name": f"{api_id}-client.example.com",
        "cert_ref": f"{api_id}-client",
        "timestamp": rfc3339(datetime.fromtimestamp(record.time_unix_nano / 1e9, started_at.tzinfo)),
        "expires_at": not_after,
        "issuer": issuer,
        "serial_number": format(certificate.serial_number, "x"),
        "server_address": "orders.internal.invalid",
        "server_port": 8443,
        "requests_last_hour": 0,
        "used_by": [{"api_id": api_id, "requests_last_hour": 0}],
        "server.address": "orders.internal.invalid",
        "server.port": 8443,
        "tls.client.subject": subject,
        "tls.client.issuer": issuer,
        "tls.client.hash.sha256": sha256.upper(),
        "tls.client.not_after": not_after,
        "tls.client.not_before": not_before,
        **expected,
    }
    assert isinstance(event_id, str)
    assert len(event_id) == 36
    assert plain(record.body) == expected["message"]
    assert started_at.timestamp() <= record.time_unix_nano / 1e9 <= started_at.timestamp() + 30


def certificate_of(site: Site, api_id: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((site.directory / f"{api_id}-client.pem").read_bytes())


def rfc3339(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_certificate_of_the_gateways_own_has_no_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path)
    reference = site.certificate("gateway", 3 * DAY + timedelta(hours=1), "localhost")
    site.document["proxy"]["tls"] = {
        "certificate": reference,
        "client_ca": site.anchors("partners", site.authority.issue("old CA", -3 * DAY).pem),
    }
    received, _ = await served(site, "http/protobuf", monkeypatch)
    by_role = {
        attributes(record.attributes)["cert_role"]: attributes(record.attributes) for record in received.records()
    }
    assert by_role.keys() == {"server", "ca"}
    assert not any({"api_id", "server_address", "server.address"} & each.keys() for each in by_role.values())
    assert by_role["server"]["tls.server.subject"] == "CN=gateway.example.com"
    # An anchor is at neither end of a connection.
    assert not [key for key in by_role["ca"] if key.startswith("tls.")]


@pytest.mark.parametrize("protocol", RECEIVERS)
async def test_no_attribute_is_null(protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path).standard()
    (tmp_path / "billing-client.pem").unlink()
    received, _ = await served(site, protocol, monkeypatch)
    points = [
        point
        for metric in received.metrics()
        for point in (*metric.gauge.data_points, *metric.sum.data_points, *metric.histogram.data_points)
    ]
    pairs = [attributes(each.attributes) for each in (*points, *received.records())]
    assert {record.event_name for record in received.records()} == {"certificate.invalid", "certificate.expired"}
    assert [pair for pair in pairs if None in pair.values() or "" in pair.values()] == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"service.name": "certgauge"}),
        ({"OTEL_SERVICE_NAME": "edge"}, {"service.name": "edge"}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=edge,service.version=9,deployment.environment.name=test"},
            {"service.name": "edge", "service.version": "9", "deployment.environment.name": "test"},
        ),
        (
            {"OTEL_SERVICE_NAME": "edge", "OTEL_RESOURCE_ATTRIBUTES": "service.name=other"},
            {"service.name": "edge"},
        ),
    ],
)
async def test_the_resource_is_certgauge_unless_the_environment_says_otherwise(
    environment: dict[str, str], expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received, _ = await served(Site(tmp_path).standard(), "http/protobuf", monkeypatch, **environment)
    resources = received.resources()
    assert resources == [resources[0]] * len(resources)
    assert resources[0].items() >= expected.items()
    assert {"service.version", "telemetry.sdk.name"} <= resources[0].keys()


@pytest.mark.parametrize("protocol", RECEIVERS)
async def test_headers_and_compression_are_those_of_the_environment(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=alpha,authorization=Bearer%20secret",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    received, _ = await served(Site(tmp_path).standard(), protocol, monkeypatch, **environment)
    assert {(each["x-tenant"], each["authorization"]) for each in received.headers} == {("alpha", "Bearer secret")}
    if protocol == "http/protobuf":
        assert {each["content-encoding"] for each in received.headers} == {"gzip"}


async def test_each_signal_may_have_a_receiver_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path).standard()
    with http_receiver() as metrics, RECEIVERS["grpc"]() as logs:
        environment = {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{metrics.url}/v1/metrics",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": logs.url,
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc",
            **QUICK,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        async with site.serve(read_otlp(os.environ)):
            await asyncio.gather(
                metrics.received.until(metrics.received.metrics), logs.received.until(logs.received.records)
            )
    assert (metrics.received.records(), logs.received.metrics()) == ([], [])


async def test_an_api_that_is_unloaded_is_in_no_later_push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path).standard()
    with http_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{receiver.url}/v1/metrics")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
        received = receiver.received
        async with site.serve(read_otlp(os.environ)) as serves:
            await received.until(received.metrics)
            await serves.catalog.delete(EXPIRED)
            sent = len(received.metric_requests)
            # What was sampled before may arrive after; what was sampled after is the next but one.
            await received.until(lambda: len(received.metric_requests) >= sent + 2)
            text = str(received.metric_requests[-1])
    assert EXPIRING in text
    assert EXPIRED not in text


async def test_nothing_is_started_without_a_word_in_the_environment(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with Site(tmp_path).standard().serve(read_otlp({})):
        names = [thread.name.lower() for thread in set(threading.enumerate()) - before]
    assert not [name for name in names if "otlp" in name or "otel" in name]
