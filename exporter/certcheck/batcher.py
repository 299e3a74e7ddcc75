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
from exporter.certcheck.inventory import Entry, Inventory, entries_of
from exporter.certcheck.ports import Clock
from exporter.certcheck.slot import Observation, Role, Slot
from exporter.certcheck.tally import COOLDOWN, ErrorReason, Outcome, Tally

log = logging.getLogger(__name__)

MOST_OBSERVED = 1000
"""Chains of one API that are known from handshakes alone; more are counted as dropped."""

LAST_FLUSH = timedelta(seconds=5)
"""The longest that the last flush may take."""

_Place: TypeAlias = tuple[Role, str | None, str | None, int | None]
"""Where a chain is used: its slots without their position."""

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
        self.entries: list[Entry] = list(configured)
        self._policy = policy
        self._generation = generation
        self._announced = announced
        self._announcer = announcer
        self._inventory = inventory
        self._tally = tally
        self._clock = clock
        self._configured = {entry.usage for entry in self.entries}
        self._observed: set[_Place] = set()
        self._pending: dict[_Place, Observation] = {}
        self._checked: dict[_Distinct, tuple[datetime, datetime]] = {}
        self._stopping = asyncio.Event()

    def observe(self, observation: Observation) -> None:
        """Note a chain in use. O(1); what the API was configured with is judged at every flush anyway."""
        outcome = Outcome.ACCEPTED
        if observation.usage not in self._configured:
            place = _place(observation)
            if place in self._observed or len(self._observed) < MOST_OBSERVED:
                self._observed.add(place)
                self._pending[place] = observation
            else:
                outcome = Outcome.DROPPED
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
        self._record_pending()
        now = self._clock()
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

    def _record_pending(self) -> None:
        pending, self._pending = self._pending, {}
        before = [entry for entry in self.entries if _place(entry.slot) in pending]
        kept = [entry for entry in self.entries if _place(entry.slot) not in pending]
        seen = [each for one in pending.values() for each in entries_of(one, self._policy, self._generation)]
        self.entries = kept + seen
        self._inventory.put(seen)
        # What a shorter chain no longer has.
        self._inventory.forget(before)


def _place(where: Observation | Slot) -> _Place:
    return where.role, where.cert_ref, where.server_address, where.server_port
