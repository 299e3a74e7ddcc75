"""Events as OpenTelemetry log records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from opentelemetry._logs import Logger, SeverityNumber

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.slot import Role
from exporter.certcheck.text import rfc3339

_NAMES = {
    EventKind.EXPIRING_SOON: ("certificate.expiring_soon", SeverityNumber.WARN, "WARN"),
    EventKind.EXPIRED: ("certificate.expired", SeverityNumber.ERROR, "ERROR"),
    EventKind.RENEWED: ("certificate.renewed", SeverityNumber.INFO, "INFO"),
    EventKind.INVALID: ("certificate.invalid", SeverityNumber.ERROR, "ERROR"),
}

_EPOCH = datetime.fromtimestamp(0, UTC)

# Which end of the connection the certificate belongs to, in the words of the semantic conventions.
_ENDS = {
    Role.UPSTREAM: "client",
    Role.CLIENT: "client",
    Role.UPSTREAM_SERVER: "server",
    Role.SERVER: "server",
}


class OtelLogSink:
    """Emits a log record with an event name; the batch processor behind the logger does the sending."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    async def emit(self, event: ExpiryEvent) -> None:
        name, severity, text = _NAMES[event.kind]
        self._logger.emit(
            event_name=name,
            timestamp=_nanoseconds(event.timestamp),
            severity_number=severity,
            severity_text=text,
            body=event.message,
            attributes={**event.payload(), **_semantic(event)},
        )


def _nanoseconds(instant: datetime) -> int:
    """Since the epoch. A float of seconds would be off by some hundred."""
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


def _semantic(event: ExpiryEvent) -> dict[str, str | int]:
    """`tls.*` and `server.*` of the semantic conventions. What is unknown is absent: the SDK would send null."""
    slot, end = event.slot, _ENDS.get(event.slot.role)
    fields = {"server.address": slot.server_address, "server.port": slot.server_port}
    if end is not None and event.certificate is not None:
        fields |= _tls(f"tls.{end}", event.certificate)
    return {key: value for key, value in fields.items() if value is not None}


def _tls(prefix: str, certificate: Certificate) -> dict[str, str | int | None]:
    return {
        f"{prefix}.subject": certificate.subject,
        f"{prefix}.issuer": certificate.issuer,
        f"{prefix}.hash.sha256": certificate.cert_id.upper(),
        f"{prefix}.not_after": rfc3339(certificate.not_after),
        f"{prefix}.not_before": rfc3339(certificate.not_before),
    }
