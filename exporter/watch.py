"""Noticing that a file has changed, however it was replaced: written in place, renamed, or its symlink re-pointed."""

from __future__ import annotations

import asyncio
import glob
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

INTERVAL_SECONDS = 1.0

_Sight = dict[str, tuple[int, int, int, int] | None]


@dataclass(frozen=True, slots=True)
class Watched:
    """What to look at."""

    files: Iterable[str]
    globs: Iterable[str] = ()
    """Patterns whose matches may come and go."""


async def watch(watched: Callable[[], Watched], changed: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Call `changed` whenever what is watched looks different from the last time, until `stop` is set.

    Looks once a second, off the loop, following symlinks: notifications see neither the swap of a mounted secret's
    `..data` nor anything on a network file system. `watched` is asked anew each time; `changed` must not raise.
    """
    seen = await asyncio.to_thread(_look, watched())
    while not await _stopped_within(stop, INTERVAL_SECONDS):
        now = await asyncio.to_thread(_look, watched())
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


def _look(watched: Watched) -> _Sight:
    matches = (match for pattern in watched.globs for match in glob.iglob(pattern, recursive=True))
    return {path: _signature(path) for path in (*watched.files, *matches)}


def _signature(path: str) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev
