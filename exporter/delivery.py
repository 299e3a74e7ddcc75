"""Who events are delivered to, and an event as it is written down for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

from exporter.attempts import Attempt
from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.ports import CooldownKey
from exporter.outbox import Delivery, Record


class Handler(Protocol):
    """A place besides the log that events go to."""

    at_once: int
    """How many deliveries it takes in one attempt, at most."""

    async def deliver(self, deliveries: Sequence[Delivery], at: datetime) -> Sequence[Attempt]:
        """Try once, in bounded time; how each went. Raises nothing but cancellation."""
        ...

    async def close(self) -> None:
        """End what is open."""
        ...


Routes: TypeAlias = Mapping[str | None, Mapping[EventKind, tuple[str, ...]]]
"""For each API, and None for the gateway's own certificates: the names of those who are told of what."""


def names_in(routes: Routes) -> frozenset[str]:
    """All who are told of anything."""
    return frozenset(name for kinds in routes.values() for names in kinds.values() for name in names)


def record_of(event: ExpiryEvent) -> Record:
    """The event as it is written down."""
    return Record(
        event.event_id,
        event.slot.api_id,
        event.kind,
        event.timestamp,
        event.payload(),
        event.semantic(),
        CooldownKey(event.slot.api_id, event.slot.role, event.identity, event.kind) if event.cooldown else None,
        event.cooldown,
    )
