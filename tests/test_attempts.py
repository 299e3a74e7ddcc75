"""When a delivery is tried again."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

import pytest

from exporter.attempts import RetryPolicy
from tests.fakes import NOON

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


def policy(random: float = 1.0) -> RetryPolicy:
    """1.0 is what `random()` never quite reaches: the bound itself."""
    return RetryPolicy(lambda: random)


def wait(attempts: int, random: float = 1.0, after: timedelta | None = None) -> timedelta:
    at = policy(random).next_at(attempts, NOON, NOON, after)
    assert at is not None
    return at - NOON


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 64), (8, 128), (9, 256), (10, 300), (11, 300), (10**9, 300)],
)
def test_the_bound_doubles_from_a_second_to_five_minutes(attempts: int, seconds: int) -> None:
    assert wait(attempts) == seconds * SECOND


@pytest.mark.parametrize("attempts", [1, 5, 10, 1000])
@pytest.mark.parametrize("random", [0.0, 0.25, 0.5, 0.999])
def test_the_wait_is_any_part_of_the_bound(attempts: int, random: float) -> None:
    assert wait(attempts, random) == wait(attempts) * random


def test_attempts_are_never_counted_below_one() -> None:
    assert wait(0) == wait(-3) == SECOND


@pytest.mark.parametrize("random", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seconds", [0, 1, 299, 300, 301, 3600])
def test_what_the_receiver_asked_for_is_the_least_and_does_not_end_the_spreading(seconds: int, random: float) -> None:
    assert wait(20, random, seconds * SECOND) == seconds * SECOND + 300 * SECOND * random


@pytest.mark.parametrize(
    ("since", "again"),
    [
        (timedelta(0), True),
        (DAY - 300 * SECOND - TICK, True),
        (DAY - 300 * SECOND, True),
        (DAY - 300 * SECOND + TICK, False),
        (DAY, False),
        (2 * DAY, False),
    ],
)
def test_no_attempt_begins_after_the_day(since: timedelta, again: bool) -> None:  # noqa: FBT001
    at = policy().next_at(20, NOON, NOON + since)
    assert at == (NOON + since + 300 * SECOND if again else None)


@pytest.mark.parametrize(
    ("since", "over"), [(-DAY, False), (timedelta(0), False), (DAY - TICK, False), (DAY, False), (DAY + TICK, True)]
)
def test_the_day_is_over_a_moment_after_it(since: timedelta, over: bool) -> None:  # noqa: FBT001
    assert policy().is_over(NOON, NOON + since) is over


def test_a_retry_after_beyond_the_day_ends_it() -> None:
    assert policy(0).next_at(1, NOON, NOON + DAY - 3600 * SECOND, 3600 * SECOND) == NOON + DAY
    assert policy(0).next_at(1, NOON, NOON + DAY - 3600 * SECOND + TICK, 3600 * SECOND) is None


def test_a_day_of_failures_has_some_hundreds_of_attempts_at_least_once_in_five_minutes() -> None:
    random = Random(7).random
    times: list[datetime] = [NOON]
    while (at := RetryPolicy(random).next_at(len(times), NOON, times[-1])) is not None:
        times.append(at)
    assert 500 < len(times) < 700
    assert max(b - a for a, b in pairwise(times)) <= 300 * SECOND
    assert times[-1] - NOON > DAY - 300 * SECOND
