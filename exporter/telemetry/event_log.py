"""Events as OpenTelemetry log records, exported with a result that can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

from exporter import __version__
from exporter.certcheck.events import EventKind
from exporter.outbox import Record
from exporter.telemetry.status import ExportStatus

_NAMES = {
    EventKind.EXPIRING_SOON: ("certificate.expiring_soon", SeverityNumber.WARN, "WARN"),
    EventKind.EXPIRED: ("certificate.expired", SeverityNumber.ERROR, "ERROR"),
    EventKind.RENEWED: ("certificate.renewed", SeverityNumber.INFO, "INFO"),
    EventKind.INVALID: ("certificate.invalid", SeverityNumber.ERROR, "ERROR"),
}

_EPOCH = datetime.fromtimestamp(0, UTC)


class EventLog:
    """Exports events, as many as it is given, and tells whether they were taken.

    Not by way of the SDK's batches: what those cannot export they drop, and nobody is told.
    """

    def __init__(self, exporter: LogRecordExporter, resource: Resource, status: ExportStatus) -> None:
        self._exporter = exporter
        self._status = status
        self._collected = _Collected()
        provider = LoggerProvider(resource, shutdown_on_exit=False)
        provider.add_log_record_processor(self._collected)
        self._logger = provider.get_logger("certgauge", __version__)
        self._exporting = Lock()

    def export(self, records: Sequence[Record]) -> bool:
        """Whether the collector has taken all of them. Blocks for as long as the exporter tries."""
        with self._exporting:
            for each in records:
                self._emit(each)
            try:
                successful = self._exporter.export(self._collected.take()) is LogRecordExportResult.SUCCESS
            except Exception:  # whatever the library says, it was not taken
                successful = False
        self._status.record(successful=successful)
        return successful

    def shutdown(self) -> None:
        """End an export that is under way, and make no other."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _emit(self, record: Record) -> None:
        name, severity, text = _NAMES[record.kind]
        self._logger.emit(
            event_name=name,
            timestamp=_nanoseconds(record.announced_at),
            severity_number=severity,
            severity_text=text,
            body=str(record.payload["message"]),
            attributes={**record.payload, **record.semantic},
        )


class _Collected(LogRecordProcessor):
    """Keeps what the SDK makes of a record, for an export that is ours."""

    def __init__(self) -> None:
        self._records: list[ReadableLogRecord] = []

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        resource = log_record.resource or Resource.get_empty()
        scope, limits = log_record.instrumentation_scope, log_record.limits
        self._records.append(ReadableLogRecord(log_record.log_record, resource, scope, limits))

    def take(self) -> list[ReadableLogRecord]:
        records, self._records = self._records, []
        return records

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 the library's signature
        return True


def _nanoseconds(instant: datetime) -> int:
    """Since the epoch. A float of seconds would be off by some hundred."""
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000
