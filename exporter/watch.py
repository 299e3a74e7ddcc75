"""Noticing that a file has changed, however it was replaced: written in place, renamed, or its symlink re-pointed."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass

from exporter.sight import Sight, look

INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What to look at."""

    files: Iterable[str]
    globs: Collection[str] = ()
    """Patterns whose matches may come and go."""


async def watch(
    watched: Callable[[], Watched], seen: Sight, changed: Callable[[], Awaitable[None]], stop: asyncio.Event
) -> None:
    """Call `changed` whenever what is watched looks different from the last time, until `stop` is set.

    `seen` is how it looked before it was read first. Looks once a second, off the loop: notifications see neither the
    swap of a mounted secret nor anything on a network file system. `watched` is asked anew each time, off the loop too;
    `changed` must not raise.
    """
    while not await _stopped_within(stop, INTERVAL_SECONDS):
        now = await asyncio.to_thread(lambda: _look(watched()))
        if now != seen:
            # Looked at before it is read: what changes meanwhile is noticed the next time.
            seen = now
            await changed()


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await stop.wait()
    except TimeoutError:
        return False


def _look(watched: Watched) -> Sight:
    return look([*watched.files, *(match for each in watched.globs for match in glob.glob(each, recursive=True))])
