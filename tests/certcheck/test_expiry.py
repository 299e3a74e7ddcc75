from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.certcheck.certificate import Certificate, InvalidReason, Reading
from exporter.certcheck.expiry import (
    ExpiryPolicy,
    State,
    days_remaining,
    days_since_expiry,
    exact_days_remaining,
    judge,
    time_to_change,
)
from tests.certcheck import DAY, MICROSECOND, certificate, fine, unusable
from tests.fakes import NOON

ZERO = timedelta(0)
HOUR = timedelta(hours=1)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def warning(threshold: timedelta, fraction: float | None = None) -> ExpiryPolicy:
    return ExpiryPolicy(warning_threshold=threshold, warning_lifetime_fraction=fraction)


@pytest.mark.parametrize(
    ("threshold", "left", "state"),
    [
        (30 * DAY, 31 * DAY, State.VALID),
        (30 * DAY, 30 * DAY + MICROSECOND, State.VALID),
        (30 * DAY, 30 * DAY, State.EXPIRING),
        (30 * DAY, 30 * DAY - MICROSECOND, State.EXPIRING),
        (30 * DAY, DAY, State.EXPIRING),
        (30 * DAY, MICROSECOND, State.EXPIRING),
        # RFC 5280 section 4.1.2.5: the last instant is still inside the period.
        (30 * DAY, ZERO, State.EXPIRING),
        (30 * DAY, -MICROSECOND, State.EXPIRED),
        (30 * DAY, -400 * DAY, State.EXPIRED),
        (ZERO, MICROSECOND, State.VALID),
        (ZERO, ZERO, State.EXPIRING),
        (ZERO, -MICROSECOND, State.EXPIRED),
        (MICROSECOND, 2 * MICROSECOND, State.VALID),
        (MICROSECOND, MICROSECOND, State.EXPIRING),
        # A threshold longer than the whole period: it is always soon.
        (1000 * DAY, 364 * DAY, State.EXPIRING),
    ],
)
def test_soon_and_expired_begin_at_exact_instants(threshold: timedelta, left: timedelta, state: State) -> None:
    assert judge(fine(left), warning(threshold), NOON) is state


@pytest.mark.parametrize(
    ("since", "state"),
    [
        (-DAY, State.NOT_YET_VALID),
        (-MICROSECOND, State.NOT_YET_VALID),
        (ZERO, State.VALID),
        (MICROSECOND, State.VALID),
    ],
)
def test_validity_begins_with_the_first_instant(since: timedelta, state: State) -> None:
    starts = Reading(certificate(365 * DAY - since))

    assert judge(starts, warning(30 * DAY), NOON) is state


@pytest.mark.parametrize(
    ("lifetime", "fraction", "threshold"),
    [
        (6 * DAY, None, 30 * DAY),
        (6 * DAY, 1 / 3, 2 * DAY),
        (6 * DAY, 0.25, 36 * HOUR),
        (47 * DAY, 1 / 3, 47 * DAY / 3),
        (47 * DAY, 0.5, timedelta(days=23, hours=12)),
        (90 * DAY, 1 / 3, 30 * DAY),
        (398 * DAY, 1 / 3, 30 * DAY),
        (3650 * DAY, 1 / 3, 30 * DAY),
        (3650 * DAY, 0.001, timedelta(days=3, hours=15, minutes=36)),
        (398 * DAY, 0.0, ZERO),
        (6 * DAY, 1.0, 6 * DAY),
    ],
)
def test_the_smaller_of_threshold_and_fraction_of_the_lifetime_counts(
    lifetime: timedelta, fraction: float | None, threshold: timedelta
) -> None:
    policy = warning(30 * DAY, fraction)

    assert policy.threshold(certificate(lifetime=lifetime)) == threshold
    inside, outside = (Reading(certificate(left, lifetime)) for left in (threshold, threshold + MICROSECOND))
    started = certificate(threshold, lifetime).not_before <= NOON
    assert judge(inside, policy, NOON) is (State.EXPIRING if started else State.NOT_YET_VALID)
    assert judge(outside, policy, NOON) is (State.VALID if threshold < lifetime else State.NOT_YET_VALID)


@pytest.mark.parametrize("reason", list(InvalidReason))
def test_what_cannot_be_used_is_unreadable_but_expired_beats_it(reason: InvalidReason) -> None:
    assert judge(unusable(reason), ExpiryPolicy(), NOON) is State.UNREADABLE
    assert judge(unusable(reason, certificate(DAY)), ExpiryPolicy(), NOON) is State.UNREADABLE
    assert judge(unusable(reason, certificate(ZERO)), ExpiryPolicy(), NOON) is State.UNREADABLE
    assert judge(unusable(reason, certificate(-MICROSECOND)), ExpiryPolicy(), NOON) is State.EXPIRED


