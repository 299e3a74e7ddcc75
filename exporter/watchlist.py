"""Certificates that are only watched: their files followed without being felt, and what has changed handed over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeAlias

from exporter.certcheck.slot import Observation
from exporter.following import Changes, Following, Pace
from exporter.settings import Settings
from exporter.watch import stopped_within
from exporter.watched_file import entries_of

log = logging.getLogger(__name__)

Exchange: TypeAlias = Callable[[Sequence[Observation], Sequence[Observation]], None]
"""Takes what is observed now, and what that stands in place of."""

_START_SLICE_SECONDS = 0.01
_TURN_SECONDS = 0.25
_MOST_NAMED = 10


class Watchlist:
    """Follows the files of a configuration's `watch`, and hands over what changes, a few hundred at a time.

    The file system is asked off the loop, a moment at a time; `exchange` is called on it. `settings` is asked at each
    step: what has changed of the configuration is a difference like that of files.
    """

    def __init__(self, settings: Callable[[], Settings | None], exchange: Exchange, pace: Pace | None = None) -> None:
        self._settings = settings
        self._exchange = exchange
        self._pace = pace or Pace()
        self._following = Following(self._pace)
        self._followed: Settings | None = None

    async def start(self) -> None:
        """Find and read everything, at full speed; for so long that it keeps nobody from serving."""
        self._follow()
        until = monotonic() + self._pace.start
        while not self._following.has_read_all:
            if monotonic() >= until:
                log.warning("watched files are still being read")
                return
            await self._take(self._following.find, _START_SLICE_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop` is set."""
        while not await stopped_within(stop, self._pace.longest if self._following.is_idle else self._following.pause):
            self._follow()
            if self._following.is_idle:
                continue
            try:
                # A thread's turn has its price, so it takes many steps.
                await self._take(self._following.steps, min(self._pace.longest, _TURN_SECONDS))
            except Exception:  # whatever it is, it is of one step: the others go on
                log.exception("following watched files failed")

    def _follow(self) -> None:
        settings = self._settings()
        if settings is not None and settings is not self._followed:
            self._followed = settings
            self._following.follow(entries_of(settings))

    async def _take(self, step: Callable[[float], Changes], seconds: float) -> None:
        changes = await asyncio.to_thread(step, seconds)
        if changes:
            self._exchange(changes.taken, changes.gone)
            _tell(changes)


def _tell(changes: Changes) -> None:
    if changes.ended:
        named = ", ".join(changes.ended[:_MOST_NAMED])
        log.info("watched files are gone", extra={"files": len(changes.ended), "cert_refs": named})


def watched(settings: Settings, tell: Callable[[str], None]) -> tuple[Observation, ...]:
    """What a configuration watches now. Blocks; tells how far it is."""
    following = Following(Pace())
    following.follow(entries_of(settings))
    found: list[Observation] = []
    while not following.has_read_all:
        found += following.find(_TURN_SECONDS).taken
        tell(f"reading watched files: {len(found):,}")
    return tuple(found)
