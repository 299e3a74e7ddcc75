"""One API's batcher: collects what is seen in use, and at every flush judges what the API uses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TypeAlias

from exporter.certcheck.announcer import Announced, Announcer
from exporter.certcheck.certificate import InvalidReason
from exporter.certcheck.expiry import ExpiryPolicy, judge, time_to_change
from exporter.certcheck.inventory import Entry, Inventory
from exporter.certcheck.ports import Clock
from exporter.certcheck.sightings import MOST_OBSERVED, Sightings
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import COOLDOWN, ErrorReason, Outcome, Tally

log = logging.getLogger(__name__)

LAST_FLUSH = timedelta(seconds=5)
"""The longest that the last flush may take."""

_Distinct: TypeAlias = tuple[Role, str, InvalidReason | None]
"""A certificate in a role; one that cannot be used is told from the same one that can."""


class ExpiryBatcher:
    """Judges the certificates of one API, or of the gateway, and lets their events out.

    `observe()` collects, `run()` flushes at once, every interval, and a last time after `stop()`. Whoever runs it
    awaits it; it starts nothing itself.
    """

    def __init__(
        self,
        api_id: str | None,
        policy: ExpiryPolicy,
        configured: Iterable[Entry],
        *,
        generation: int,
        announced: Announced,
        announcer: Announcer,
        inventory: Inventory,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self.api_id = api_id
        self._policy = policy
        self._configured = list(configured)
        self._configured_usages = {entry.usage for entry in self._configured}
        self._sightings = Sightings(policy, generation)
        self._announced = announced
        self._announcer = announcer
        self._inventory = inventory
        self._tally = tally
        self._clock = clock
        self._checked: dict[_Distinct, tuple[datetime, datetime]] = {}
        self._stopping = asyncio.Event()

    @property
    def entries(self) -> list[Entry]:
        """What the API was configured with, and what it was seen to use."""
        return self._configured + self._sightings.entries

    def observe(self, observation: Observation) -> None:
        """Note a chain in use. O(1); what the API was configured with is judged at every flush anyway."""
        is_configured = observation.usage in self._configured_usages
        outcome = Outcome.ACCEPTED if is_configured or self._sightings.note(observation) else Outcome.DROPPED
        self._tally.observations[self.api_id, observation.role, outcome] += 1

    async def run(self) -> None:
        """Flush until stopped, and once more. Contains its own failures, so that no batcher can end another."""
        interval = self._policy.flush_interval.total_seconds()
        while not self._stopping.is_set():
            await self._flush_safely()
            try:
                async with asyncio.timeout(interval):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        try:
            async with asyncio.timeout(LAST_FLUSH.total_seconds()):
                await self._flush_safely()
        except TimeoutError:
            self._tally.error(ErrorReason.FLUSH_TIMEOUT)
            log.error("last flush took too long and was ended", extra={"api_id": self.api_id})

    def stop(self) -> None:
        """Ask `run()` to flush a last time and return."""
        self._stopping.set()

    async def flush(self) -> None:
        """Judge every distinct certificate in use whose check cooldown is over, and announce what there is to say."""
        now = self._clock()
        self._record_sightings(now)
        groups: dict[_Distinct, list[Entry]] = {}
        for entry in self.entries:
            if not entry.superseded:
                groups.setdefault((entry.slot.role, entry.identity, entry.reading.invalid), []).append(entry)
        # Before the first wait, so that what is no longer used leaves no cooldown behind.
        self._checked = {key: span for key, span in self._checked.items() if key in groups}
        for key, entries in groups.items():
            try:
                await self._check(key, entries, now)
            except Exception as exc:  # one certificate must not keep the others from being judged
                self._failed(exc)

    async def _flush_safely(self) -> None:
        try:
            await self.flush()
        except Exception as exc:  # the loop must survive: the next flush judges the same certificates again
            self._failed(exc)

    def _failed(self, exc: Exception) -> None:
        self._tally.error(ErrorReason.FLUSH_FAILED)
        log.error("flush failed", exc_info=exc, extra={"api_id": self.api_id})

    async def _check(self, key: _Distinct, entries: list[Entry], now: datetime) -> None:
        if self._is_cooling(key, now):
            self._tally.checks[self.api_id, COOLDOWN] += 1
            return
        state = judge(entries[0].reading, self._policy, now)
        self._tally.checks[self.api_id, state] += 1
        if await self._announcer.announce(entries, state, self._announced, now):
            self._checked[key] = (now, now + self._check_cooldown(entries[0], now))

    def _is_cooling(self, key: _Distinct, now: datetime) -> bool:
        checked_at, until = self._checked.get(key, (now, now))
        # A clock set back to before the check ends the cooldown.
        return checked_at <= now < until

    def _check_cooldown(self, entry: Entry, now: datetime) -> timedelta:
        change = time_to_change(entry.reading, self._policy, now)
        cooldown = self._policy.check_cooldown
        return cooldown if change is None else min(cooldown, change)

    def _record_sightings(self, now: datetime) -> None:
        settled = self._sightings.settle(now)
        self._inventory.put(settled.taken)
        self._inventory.forget(settled.gone)
        for entry in settled.excess:
            self._tally.observations[self.api_id, entry.slot.role, Outcome.DROPPED] += 1
        self._limit_announced()

    def _limit_announced(self) -> None:
        """A client that stays away may come back renewed, so what was said of it is kept; but not of any number."""
        held = {entry.slot for entry in self._sightings.entries}
        gone = [slot for slot in self._announced if slot.cert_name is not None and slot not in held]
        for slot in gone[:-MOST_OBSERVED]:
            del self._announced[slot]