@pytest.mark.parametrize("now", [FIRST, NOON, LAST])
@pytest.mark.parametrize(("not_before", "not_after"), [(FIRST, FIRST), (FIRST, LAST), (LAST, LAST)])
def test_the_first_and_the_last_year_are_years_like_others(
    now: datetime, not_before: datetime, not_after: datetime
) -> None:
    reading = Reading(Certificate("id", not_before, not_after))
    policy = warning(30 * DAY, 0.5)
    expected = State.EXPIRED if now > not_after else State.NOT_YET_VALID if now < not_before else None

    assert judge(reading, policy, now) is (expected or (State.EXPIRING if now == not_after else State.VALID))
    assert days_remaining(not_after, now) == (not_after - now).days
    assert (time_to_change(reading, policy, now) is None) == (expected is State.EXPIRED)


@pytest.mark.parametrize(
    ("left", "until_change"),
    [
        (100 * DAY, 70 * DAY),
        (30 * DAY + MICROSECOND, MICROSECOND),
        (30 * DAY, 30 * DAY + MICROSECOND),
        (DAY, DAY + MICROSECOND),
        (ZERO, MICROSECOND),
        (-MICROSECOND, None),
        (-DAY, None),
        (366 * DAY, DAY),
        (365 * DAY + MICROSECOND, MICROSECOND),
    ],
)
def test_a_verdict_holds_until_the_next_boundary(left: timedelta, until_change: timedelta | None) -> None:
    assert time_to_change(fine(left), warning(30 * DAY), NOON) == until_change


def test_a_verdict_on_nothing_holds_for_ever() -> None:
    assert time_to_change(unusable(InvalidReason.MISSING), ExpiryPolicy(), NOON) is None


spans = st.timedeltas(-20 * DAY, 400 * DAY) | st.integers(-3, 3).map(MICROSECOND.__mul__)
policies = st.builds(
    ExpiryPolicy,
    warning_threshold=st.timedeltas(ZERO, 500 * DAY) | st.just(ZERO),
    warning_lifetime_fraction=st.none() | st.floats(0, 1),
)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    """Certificates around `NOON`, those that end before they begin included."""
    lifetime = draw(st.timedeltas(-DAY, 800 * DAY))
    reason = draw(st.none() | st.sampled_from(InvalidReason))
    return Reading(certificate(draw(spans), lifetime), reason)


@settings(deadline=None, max_examples=300)
@given(readings(), policies, st.floats(0, 1, exclude_max=True))
def test_a_verdict_does_not_change_before_it_can(reading: Reading, policy: ExpiryPolicy, part: float) -> None:
    change = time_to_change(reading, policy, NOON)
    assert change is None or change > ZERO
    last = 1000 * DAY if change is None else change - MICROSECOND

    verdicts = {judge(reading, policy, NOON + after) for after in (ZERO, part * last, last)}
    assert len(verdicts) == 1


@settings(deadline=None, max_examples=300)
@given(readings(), policies)
def test_following_the_changes_meets_every_verdict_until_the_last(reading: Reading, policy: ExpiryPolicy) -> None:
    now = NOON
    met = [judge(reading, policy, now)]
    while (change := time_to_change(reading, policy, now)) is not None:
        now += change
        met.append(judge(reading, policy, now))

    assert met[-1] is State.EXPIRED
    assert len(met) <= 4


@settings(deadline=None)
@given(st.timedeltas(MICROSECOND, 400 * DAY), policies)
def test_a_certificate_in_use_changes_its_verdict_exactly_then(left: timedelta, policy: ExpiryPolicy) -> None:
    reading = fine(left)
    now = max(NOON, certificate(left).not_before)
    change = time_to_change(reading, policy, now)

    assert change is not None
    assert judge(reading, policy, now + change) is not judge(reading, policy, now)


@pytest.mark.parametrize(
    ("left", "days", "exact"),
    [
        (10 * DAY, 10, 10.0),
        (10 * DAY - MICROSECOND, 9, None),
        (DAY, 1, 1.0),
        (DAY - MICROSECOND, 0, None),
        (12 * HOUR, 0, 0.5),
        (MICROSECOND, 0, None),
        (ZERO, 0, 0.0),
        (-MICROSECOND, -1, None),
        (timedelta(seconds=-1), -1, None),
        (-12 * HOUR, -1, -0.5),
        (-DAY, -1, -1.0),
        (-DAY - MICROSECOND, -2, None),
        (-5 * DAY, -5, -5.0),
    ],
)
def test_days_remaining_are_rounded_down(left: timedelta, days: int, exact: float | None) -> None:
    assert days_remaining(NOON + left, NOON) == days
    assert exact is None or exact_days_remaining(NOON + left, NOON) == exact


@pytest.mark.parametrize(
    ("past", "days"),
    [
        (MICROSECOND, 0),
        (DAY - MICROSECOND, 0),
        (DAY, 1),
        (2 * DAY - MICROSECOND, 1),
        (2 * DAY, 2),
        (400 * DAY, 400),
    ],
)
def test_days_since_expiry_are_whole_days_elapsed(past: timedelta, days: int) -> None:
    assert days_since_expiry(NOON - past, NOON) == days


def test_instants_are_compared_whatever_their_zone() -> None:
    not_after = certificate(ZERO).not_after
    elsewhere = not_after.astimezone(tz=None)

    assert judge(fine(ZERO), ExpiryPolicy(), elsewhere) is State.EXPIRING
    assert judge(fine(ZERO), ExpiryPolicy(), elsewhere + MICROSECOND) is State.EXPIRED
