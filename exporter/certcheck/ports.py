"""What the domain needs from outside, one page: a clock, a memory for cooldowns, a place for events."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeAlias

from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.slot import Observation, Role

Clock: TypeAlias = Callable[[], datetime]
"""The present instant: aware, UTC."""

Observer: TypeAlias = Callable[[Observation | None], None]
"""Takes the sight of a chain in use. O(1), never waits, never raises, whatever it is given."""


LONGEST = timedelta(days=3660)
"""No cooldown is longer; what is asked for beyond that is cut to it."""


class CooldownKey(NamedTuple):
    """One API, role, certificate and event: none of them ever silences another."""

    api_id: str | None
    role: Role
    cert_id: str
    """`cert_ref` where the certificate could not be read."""
    event: EventKind


class CooldownStore(Protocol):
    """Remembers what was announced a short while ago, and what is being announced.

    Every verb is atomic, and may raise anything: callers fail open. A store object is one owner of claims.
    """

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        """Reserve the announcement of `key` for `lease`, unless its cooldown runs or a claim, whoever's, is held.

        Returns the id to announce it under: `event_id`, or that of an earlier claim whose holder let it lapse, so
        that a duplicate can be recognised. None: it was told a short while ago, or is being told.

        A cooldown that would last longer than `cooldown` from now, or has begun in the future, does not run; nor is a
        claim held that would last longer than `lease`, or has begun in the future.
        """
        ...

    async def renew(self, keys: Collection[CooldownKey], lease: timedelta) -> None:
        """Hold on for `lease` from now to this owner's claims that have not lapsed; others are left alone.

        Without keys it changes nothing and asks whether the store is there.
        """
        ...

    async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
        """It was told: the claim ends, whoever's it is, and the cooldown runs from now. Needs no claim."""
        ...

    async def release(self, key: CooldownKey) -> None:
        """Give up this owner's claim, if there is one: nobody was told, and the next may try at once."""
        ...

    async def close(self) -> None:
        """Let go of what the store holds open. Claims stay until they lapse."""
        ...


class EventDeliveryError(Exception):
    """A sink could not take an event now; it should be offered again."""


class EventSink(Protocol):
    """Where announcements go."""

    async def emit(self, event: ExpiryEvent) -> bool:
        """Take an event.

        True: everybody has been told. False: somebody will be, and whoever took it starts the event's cooldown then.

        Raises:
            EventDeliveryError: it was not taken, and is to be offered again.
        """
        ...
