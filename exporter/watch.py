"""Noticing that a file has changed, however it was replaced: written in place, renamed, or its symlink re-pointed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from exporter.sight import Sight, Watched

INTERVAL_SECONDS = 1.0
_REST_SECONDS = 0.3
_MOST_LOOKS = 10
_BREATH_SECONDS = 0.005


async def watch(watched: Callable[[], Watched], changed: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Call `changed` whenever what is watched looks different from when it was read, until `stop` is set.

    Looks once a second, off the loop: notifications see neither the swap of a mounted secret nor anything on a network
    file system. `watched` is asked each time; `changed` is to read, successfully or not, and must not raise.
    """
    while not await stopped_within(stop, INTERVAL_SECONDS):
        last = watched()
        now = await _look(last)
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
        if await stopped_within(stop, _REST_SECONDS):
            return False
        before, now = now, await _look(watched)
        if now == before:
            break
    return True


async def _look(watched: Watched) -> Sight:
    """How it looks now, part by part: thousands of looks in a row would be felt by the requests meanwhile."""
    sight: Sight = {}
    parts = watched.parts()
    while part := await asyncio.to_thread(next, parts, None):
        sight |= part
        await asyncio.sleep(_BREATH_SECONDS)
    return sight


async def stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    """Wait until `stop` is set; False: it was not within this time."""
    try:
        async with asyncio.timeout(seconds):
            return await stop.wait()
    except TimeoutError:
        return False
