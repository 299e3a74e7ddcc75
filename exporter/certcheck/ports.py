"""What the domain needs from outside, one page: a clock, a memory for cooldowns, a place for events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeAlias

from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.slot import Observation, Role

Clock: TypeAlias = Callable[[], datetime]
"""The present instant: aware, UTC."""

Observer: TypeAlias = Callable[[Observation | None], None]
"""Takes the sight of a chain in use. O(1), never waits, never raises, whatever it is given."""


class CooldownKey(NamedTuple):
    """One API, role, certificate and event: none of them ever silences another."""

    api_id: str | None
    role: Role
    cert_id: str
    """`cert_ref` where the certificate could not be read."""
    event: EventKind


class CooldownStore(Protocol):
    """Remembers what was announced a short while ago."""

    async def try_start(self, key: CooldownKey, duration: timedelta) -> bool:
        """Start the cooldown of `key`; False if one is running. Atomic. May raise anything: callers fail open."""
        ...

    async def clear(self, key: CooldownKey) -> None:
        """End the cooldown of `key`, if there is one."""
        ...


class EventDeliveryError(Exception):
    """A sink could not take an event now; it should be offered again."""


class EventSink(Protocol):
    """Where announcements go."""

    async def emit(self, event: ExpiryEvent) -> None:
        """Deliver.

        Raises:
            EventDeliveryError: it was not taken, and is to be offered again.
        """
        ...
