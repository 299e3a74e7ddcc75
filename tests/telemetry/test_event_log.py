"""The log record of each event, as an exporter gets it, and what is known of the export."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

from exporter import __version__
from exporter.certcheck.certificate import Certificate, InvalidReason
from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.slot import Role, Slot
from exporter.delivery import record_of
from exporter.telemetry.event_log import EventLog
from exporter.telemetry.status import ExportStatus
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


RESOURCE = Resource({"service.name": "edge"})


def exported(*announced: ExpiryEvent) -> tuple[ReadableLogRecord, ...]:
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    assert EventLog(exporter, RESOURCE, ExportStatus("logs")).export([record_of(each) for each in announced])
    return exporter.get_finished_logs()


def emitted(announced: ExpiryEvent) -> ReadableLogRecord:
    (record,) = exported(announced)
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
def test_an_event_has_a_name_and_a_severity_and_its_message_is_the_body(
    kind: EventKind, name: str, severity: SeverityNumber, text: str
) -> None:
    announced = event(kind, known=certificate())
    record = emitted(announced).log_record
    assert (record.event_name, record.severity_number, record.severity_text) == (name, severity, text)
    assert record.body == announced.message == (record.attributes or {})["message"]


def test_the_timestamp_is_that_of_the_event_in_nanoseconds() -> None:
    record = emitted(event(EventKind.EXPIRED, known=certificate(-DAY))).log_record
    assert record.timestamp == int(NOON.timestamp()) * 10**9 + 250_000_000


def test_the_attributes_are_the_payload_and_the_semantic_conventions() -> None:
    announced = event(EventKind.RENEWED, known=certificate())
    record = emitted(announced).log_record
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
def test_the_end_of_the_connection_follows_from_the_role(role: Role, prefix: str | None) -> None:
    attributes = emitted(event(EventKind.EXPIRING_SOON, role, certificate())).log_record.attributes or {}
    found = {key for key in attributes if key.startswith("tls.")}
    assert found == ({f"{prefix}{key}" for key in SUBJECT | DATES} if prefix else set())


def test_what_is_unknown_is_absent_and_never_null() -> None:
    slot = Slot(None, Role.SERVER, "gateway")
    announced = ExpiryEvent(EventKind.INVALID, "event-1", slot, NOON, reason=InvalidReason.UNREADABLE)
    record = emitted(announced).log_record
    assert record.attributes == {
        "event": "CertificateInvalid",
        "event_id": "event-1",
        "cert_role": "server",
        "cert_ref": "gateway",
        "message": "Server certificate is not usable: it cannot be read",
        "timestamp": "2026-01-27T12:00:00Z",
        "reason": "unreadable",
    }


def test_of_a_certificate_with_nothing_but_dates_only_these_are_told() -> None:
    bare = Certificate("ab" * 32, NOON - DAY, NOON + DAY)
    attributes = emitted(event(EventKind.EXPIRING_SOON, known=bare)).log_record.attributes or {}
    assert {key for key in attributes if key.startswith("tls.")} == {
        "tls.client.hash.sha256",
        "tls.client.not_after",
        "tls.client.not_before",
    }
    assert None not in attributes.values()


def test_a_record_says_who_made_it() -> None:
    record = emitted(event(EventKind.EXPIRED, known=certificate(-DAY)))
    scope = record.instrumentation_scope
    assert record.resource == RESOURCE
    assert scope is not None
    assert (scope.name, scope.version) == ("certgauge", __version__)


def test_records_that_are_exported_together_keep_their_order() -> None:
    kinds = [EventKind.EXPIRED, EventKind.RENEWED, EventKind.EXPIRED]
    found = exported(*(event(kind, known=certificate()) for kind in kinds))
    assert [(each.log_record.attributes or {})["event"] for each in found] == kinds


class Scripted(LogRecordExporter):
    """Answers with these results, one after the other; raises those that are exceptions. Keeps what it was given."""

    def __init__(self, *results: LogRecordExportResult | Exception) -> None:
        self.results = list(results)
        self.batches: list[list[str]] = []

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.batches.append([str((each.log_record.attributes or {})["cert_ref"]) for each in batch])
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def shutdown(self) -> None:
        """Nothing to be done."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def test_what_was_not_taken_is_counted_and_is_not_in_the_next_export() -> None:
    exporter = Scripted(LogRecordExportResult.FAILURE, ValueError("canary"), LogRecordExportResult.SUCCESS)
    status = ExportStatus("logs")
    events = EventLog(exporter, RESOURCE, status)
    record = record_of(event(EventKind.EXPIRED, known=certificate(-DAY)))
    assert [events.export([record]) for _ in range(3)] == [False, False, True]
    assert (status.failures, status.last_successful) == (2, True)
    assert exporter.batches == [["orders-client"]] * 3
