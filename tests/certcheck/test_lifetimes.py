"""Certificates of a week, of the longest lives that public CAs give, and of ten years, one moment around each boundary.

What is expected is written as the story of a life, not worked out as the code does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple

import pytest

from exporter.certcheck.certificate import Certificate, Reading
from exporter.certcheck.expiry import ExpiryPolicy, State, judge, time_to_change
from tests.certcheck import DAY, MICROSECOND, certificate
from tests.fakes import NOON

NOT_YET, VALID, EXPIRING, EXPIRED = State.NOT_YET_VALID, State.VALID, State.EXPIRING, State.EXPIRED

LIFETIMES = [6, 47, 398, 3650]
THRESHOLDS = [0, 14, 30, 36500]
FRACTIONS = [None, 0.0, 0.1, 1 / 3, 1.0]


class Life(NamedTuple):
    """A certificate that is valid from noon on, and how it is to be judged."""

    lifetime: timedelta
    policy: ExpiryPolicy
    warns_for: timedelta
    """How long before its end it is to be expiring."""

    @property
    def ends_at(self) -> datetime:
        return NOON + self.lifetime

    @property
    def soon_at(self) -> datetime:
        return self.ends_at - self.warns_for

    @property
    def reading(self) -> Reading:
        return Reading(Certificate("a" * 64, NOON, self.ends_at, common_name="orders"))

    def states(self) -> list[tuple[datetime, State]]:
        """What it becomes, and the first instant at which it is that."""
        is_valid_first = [(NOON, VALID)] if self.soon_at > NOON else []
        # RFC 5280 section 4.1.2.5: the last instant is inside the period.
        return [*is_valid_first, (max(NOON, self.soon_at), EXPIRING), (self.ends_at + MICROSECOND, EXPIRED)]


def part_of(lifetime: timedelta, fraction: float | None) -> timedelta:
    """In whole numbers; all the lifetimes above can be divided by 30."""
    return {None: timedelta.max, 0.0: timedelta(0), 0.1: lifetime // 10, 1 / 3: lifetime // 3, 1.0: lifetime}[fraction]


def lives() -> Iterator[Life]:
    for days, threshold, fraction in product(LIFETIMES, THRESHOLDS, FRACTIONS):
        lifetime = days * DAY
        policy = ExpiryPolicy(warning_threshold=threshold * DAY, warning_lifetime_fraction=fraction)
        yield Life(lifetime, policy, min(threshold * DAY, part_of(lifetime, fraction)))


def name(life: Life) -> str:
    fraction = life.policy.warning_lifetime_fraction
    part = "no part" if fraction is None else f"{fraction:.2f}"
    return f"{life.lifetime.days}d-{life.policy.warning_threshold.days}d-{part}"


LIVES = list(lives())
ALL = pytest.mark.parametrize("life", LIVES, ids=name)


@ALL
def test_the_state_changes_at_the_very_instant(life: Life) -> None:
    before = NOT_YET
    for at, state in life.states():
        seen = [judge(life.reading, life.policy, at + step) for step in (-MICROSECOND, timedelta(0), MICROSECOND)]
        # Where nothing is expiring but the last instant, that one alone is.
        after = EXPIRED if at == life.ends_at else state
        assert seen == [before, state, after], (at, state)
        before = state


@ALL
def test_the_time_to_the_next_change_is_exact_on_each_side_of_the_last(life: Life) -> None:
    changes = [at for at, _ in life.states()]
    for at, following in zip(changes, [*changes[1:], None], strict=True):
        assert time_to_change(life.reading, life.policy, at - MICROSECOND) == MICROSECOND
        assert time_to_change(life.reading, life.policy, at) == (following and following - at)
        after = at + MICROSECOND
        if after != following:
            assert time_to_change(life.reading, life.policy, after) == (following and following - after)


EARLY = [life for life in LIVES if life.soon_at < NOON]


@pytest.mark.parametrize("life", EARLY, ids=name)
def test_a_threshold_that_begins_before_the_certificate_lets_nothing_begin_sooner(life: Life) -> None:
    for at in (life.soon_at - MICROSECOND, life.soon_at, NOON - MICROSECOND):
        assert judge(life.reading, life.policy, at) is NOT_YET


@pytest.mark.parametrize(
    ("days", "threshold", "fraction", "warns_for"),
    [
        # Six days: the usual thirty would warn from the first moment on; a third of its life is two days.
        (6, 30, None, 30 * DAY),
        (6, 30, 1 / 3, 2 * DAY),
        (6, 14, 0.1, timedelta(hours=14, minutes=24)),
        (6, 36500, 1.0, 6 * DAY),
        (47, 30, None, 30 * DAY),
        (47, 30, 1 / 3, timedelta(days=15, hours=16)),
        (47, 14, 1 / 3, 14 * DAY),
        (47, 14, 0.1, timedelta(days=4, hours=16, minutes=48)),
        (398, 30, 1 / 3, 30 * DAY),
        (398, 30, 0.1, 30 * DAY),
        (398, 36500, 1 / 3, timedelta(days=132, hours=16)),
        (3650, 30, 0.1, 30 * DAY),
        (3650, 36500, 0.1, 365 * DAY),
        (3650, 36500, None, 36500 * DAY),
        (3650, 0, 1.0, timedelta(0)),
        (3650, 36500, 0.0, timedelta(0)),
    ],
)
def test_these_lives_warn_for(days: int, threshold: int, fraction: float | None, warns_for: timedelta) -> None:
    policy = ExpiryPolicy(warning_threshold=threshold * DAY, warning_lifetime_fraction=fraction)
    assert policy.threshold(certificate(lifetime=days * DAY)) == warns_for
