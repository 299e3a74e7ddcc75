"""What happens when the store that should keep the cooldowns cannot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from exporter.certcheck.cooldown import MemoryCooldowns
from exporter.certcheck.ports import Clock, CooldownKey, CooldownStore
from exporter.certcheck.tally import ErrorReason, Tally

log = logging.getLogger(__name__)

T = TypeVar("T")

_WRITTEN_AT_ONCE = 10
_MOST_FOUND = 100_000


class _Elsewhere:
    """What others were found to have told: for when the store fails, and each replica would tell it once more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: dict[CooldownKey, tuple[datetime, datetime]] = {}
        """When it was found first, and last; of the 100,000 that were found last."""

    def note(self, key: CooldownKey, cooldown: timedelta, *, told: bool) -> None:
        now = self._clock()
        first_at, _ = self._found.pop(key, (now, now))
        if told:
            self._found[key] = (first_at if first_at <= now < first_at + cooldown else now, now)
        if len(self._found) > _MOST_FOUND:
            del self._found[next(iter(self._found))]

    def was_told(self, key: CooldownKey, lease: timedelta, cooldown: timedelta) -> bool:
        """Whether it was, and its cooldown may still run.

        What was found once may have been a claim, whose holder is gone and has told nobody.
        """
        now = self._clock()
        first_at, last_at = self._found.get(key, (now, now))
        return last_at - first_at > lease and first_at <= now < first_at + cooldown


class FailOpenCooldowns:
    """Another store, whose failures are bounded in time, counted, and let the event out.

    A repeated warning is a nuisance, a missing one is an outage, a storm of them is both. So every claim and cooldown
    of this process is kept here, too, and asked first: what it told it does not tell again, whatever has become of the
    store. What a store that was away may not know is written through when it is back, a little with each call, so that
    other processes do not tell it again either.
    """

    def __init__(
        self, store: CooldownStore, clock: Clock, tally: Tally, timeout: timedelta = timedelta(seconds=5)
    ) -> None:
        self._store = store
        self._local = MemoryCooldowns(clock)
        self._elsewhere = _Elsewhere(clock)
        self._tally = tally
        self._timeout = timeout.total_seconds()
        self._away = False
        self._unwritten: dict[CooldownKey, None] = {}
        self.failing = False
        """Whether the store failed when it was last asked."""

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        proposed = await self._local.claim(key, event_id, lease, cooldown)
        if proposed is None:
            # Where there is nothing new to tell, a store that is back would not be noticed otherwise.
            if self.failing or self._unwritten:
                await self.renew((), lease)
            return None
        try:
            taken = await self._ask(self._store.claim(key, proposed, lease, cooldown))
        except Exception as exc:  # whatever it is, the event goes out
            self._failed(exc)
            taken = None if self._elsewhere.was_told(key, lease, cooldown) else proposed
        except BaseException:
            await self._local.release(key)
            raise
        else:
            self._elsewhere.note(key, cooldown, told=taken is None)
        if taken != proposed:
            await self._local.release(key)
            if taken is not None:
                await self._local.claim(key, taken, lease, cooldown)
        return taken

    async def renew(self, keys: Collection[CooldownKey], lease: timedelta) -> None:
        await self._local.renew(keys, lease)
        await self._tell(self._store.renew(keys, lease))

    async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
        await self._local.start(key, cooldown)
        if not await self._tell(self._store.start(key, cooldown)):
            self._unwritten[key] = None

    async def release(self, key: CooldownKey) -> None:
        await self._local.release(key)
        await self._tell(self._store.release(key))

    async def close(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._store.close()
        except Exception as exc:  # the process ends all the same
            self._failed(exc)

    async def _tell(self, telling: Awaitable[None]) -> bool:
        """Whether the store took it."""
        try:
            await self._ask(telling)
        except Exception as exc:  # it is counted; what the store missed is written through, or lapses
            self._failed(exc)
            return False
        return True

    async def _ask(self, asking: Awaitable[T]) -> T:
        async with asyncio.timeout(self._timeout):
            answer = await asking
        if self.failing:
            log.info("cooldown store is back")
        self.failing = self._away = False
        for key in list(islice(self._unwritten, _WRITTEN_AT_ONCE)):
            if not self.failing:
                await self._write_through(key)
        return answer

    async def _write_through(self, key: CooldownKey) -> None:
        left = self._local.left(key)
        try:
            if left is not None:
                async with asyncio.timeout(self._timeout):
                    await self._store.start(key, left)
        except Exception as exc:  # a later call tries again, and others first
            self._unwritten.pop(key, None)
            self._unwritten[key] = None
            self._failed(exc)
        else:
            self._unwritten.pop(key, None)

    def _failed(self, exc: Exception) -> None:
        self._tally.error(ErrorReason.COOLDOWN_STORE_FAILED)
        if not self.failing:
            # The type only: a store's message may quote its URL, password and all.
            error = type(exc.__cause__ or exc).__name__
            log.warning("cooldown store failed; using a local cooldown", extra={"error": error})
        if isinstance(exc, OSError) and not self._away:
            # It may come back empty.
            self._unwritten = dict.fromkeys(self._local.keys())
        self._away |= isinstance(exc, OSError)
        self.failing = True
