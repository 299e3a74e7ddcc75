"""How long the event loop stands still at most while something is done."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

_EVERY_SECONDS = 0.001


@dataclass
class Pause:
    """The longest time for which the loop has run nothing else."""

    ms: float = 0.0


@asynccontextmanager
async def longest_pause_ms() -> AsyncIterator[Pause]:
    """Measured from entering to leaving."""
    pause, done = Pause(), asyncio.Event()
    # What all tests before have left on the heap is not walked over for this one.
    gc.collect()
    gc.freeze()

    async def measure() -> None:
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(_EVERY_SECONDS)
            pause.ms = max(pause.ms, 1000 * (time.perf_counter() - before - _EVERY_SECONDS))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(measure())
        await asyncio.sleep(0)
        try:
            yield pause
        finally:
            done.set()
            gc.unfreeze()


async def longest_pause(work: Callable[[], Awaitable[object]]) -> timedelta:
    """While `work` is awaited."""
    async with longest_pause_ms() as pause:
        await work()
    return timedelta(milliseconds=pause.ms)
