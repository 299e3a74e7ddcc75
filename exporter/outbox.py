"""Announced, and not yet delivered to everybody: the port of whoever keeps that, and the values that cross it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from exporter.certcheck.events import EventKind
from exporter.certcheck.ports import CooldownKey

MOST_PENDING = 10_000
"""For one handler."""

MOST_EVENTS = 50_000
"""That anybody has still to take."""

MOST_SETTLED = 1_000
"""That are kept to be shown: the newest."""

IMPORTANCE = (EventKind.RENEWED, EventKind.EXPIRING_SOON, EventKind.INVALID, EventKind.EXPIRED)
"""What is dropped first where there is no room stands first."""


class Outcome(StrEnum):
    """How the delivery of an event to a handler ended."""

    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Record:
    """An event as it is written down."""

    event_id: str
    api_id: str | None
    kind: EventKind
    announced_at: datetime
    payload: Mapping[str, Any]
    """JSON: the log record's attributes, a webhook's body."""
    semantic: Mapping[str, str | int]
    """Further attributes of the log record."""
    key: CooldownKey | None
    """What to start a cooldown of when it is settled. None: of nothing."""
    cooldown: timedelta


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one handler."""

    record: Record
    handler: str
    """`otlp`; `API_ID/NAME`; `/NAME` for one of the gateway's."""
    attempts: int
    next_at: datetime
    error: str = ""
    """Of the last attempt: short, never a URL or a field's value."""
    outcome: Outcome | None = None
    """None: pending."""
    settled_at: datetime | None = None


class Outbox(Protocol):
    """Every verb is atomic, takes bounded time, and raises nothing: what cannot be written down is kept in memory."""

    async def put(self, record: Record, handlers: Collection[str]) -> list[Delivery]:
        """Write an event down: durable when this returns, unless the store is failing.

        Idempotent by `event_id`: the first record stays, and only handlers that it did not have are added. Returns what
        was dropped to make room, which may be of this event: the least important kind first, then the oldest.
        """
        ...

    async def due(self, handler: str, now: datetime, limit: int) -> list[Delivery]:
        """What is to be attempted now, longest due first.

        What would be due in more than a day is due: the clock was wrong when it was written down.
        """
        ...

    async def next_at(self, handler: str) -> datetime | None:
        """When something is due next, or was. None: nothing is pending."""
        ...

    async def attempted(self, deliveries: Collection[Delivery]) -> list[Record]:
        """Write down how attempts went; durable as in `put`. What is settled or not known stays as it is.

        Returns the records that this has settled: no handler has still to take them.
        """
        ...

    async def settled(self, event_ids: Collection[str]) -> list[Record]:
        """Those of these events that no handler has still to take.

        For what was dropped, and for an event that was put again because its cooldown had not been started.
        """
        ...

    async def pending(self) -> list[Record]:
        """What some handler has still to take, for its claim to be renewed."""
        ...

    def backlog(self) -> Mapping[str, int]:
        """How much is pending for each handler that has something pending. May be called from any thread."""
        ...

    async def recent(self, limit: int, api_id: str | None = None) -> list[tuple[Record, list[Delivery]]]:
        """Events, pending or not, newest first, with their deliveries by handler; of one API, or of all."""
        ...

    async def close(self) -> None:
        """Wait, for a bounded time, until everything is written down."""
        ...
