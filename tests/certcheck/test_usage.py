from __future__ import annotations

from datetime import timedelta

import pytest

from exporter.certcheck.usage import Usage
from tests.fakes import NOON

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def used(usage: Usage, requests: int, at: timedelta) -> None:
    """Some requests, and the flush that follows."""
    usage.requests += requests
    usage.mark(NOON + at)


def test_requests_of_the_last_hour_are_counted_before_any_mark() -> None:
    usage = Usage()
    usage.requests += 3

    assert usage.requests_last_hour(NOON) == 3
    assert usage.requests_last_hour(NOON + 100 * HOUR) == 3


def test_requests_are_forgotten_an_hour_after_their_mark() -> None:
    usage = Usage()
    used(usage, 5, timedelta(0))

    assert usage.requests_last_hour(NOON + HOUR - timedelta.resolution) == 5
    assert usage.requests_last_hour(NOON + HOUR) == 0


@pytest.mark.parametrize("every", [timedelta(seconds=30), MINUTE, 7 * MINUTE])
def test_steady_use_is_counted_to_within_five_minutes(every: timedelta) -> None:
    usage = Usage()
    for number in range(3 * HOUR // every):
        used(usage, 10, number * every)
    now = NOON + (3 * HOUR // every - 1) * every

    exact = 10 * (HOUR // every)
    assert exact <= usage.requests_last_hour(now) <= exact + 10 * (5 * MINUTE // every + 1)


def test_what_is_kept_of_a_year_of_use_is_bounded() -> None:
    usage = Usage()
    for minute in range(0, 24 * 60, 1):
        used(usage, 1, minute * MINUTE)

    assert len(usage._marks) <= 14


def test_a_burst_between_two_marks_is_not_lost() -> None:
    usage = Usage()
    used(usage, 1, timedelta(0))
    used(usage, 100, MINUTE)
    used(usage, 0, 6 * MINUTE)

    assert usage.requests_last_hour(NOON + 61 * MINUTE) == 100
    assert usage.requests_last_hour(NOON + 66 * MINUTE) == 0
    used(usage, 7, 201 * MINUTE)
    assert usage.requests_last_hour(NOON + 201 * MINUTE) == 7


def test_a_later_generation_counts_on_and_only_once() -> None:
    before, after = Usage(), Usage()
    used(before, 5, timedelta(0))
    before.requests += 2
    after.requests += 1
    after.take_over(before)
    after.take_over(before)
    after.take_over(after)

    assert after.requests_last_hour(NOON + MINUTE) == 8
    assert after.requests_last_hour(NOON + HOUR) == 3


def test_a_clock_set_back_does_not_stop_the_counting() -> None:
    usage = Usage()
    used(usage, 5, 10 * HOUR)
    used(usage, 5, timedelta(0))

    assert usage.requests_last_hour(NOON) == 10
    assert usage.requests_last_hour(NOON + 11 * HOUR) in {0, 5}


def test_it_was_used_when_it_was_seen_or_when_requests_were_found() -> None:
    usage = Usage()
    assert usage.used_at() is None
    usage.last_observed_at = NOON
    assert usage.used_at() == NOON
    used(usage, 1, MINUTE)
    assert usage.used_at() == NOON + MINUTE
    used(usage, 0, 2 * MINUTE)
    assert usage.used_at() == NOON + MINUTE


def test_a_refusal_is_seen_once_though_it_was_taken_again_at_once() -> None:
    usage = Usage()
    usage.refuse()
    usage.accepted = True
    for _ in range(2):
        usage.mark(NOON)
        assert usage.refused
    usage.mark(NOON + MINUTE)
    assert not usage.refused


def test_a_refusal_lasts_for_as_long_as_nothing_is_taken() -> None:
    usage = Usage(accepted=True)
    usage.refuse()
    for minutes in range(3):
        usage.mark(NOON + minutes * MINUTE)
    assert usage.refused
    usage.accepted = True
    usage.mark(NOON + HOUR)
    assert not usage.refused
