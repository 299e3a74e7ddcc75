from __future__ import annotations

from datetime import timedelta

import pytest

from exporter.steady import SteadyClock
from tests.fakes import NOON, FakeClock

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def after(*jumps: timedelta) -> timedelta:
    """How far from noon it is when the wall clock has moved so, looked at each time."""
    wall = FakeClock()
    steady = SteadyClock(wall)
    steady()
    for jump in jumps:
        wall.advance(jump)
        now = steady()
    return now - NOON


@pytest.mark.parametrize(
    ("jumps", "at"),
    [
        ((SECOND,), SECOND),
        ((HOUR,), HOUR),
        ((-HOUR,), timedelta(0)),
        ((-HOUR, SECOND, SECOND), 2 * SECOND),
        ((-HOUR, -HOUR), timedelta(0)),
        # Wrong before, by more than anybody waits.
        ((-HOUR, -HOUR, -SECOND), -2 * HOUR - SECOND),
        ((timedelta(days=30), timedelta(days=-30)), timedelta(0)),
        # Put right again.
        ((-HOUR, HOUR + SECOND), SECOND),
    ],
)
def test_a_clock_that_is_set_back_a_little_makes_it_no_earlier(jumps: tuple[timedelta, ...], at: timedelta) -> None:
    assert after(*jumps) == at
