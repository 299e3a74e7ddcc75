"""A real listener between clients and an upstream that do as they please."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from itertools import count

import pytest
import uvloop
from hypothesis import given, seed, settings

from exporter.proxy.core import CoreFactory
from tests.proxy.fuzz import scenes
from tests.proxy.fuzz_players import play, play_and_leave_nothing
from tests.proxy.fuzz_scenes import Answer, Client, Request, Scene

SECONDS = 30.0
"""For each core."""


# Finding the smallest scene that fails takes its time.
@pytest.mark.timeout(600)
def test_whatever_comes_there_is_no_fault_of_ours_no_hang_and_nothing_is_left(
    core_factory: CoreFactory, caplog: pytest.LogCaptureFixture
) -> None:
    ends_at = time.monotonic() + SECONDS
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # What a loop opens for itself is open from now on.
        runner.run(play(Scene((Client((Request(),)),), (Answer(),)), core_factory))

        @settings(max_examples=20, deadline=None, database=None, print_blob=True)
        @given(scenes)
        def some(scene: Scene) -> None:
            runner.run(play_and_leave_nothing(scene, core_factory))
            assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []

        for number in count(random.randrange(2**32)):
            print(f"seed {number}")  # noqa: T201
            seed(number)(some)()
            if time.monotonic() > ends_at:
                break
