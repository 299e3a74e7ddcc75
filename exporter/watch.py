"""Noticing that a file has changed, however it was replaced: written in place, renamed, or its symlink re-pointed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from exporter.sight import Sight, Watched

INTERVAL_SECONDS = 1.0
_REST_SECONDS = 0.3
_MOST_LOOKS = 10


async def watch(watched: Callable[[], Watched], changed: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Call `changed` whenever what is watched looks different from when it was read, until `stop` is set.

    Looks once a second, off the loop: notifications see neither the swap of a mounted secret nor anything on a network
    file system. `watched` is asked each time; `changed` is to read, successfully or not, and must not raise.
    """
    while not await _stopped_within(stop, INTERVAL_SECONDS):
        last = watched()
        now = await asyncio.to_thread(last.look)
        if now != last.sight and not await _at_rest(last, now, stop):
            return
        # Else read meanwhile for another reason: compared with that the next time.
        if watched() is last and now != last.sight:
            await changed()


async def _at_rest(watched: Watched, now: Sight, stop: asyncio.Event) -> bool:
    """Wait until it has looked the same twice, for half a file may be a valid one; False: stopped.

    Bounded: one file that never rests must not hold up all others.
    """
    for _ in range(_MOST_LOOKS):
        if await _stopped_within(stop, _REST_SECONDS):
            return False
        before, now = now, await asyncio.to_thread(watched.look)
        if now == before:
            break
    return True


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await stop.wait()
    except TimeoutError:
        return False
