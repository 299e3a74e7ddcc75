"""What `put` has acknowledged is there after kill -9, at whatever moment that comes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import NOON
from tests.state import NAME, opened
from tests.state.killed import HANDLERS

EVENTS = 100
# A line for each put, each delivery, each settling.
LINES = EVENTS * (1 + 2 * len(HANDLERS))


def run(file: Path, lines: int) -> list[tuple[str, ...]]:
    """What a process has said that was killed when it had said this much."""
    command = [sys.executable, "-m", "tests.state.killed", str(file), str(EVENTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [tuple(line.decode().split()) for line in said]


async def lost_and_twice(file: Path, said: list[tuple[str, ...]]) -> tuple[int, int]:
    """How many acknowledged events are not there any more; how many deliveries would be made a second time."""
    async with opened(file) as state:
        known = {record.event_id for record, _ in await state.outbox.recent(2 * EVENTS)}
        pending = {
            (delivery.record.event_id, handler)
            for handler in HANDLERS
            for delivery in await state.outbox.due(handler, NOON, 2 * EVENTS)
        }
    acknowledged = {name for what, name, *_ in said if what == "put"}
    settled = {(name, handler) for what, name, *handlers in said if what == "settled" for handler in handlers}
    delivered = {(name, handler) for what, name, *handlers in said if what == "delivered" for handler in handlers}
    assert not settled & pending
    return len(acknowledged - known), len(delivered & pending)


@pytest.mark.parametrize("runs", [5, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path, runs: int) -> None:
    chance, acknowledged, lost, twice = random.Random(runs), 0, 0, 0
    for number in range(runs):
        file = tmp_path / str(number) / NAME
        file.parent.mkdir()
        said = run(file, chance.randrange(1, LINES))
        acknowledged += sum(what == "put" for what, *_ in said)
        counted = await lost_and_twice(file, said)
        lost, twice = lost + counted[0], twice + counted[1]
    print(f"{runs} runs: {acknowledged} events acknowledged, {lost} lost, {twice} deliveries twice")  # noqa: T201

    assert lost == 0
    assert acknowledged > runs
