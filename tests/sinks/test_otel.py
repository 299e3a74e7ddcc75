"""The log record of each event, as the SDK hands it to an exporter."""

from __future__ import annotations

from datetime import timedelta

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from exporter.certcheck.certificate import Certificate, InvalidReason
from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.slot import Role, Slot
from exporter.sinks.otel import OtelLogSink
from tests.fakes import NOON

DAY = timedelta(days=1)
SUBJECT = {"subject": "CN=orders", "issuer": "CN=test CA", "hash.sha256": "AB" * 32}
DATES = {"not_after": "2026-02-06T12:00:00Z", "not_before": "2025-04-02T12:00:00Z"}


def certificate(left: timedelta = 10 * DAY) -> Certificate:
    return Certificate(
        "ab" * 32,
        NOON - 300 * DAY,
        NOON + left,
        common_name="orders",
        subject="CN=orders",
        issuer="CN=test CA",
        serial_number="1f",
    )


def event(kind: EventKind, role: Role = Role.UPSTREAM, known: Certificate | None = None) -> ExpiryEvent:
    slot = Slot("orders", role, "orders-client", "orders.internal", 8443)
    reason = InvalidReason.MISSING if kind is EventKind.INVALID else None
    previous = "cd" * 32 if kind is EventKind.RENEWED else None
    return ExpiryEvent(kind, "event-1", slot, NOON + timedelta(milliseconds=250), known, reason, previous)


async def emitted(announced: ExpiryEvent) -> ReadableLogRecord:
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    await OtelLogSink(provider.get_logger("certgauge")).emit(announced)
    (record,) = exporter.get_finished_logs()
    return record


@pytest.mark.parametrize(
    ("kind", "name", "severity", "text"),
    [
        (EventKind.EXPIRING_SOON, "certificate.expiring_soon", SeverityNumber.WARN, "WARN"),
        (EventKind.EXPIRED, "certificate.expired", SeverityNumber.ERROR, "ERROR"),
        (EventKind.RENEWED, "certificate.renewed", SeverityNumber.INFO, "INFO"),
        (EventKind.INVALID, "certificate.invalid", SeverityNumber.ERROR, "ERROR"),
    ],
)
async def test_an_event_has_a_name_and_a_severity_and_its_message_is_the_body(
    kind: EventKind, name: str, severity: SeverityNumber, text: str
) -> None:
    announced = event(kind, known=certificate())
    record = (await emitted(announced)).log_record
    assert (record.event_name, record.severity_number, record.severity_text) == (name, severity, text)
    assert record.body == announced.message == (record.attributes or {})["message"]


async def test_the_timestamp_is_that_of_the_event_in_nanoseconds() -> None:
    record = (await emitted(event(EventKind.EXPIRED, known=certificate(-DAY)))).log_record
    assert record.timestamp == int(NOON.timestamp()) * 10**9 + 250_000_000


async def test_the_attributes_are_the_payload_and_the_semantic_conventions() -> None:
    announced = event(EventKind.RENEWED, known=certificate())
    record = (await emitted(announced)).log_record
    conventions = {f"tls.client.{key}": value for key, value in (SUBJECT | DATES).items()}
    server = {"server.address": "orders.internal", "server.port": 8443}
    assert record.attributes == announced.payload() | conventions | server
    assert record.attributes["previous_cert_id"] == "cd" * 32


@pytest.mark.parametrize(
    ("role", "prefix"),
    [
        (Role.UPSTREAM, "tls.client."),
        (Role.CLIENT, "tls.client."),
        (Role.UPSTREAM_SERVER, "tls.server."),
        (Role.SERVER, "tls.server."),
        (Role.CA, None),
    ],
)
async def test_the_end_of_the_connection_follows_from_the_role(role: Role, prefix: str | None) -> None:
    attributes = (await emitted(event(EventKind.EXPIRING_SOON, role, certificate()))).log_record.attributes or {}
    found = {key for key in attributes if key.startswith("tls.")}
    assert found == ({f"{prefix}{key}" for key in SUBJECT | DATES} if prefix else set())


async def test_what_is_unknown_is_absent_and_never_null() -> None:
    slot = Slot(None, Role.SERVER, "gateway")
    announced = ExpiryEvent(EventKind.INVALID, "event-1", slot, NOON, reason=InvalidReason.UNREADABLE)
    record = (await emitted(announced)).log_record
    assert record.attributes == {
        "event": "CertificateInvalid",
        "event_id": "event-1",
        "cert_role": "server",
        "cert_ref": "gateway",
        "message": "Server certificate is not usable: it cannot be read",
        "timestamp": "2026-01-27T12:00:00Z",
        "reason": "unreadable",
    }


async def test_of_a_certificate_with_nothing_but_dates_only_these_are_told() -> None:
    bare = Certificate("ab" * 32, NOON - DAY, NOON + DAY)
    attributes = (await emitted(event(EventKind.EXPIRING_SOON, known=bare))).log_record.attributes or {}
    assert {key for key in attributes if key.startswith("tls.")} == {
        "tls.client.hash.sha256",
        "tls.client.not_after",
        "tls.client.not_before",
    }
    assert None not in attributes.values()
