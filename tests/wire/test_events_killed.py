"""Certgauge is killed at random moments while it announces, and started again: everything arrives."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from random import Random
from threading import Event

import pytest

from tests.process import wait_until
from tests.wire.events import Receiver, configure, events_logged, issue, receiver, started

EVENTS = 100
KILLS = 4
WITHIN_SECONDS = (0.05, 0.5)
"""Of the first sign that a process announces or delivers: while it writes down, or while it delivers."""
ANSWERED_AFTER_SECONDS = 0.01


def killed_at_random(config: Path, heard: Receiver, wanted: set[str], random: Random) -> bool:
    """Whether something was still to be told when it was killed."""
    log = config.parent / "stderr.log"
    logged, told = events_logged(log), len(heard.told)

    def has_begun(popen: subprocess.Popen[bytes]) -> bool:
        assert popen.poll() is None, log.read_text("utf-8")
        return events_logged(log) > logged or len(heard.told) > told or heard.certificates() >= wanted

    with started(config) as popen:
        wait_until(lambda: has_begun(popen))
        Event().wait(random.uniform(0, random.choice(WITHIN_SECONDS)))
        popen.send_signal(signal.SIGKILL)
        popen.wait()
    return not heard.certificates() >= wanted


def run_of(directory: Path, random: Random) -> tuple[int, int]:
    """How often it was killed before all was told, and how many requests were duplicates."""
    wanted = issue(directory, EVENTS)
    with receiver(pause_seconds=ANSWERED_AFTER_SECONDS) as heard:
        config = configure(directory, directory, {"ops": {"url": f"{heard.url}/ops"}})
        kills = sum(killed_at_random(config, heard, wanted, random) for _ in range(KILLS))
        with started(config):
            heard.wait(lambda: heard.certificates() >= wanted)
        assert heard.certificates() == wanted
        return kills, heard.duplicates()


def told_in_spite_of_kills(directory: Path, runs: int) -> None:
    kills = duplicates = 0
    for number in range(runs):
        killed, twice = run_of(directory / str(number), Random(number))
        kills, duplicates = kills + killed, duplicates + twice
    assert kills >= runs, "it was hardly ever killed in time"
    summary = f"{runs} runs of {EVENTS} events, killed {kills} times before the end: 0 lost, {duplicates} duplicates"
    print(summary)  # noqa: T201 (what was measured)


def test_nothing_is_lost_and_duplicates_have_the_same_id_when_it_is_killed(tmp_path: Path) -> None:
    told_in_spite_of_kills(tmp_path, 3)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_nothing_is_lost_in_fifty_runs(tmp_path: Path) -> None:
    told_in_spite_of_kills(tmp_path, 50)
