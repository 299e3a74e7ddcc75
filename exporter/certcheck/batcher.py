"""One API's batcher: collects what is seen in use, and at every flush judges what the API uses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar
from zlib import crc32

from exporter.certcheck.announcer import Announced, Announcer
from exporter.certcheck.certificate import InvalidReason
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import Entry, Inventory
from exporter.certcheck.ports import Clock
from exporter.certcheck.sightings import MOST_OBSERVED, Sightings
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import COOLDOWN, ErrorReason, Outcome, Tally

log = logging.getLogger(__name__)

T = TypeVar("T")

LAST_FLUSH = timedelta(seconds=5)
"""The longest that the last flush may take."""

_AT_ONCE = 100

_Distinct: TypeAlias = tuple[tuple[object, ...], InvalidReason | None]
"""A certificate in a role, and whatever its state depends on: one that cannot be used is told from one that can."""

_Span: TypeAlias = tuple[datetime, datetime]
"""When a check was made, and until when none is made again."""


class ExpiryBatcher:
    """Judges the certificates of one API, or of the gateway, and lets their events out.

    `observe()` collects, `run()` flushes at once, every interval, and a last time after `stop()`. Whoever runs it
    awaits it; it starts nothing itself.
    """

    def __init__(
        self,
        api_id: str | None,
        policy: ExpiryPolicy,
        configured: Mapping[Observation, list[Entry]],
        sightings: Mapping[Role, Sightings],
        *,
        announced: Announced,
        announcer: Announcer,
        inventory: Inventory,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self.api_id = api_id
        self.unfit: list[Entry] = []
        """What files hold now and was not taken, for it cannot be used: announced, but in no slot."""
        self._policy = policy
        self._configured = configured
        self._sightings = sightings
        self._announced = announced
        self._announcer = announcer
        self._inventory = inventory
        self._tally = tally
        self._clock = clock
        self._checked: dict[_Distinct, _Span] = {}
        self._stopping = asyncio.Event()

    @property
    def sighted(self) -> list[Entry]:
        """What the API was seen to use besides what it was configured with."""
        return [entry for each in self._sightings.values() for entry in each.entries]

    @property
    def entries(self) -> list[Entry]:
        """What the API is configured with, and what it was seen to use."""
        configured = [entry for entries in self._configured.values() for entry in entries]
        return configured + self.sighted

    def observe(self, observation: Observation) -> None:
        """Note a chain in use. O(1); what the API was configured with is judged at every flush anyway."""
        accepted = observation in self._configured or self._note(observation)
        outcome = Outcome.ACCEPTED if accepted else Outcome.DROPPED
        self._tally.observations[self.api_id, observation.role, outcome] += 1

    async def run(self) -> None:
        """Flush until stopped, and once more. Contains its own failures, so that no batcher can end another."""
        interval = self._policy.flush_interval.total_seconds()
        # The second flush comes earlier, for each API at another time: thousands are loaded together, and would go on
        # to flush together.
        wait = interval * (0.5 + crc32((self.api_id or "").encode()) / 2**33)
        while not self._stopping.is_set():
            await self._flush_safely()
            try:
                async with asyncio.timeout(wait):
                    await self._stopping.wait()
            except TimeoutError:
                wait = interval
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
        for chunk in _chunks(self.entries):
            _group(chunk, groups, now)
            await asyncio.sleep(0)
        unfit: dict[_Distinct, list[Entry]] = {}
        _group(self.unfit, unfit, now)
        # What is no longer used leaves no cooldown behind.
        self._checked, before = {}, self._checked
        for keys in _chunks(list(groups)):
            for key in keys:
                await self._check_safely(key, groups[key], self._announced, now, before.get(key))
            # Twenty thousand in one go would hold up every request.
            await asyncio.sleep(0)
        in_use = {entry.slot: entry.cert_id for entries in unfit.values() for entry in self._in_their_place(entries)}
        for key, entries in unfit.items():
            said: Announced = {}
            await self._check_safely(key, entries, said, now, before.get(key))
            # A good one will be the renewal of what is in use now.
            for slot in said.keys() & in_use.keys():
                self._announced.setdefault(slot, in_use[slot])

    def _in_their_place(self, unfit: list[Entry]) -> list[Entry]:
        slots = {entry.slot for entry in unfit}
        return [entry for entry in self.entries if entry.slot in slots]

    def _note(self, observation: Observation) -> bool:
        sightings = self._sightings.get(observation.role)
        return sightings is not None and sightings.note(observation)

    async def _flush_safely(self) -> None:
        try:
            await self.flush()
        except Exception as exc:  # the loop must survive: the next flush judges the same certificates again
            self._failed(exc)

    def _failed(self, exc: Exception) -> None:
        self._tally.error(ErrorReason.FLUSH_FAILED)
        log.error("flush failed", exc_info=exc, extra={"api_id": self.api_id})

    async def _check_safely(
        self, key: _Distinct, entries: list[Entry], announced: Announced, now: datetime, last: _Span | None
    ) -> None:
        try:
            await self._check(key, entries, announced, now, last)
        except Exception as exc:  # one certificate must not keep the others from being judged
            self._failed(exc)

    async def _check(
        self, key: _Distinct, entries: list[Entry], announced: Announced, now: datetime, last: _Span | None
    ) -> None:
        # A clock set back to before the check ends the cooldown.
        if last is not None and last[0] <= now < last[1]:
            self._checked[key] = last
            self._tally.checks[self.api_id, COOLDOWN] += 1
            return
        state = entries[0].state(now)
        self._tally.checks[self.api_id, state] += 1
        if await self._announcer.announce(entries, state, announced, now):
            self._checked[key] = (now, now + self._check_cooldown(entries, now))

    def _check_cooldown(self, entries: list[Entry], now: datetime) -> timedelta:
        changes = (entry.time_to_change(now) for entry in entries)
        return min([self._policy.check_cooldown, *(each for each in changes if each is not None)])

    def _record_sightings(self, now: datetime) -> None:
        for sightings in self._sightings.values():
            settled = sightings.settle(now)
            self._inventory.put(settled.taken)
            self._inventory.forget(settled.gone)
            for entry in settled.excess:
                self._tally.observations[self.api_id, entry.slot.role, Outcome.DROPPED] += 1
        self._limit_announced()

    def _limit_announced(self) -> None:
        """What stays away may come back renewed, so what was said of it is kept; but not of any number."""
        held = {entry.slot for entry in self.sighted}
        gone = [slot for slot in self._announced if slot.cert_ref is None and slot not in held]
        for slot in gone[:-MOST_OBSERVED]:
            del self._announced[slot]


def _chunks(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


def _group(entries: Iterable[Entry], groups: dict[_Distinct, list[Entry]], now: datetime) -> None:
    """Put together what is one certificate in one role, in the same state."""
    for entry in entries:
        entry.usage.mark(now)
        if not entry.gone:
            groups.setdefault((entry.judged_as, entry.invalid), []).append(entry)
