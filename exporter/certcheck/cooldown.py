"""Event cooldowns in memory."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from exporter.certcheck.ports import LONGEST, Clock, CooldownKey

_MOST_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class _Entry:
    """A claim, or, without an owner, a cooldown."""

    started_at: datetime
    ends_at: datetime
    kept_until: datetime
    """How long a claim's `event_id` is remembered."""
    owner: str = ""
    event_id: str = ""

    def runs(self, now: datetime, longest: timedelta = LONGEST) -> bool:
        # A clock set back must not prolong it: none may last longer than configured.
        return self.started_at <= now < self.ends_at and self.ends_at - now <= longest


class MemoryCooldowns:
    """Cooldowns that end with the process; of more than 100,000 the one that was put there first ends early."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._owner = str(uuid.uuid4())
        self._entries: dict[CooldownKey, _Entry] = {}
        self._sweep_at = 1024

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        now = self._clock()
        entry = self._entries.get(key)
        if entry and entry.runs(now, lease if entry.owner else cooldown):
            return None
        if entry and entry.owner:
            event_id = entry.event_id
        ends_at = now + _within_reason(lease)
        self._put(key, _Entry(now, ends_at, ends_at + _within_reason(cooldown), self._owner, event_id), now)
        return event_id

    async def renew(self, keys: Collection[CooldownKey], lease: timedelta) -> None:
        now = self._clock()
        for key in keys:
            entry = self._entries.get(key)
            if entry and entry.owner == self._owner and entry.runs(now):
                kept = entry.kept_until - entry.ends_at
                ends_at = now + _within_reason(lease)
                self._put(key, replace(entry, started_at=now, ends_at=ends_at, kept_until=ends_at + kept), now)

    async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
        now = self._clock()
        ends_at = now + _within_reason(cooldown)
        self._put(key, _Entry(now, ends_at, ends_at), now)

    async def release(self, key: CooldownKey) -> None:
        entry = self._entries.get(key)
        if entry and entry.owner == self._owner:
            del self._entries[key]

    async def close(self) -> None:
        """There is nothing to let go of."""

    def left(self, key: CooldownKey) -> timedelta | None:
        """How long the cooldown of `key` still runs. None: it does not run."""
        now = self._clock()
        entry = self._entries.get(key)
        return entry.ends_at - now if entry and not entry.owner and entry.runs(now) else None

    def keys(self) -> Collection[CooldownKey]:
        """Every key that is kept, also where nothing runs any more."""
        return self._entries.keys()

    def _put(self, key: CooldownKey, entry: _Entry, now: datetime) -> None:
        # Put back last: a dict keeps its order.
        self._entries.pop(key, None)
        self._sweep(now)
        self._entries[key] = entry

    def _sweep(self, now: datetime) -> None:
        # Doubling makes the sweep cheap per entry; what is left is what is really needed.
        if len(self._entries) >= self._sweep_at:
            entries = self._entries.items()
            self._entries = {key: each for key, each in entries if each.started_at <= now < each.kept_until}
            self._sweep_at = max(1024, 2 * len(self._entries))
        if len(self._entries) >= _MOST_KEPT:
            # Clients may present any number of certificates; a repeated warning is a nuisance, no memory an outage.
            del self._entries[next(iter(self._entries))]


def _within_reason(duration: timedelta) -> timedelta:
    return min(duration, LONGEST)
