"""How long the event loop stands still at most while something is done."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta


async def longest_pause(work: Callable[[], Awaitable[object]]) -> timedelta:
    """Of what stood on the heap before, nothing is counted."""
    gc.collect()
    ticking, done, late = asyncio.Event(), asyncio.Event(), [0.0]

    async def tick() -> None:
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - before - 0.001)
            ticking.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(tick())
        await ticking.wait()
        await work()
        done.set()
    return timedelta(seconds=max(late))
