"""Events and deliveries as rows, and back: whatever a disk gives back is checked before it is believed."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from exporter.certcheck.events import EventKind
from exporter.certcheck.ports import CooldownKey
from exporter.certcheck.slot import Role
from exporter.certcheck.text import printable
from exporter.outbox import Delivery, Outcome, Record

Row: TypeAlias = tuple[int | str, ...]

LONGEST = timedelta(days=10 * 366)
"""No cooldown is configured to be longer."""

_MOST_ATTEMPTS = 1_000_000
_LARGEST = 1024 * 1024
_HIGHEST = 2**62


class RowError(ValueError):
    """A row holds what was never written."""


def sealed(*values: int | str) -> Row:
    """A row with a checksum behind its values: a page with a flipped bit passes SQLite's own checks."""
    return (*values, _checksum(values))


def unsealed(row: Sequence[Any]) -> tuple[Any, ...]:
    """The values of a row.

    Raises:
        RowError: they are not those that were written.
    """
    *values, checksum = row
    if not all(isinstance(each, int | str) for each in values) or _checksum(values) != checksum:
        raise RowError
    return tuple(values)


def record_row(number: int, record: Record) -> Row:
    """Also of what JSON does not know: a field that reads oddly is better than an event that is lost."""
    body = {
        "event_id": record.event_id,
        "api_id": record.api_id,
        "kind": record.kind,
        "announced_at": record.announced_at.isoformat(),
        "payload": dict(record.payload),
        "semantic": dict(record.semantic),
        "key": list(record.key) if record.key else None,
        "cooldown": record.cooldown.total_seconds(),
    }
    return sealed(number, json.dumps(body, default=str))


def record_of(row: Sequence[Any]) -> tuple[int, Record]:
    """Raises RowError."""
    number, text = unsealed(row)
    match parsed(text):
        case {
            "event_id": str(event_id),
            "api_id": str() | None as api_id,
            "kind": str(kind),
            "announced_at": str(announced_at),
            "payload": dict(payload),
            "semantic": dict(semantic),
            "key": list() | None as key,
            "cooldown": int() | float() as cooldown,
        } if 0 < number < _HIGHEST and all(isinstance(each, str | int) for each in semantic.values()):
            try:
                found_key = None if key is None else key_of(key)
                times = instant(announced_at), duration(cooldown)
                return number, Record(
                    event_id, api_id, EventKind(kind), times[0], payload, semantic, found_key, times[1]
                )
            except ValueError:
                raise RowError from None
        case _:
            raise RowError


def delivery_row(number: int, delivery: Delivery) -> Row:
    """Without its event, whose number it has."""
    body = {
        "attempts": min(delivery.attempts, _MOST_ATTEMPTS),
        "next_at": delivery.next_at.isoformat(),
        "error": printable(delivery.error),
        "outcome": delivery.outcome,
        "settled_at": delivery.settled_at.isoformat() if delivery.settled_at else None,
    }
    return sealed(number, delivery.handler, json.dumps(body))


def delivery_of(row: Sequence[Any], record: Record) -> Delivery:
    """Raises RowError."""
    _, handler, text = unsealed(row)
    match parsed(text):
        case {
            "attempts": int(attempts),
            "next_at": str(next_at),
            "error": str(error),
            "outcome": str() | None as outcome,
            "settled_at": str() | None as settled_at,
        } if 0 <= attempts <= _MOST_ATTEMPTS and isinstance(handler, str):
            try:
                ended = None if outcome is None else Outcome(outcome)
                ended_at = None if settled_at is None else instant(settled_at)
                return Delivery(
                    record, sys.intern(handler), attempts, instant(next_at), printable(error), ended, ended_at
                )
            except ValueError:
                raise RowError from None
        case _:
            raise RowError


def key_of(values: Sequence[Any]) -> CooldownKey:
    """Raises ValueError."""
    match values:
        case [str() | None as api_id, str(role), str(cert_id), str(event)]:
            return CooldownKey(api_id, Role(role), cert_id, EventKind(event))
        case _:
            raise RowError


def instant(text: str) -> datetime:
    """Raises ValueError."""
    found = datetime.fromisoformat(text)
    # Room on both sides, for sums with what is configured.
    if found.tzinfo is None or not 1971 <= found.year <= 9000:
        raise RowError
    return found


def duration(seconds: float) -> timedelta:
    """Raises RowError."""
    if not 0 <= seconds <= LONGEST.total_seconds():
        raise RowError
    return timedelta(seconds=seconds)


def _checksum(values: Sequence[Any]) -> int:
    return zlib.crc32(json.dumps(values).encode())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Thousands of events have the same keys: once in memory is enough.
    return {sys.intern(key): value for key, value in pairs}


def parsed(text: Any) -> Any:
    """Raises RowError."""
    if not isinstance(text, str) or len(text) > _LARGEST:
        raise RowError
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise RowError from None
