"""Payloads of every kind of event, with all that one may hold and with the least, for trying out a template."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from exporter.certcheck.certificate import Certificate, InvalidReason
from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.slot import Role, Slot
from exporter.certcheck.usage import User
from exporter.certcheck.users import Users

_NOW = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)
_ID = "0123456789abcdef" * 4


def samples() -> Iterator[dict[str, Any]]:
    """Made up; what they say is of no meaning."""
    for kind in EventKind:
        yield sample(kind).payload()
        yield ExpiryEvent(kind, "sample", Slot(None, Role.SERVER, "sample"), _NOW).payload()


def sample(kind: EventKind) -> ExpiryEvent:
    """An event with every field."""
    certificate = Certificate(
        _ID, _NOW - timedelta(days=365), _NOW + timedelta(days=10), "sample", issuer="CN=Sample CA", serial_number="01"
    )
    slot = Slot("sample", Role.UPSTREAM_SERVER, "sample", "sample.internal", 8443, peer_address="192.0.2.1")
    users = Users.of((User("sample", _NOW, 4711), User("another", _NOW, 0)))
    return ExpiryEvent(kind, "sample", slot, _NOW, certificate, InvalidReason.OTHER, _ID, users)
