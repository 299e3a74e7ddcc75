"""A flush of many certificates lets everything else go on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import timedelta

import pytest

from exporter.certcheck.batcher import ExpiryBatcher
from exporter.certcheck.slot import Observation, Role
from tests.certcheck import fine
from tests.certcheck.test_batcher import Stage
from tests.pauses import longest_pause

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


async def test_neither_the_first_flush_nor_a_later_one_stops_the_loop(batcher: ExpiryBatcher) -> None:
    pauses = [await longest_pause(batcher.flush) for _ in range(4)]

    # The first has nothing to forget; and the machine has other things to do as well.
    assert min(pauses[1:]) < MOST
