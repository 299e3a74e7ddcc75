"""Event cooldowns: in memory, and what happens when the store that should keep them cannot."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from exporter.certcheck.ports import Clock, CooldownKey, CooldownStore
from exporter.certcheck.tally import ErrorReason, Tally

log = logging.getLogger(__name__)

_MOST_RUNNING = 100_000


class MemoryCooldowns:
    """Cooldowns that end with the process; beyond 100,000 that run, the one that was started first ends early."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[CooldownKey, tuple[datetime, datetime]] = {}
        self._sweep_at = 1024

    async def try_start(self, key: CooldownKey, duration: timedelta) -> bool:
        now = self._clock()
        if key in self._running and _is_running(self._running[key], now):
            return False
        self._sweep(now)
        # Put back last: a dict keeps its order.
        self._running.pop(key, None)
        self._running[key] = (now, now + duration)
        return True

    async def clear(self, key: CooldownKey) -> None:
        self._running.pop(key, None)

    def _sweep(self, now: datetime) -> None:
        # Doubling makes the sweep cheap per entry; what is left is what is really running.
        if len(self._running) >= self._sweep_at:
            self._running = {key: span for key, span in self._running.items() if _is_running(span, now)}
            self._sweep_at = max(1024, 2 * len(self._running))
        if len(self._running) >= _MOST_RUNNING:
            # Clients may present any number of certificates; a repeated warning is a nuisance, no memory an outage.
            del self._running[next(iter(self._running))]


def _is_running(span: tuple[datetime, datetime], now: datetime) -> bool:
    # A clock set back to before the start ends the cooldown: none may last longer than configured.
    started_at, ends_at = span
    return started_at <= now < ends_at


class FailOpenCooldowns:
    """Another store, whose failures are bounded in time, counted, and let the event out.

    While it fails, cooldowns are kept here: a repeated warning is a nuisance, a missing one is an outage, a storm of
    them is both.
    """

    def __init__(
        self, store: CooldownStore, clock: Clock, tally: Tally, timeout: timedelta = timedelta(seconds=1)
    ) -> None:
        self._store = store
        self._local = MemoryCooldowns(clock)
        self._tally = tally
        self._timeout = timeout.total_seconds()
        self.failing = False
        """Whether the store failed when it was last asked."""

    async def try_start(self, key: CooldownKey, duration: timedelta) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                started = await self._store.try_start(key, duration)
        except Exception as exc:  # whatever it is, the event goes out
            self._failed(exc)
            return await self._local.try_start(key, duration)
        self.failing = False
        return started

    async def clear(self, key: CooldownKey) -> None:
        await self._local.clear(key)
        try:
            async with asyncio.timeout(self._timeout):
                await self._store.clear(key)
        except Exception as exc:  # it is counted; the next announcement may be late, not lost
            self._failed(exc)

    def _failed(self, exc: Exception) -> None:
        self.failing = True
        self._tally.error(ErrorReason.COOLDOWN_STORE_FAILED)
        # The type only: a store's message may quote its URL, password and all.
        log.warning("cooldown store failed; using a local cooldown", extra={"error": type(exc).__name__})
