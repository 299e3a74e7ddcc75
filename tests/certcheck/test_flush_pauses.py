"""A flush of many certificates lets everything else go on."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from exporter.certcheck.batcher import ExpiryBatcher
from exporter.certcheck.slot import Observation, Role
from tests.certcheck import fine
from tests.certcheck.test_batcher import Stage

MOST = timedelta(milliseconds=20)


@pytest.fixture
def batcher() -> Iterator[ExpiryBatcher]:
    """It watches forty thousand certificates; the collector is spared, as in the process."""
    stage = Stage()
    stage.inventory.limit = 40_000
    observations = [
        Observation(None, Role.SERVER, (fine(name=f"{number}"),), f"{number}.pem") for number in range(40_000)
    ]
    batcher = stage.batcher(*observations, api_id=None)
    gc.collect()
    gc.freeze()
    yield batcher
    gc.unfreeze()


async def longest_pause(batcher: ExpiryBatcher) -> timedelta:
    """How long the loop stood still at most during a flush."""
    done, late = asyncio.Event(), [0.0]

    async def tick() -> None:
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - before - 0.001)

    async with asyncio.TaskGroup() as group:
        group.create_task(tick())
        await batcher.flush()
        done.set()
    return timedelta(seconds=max(late))


async def test_neither_the_first_flush_nor_a_later_one_stops_the_loop(batcher: ExpiryBatcher) -> None:
    pauses = [await longest_pause(batcher) for _ in range(4)]

    # The first has nothing to forget; and the machine has other things to do as well.
    assert min(pauses[1:]) < MOST
