"""The next 90 days, drawn and told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from exporter.admin.page.rows import groups
from exporter.admin.page.timeline import Timeline, timeline
from exporter.certcheck.certificate import Certificate, InvalidReason, Reading
from exporter.certcheck.expiry import ExpiryPolicy, State
from exporter.certcheck.inventory import Entry, entries_of
from exporter.certcheck.slot import Observation, Role
from tests.authority import DAY
from tests.fakes import NOON


def entry(name: str, left: timedelta, threshold: timedelta = 30 * DAY) -> Entry:
    certificate = Certificate(name, NOON - 400 * DAY, NOON + left, common_name=name)
    return entries_of(Observation("orders", Role.CLIENT, (Reading(certificate),)), ExpiryPolicy(threshold))[0]


def of(*entries: Entry) -> Timeline:
    return timeline(groups(entries, NOON), NOON)


@pytest.mark.parametrize(
    ("left", "bars"),
    [
        (-timedelta(seconds=1), 0),
        (timedelta(0), 1),
        (90 * DAY - timedelta(seconds=1), 1),
        (90 * DAY, 0),
    ],
)
def test_what_expires_in_less_than_90_days_is_drawn(left: timedelta, bars: int) -> None:
    assert len(of(entry("a", left)).bars) == bars


def test_a_bar_tells_its_day_and_its_shade() -> None:
    near, far = of(entry("a", 10 * DAY), entry("b", 60 * DAY)).bars
    assert (near.x, near.state, near.title) == (
        "11.11%",
        State.EXPIRING,
        "6 Feb 2026: 1 certificate within the threshold",
    )
    assert (far.x, far.state, far.title) == ("66.67%", State.VALID, "28 Mar 2026: 1 certificate")


def test_what_cannot_be_used_is_shaded_by_its_date_like_others() -> None:
    broken = entry("a", 10 * DAY)
    broken.reading = replace(broken.reading, invalid=InvalidReason.OTHER)
    (bar,) = of(broken).bars
    assert bar.state is State.EXPIRING


def test_no_bar_is_higher_than_the_picture() -> None:
    days = [entry(f"{n}", n * DAY) for n in range(4)]
    drawn = of(*days, *(entry(f"x{n}", 5 * DAY) for n in range(999)), entry("not warned of", 5 * DAY, DAY))
    assert len(drawn.bars) == 6
    assert all(bar.y >= 0 and bar.y + bar.height <= drawn.height for bar in drawn.bars)


def test_a_few_have_their_names_beside_them_and_many_have_not() -> None:
    assert [label.text for label in of(entry("a", DAY), entry("b", DAY)).labels] == ["a and 1 more, 1 day"]
    assert [label.anchor for label in of(entry("a", DAY), entry("b", 80 * DAY)).labels] == ["start", "end"]
    assert of(*(entry(f"{n}", n * DAY) for n in range(5))).labels == ()


def test_a_long_name_is_cut() -> None:
    (label,) = of(entry("a" * 256, DAY)).labels
    assert label.text == f"{'a' * 27}…, 1 day"


def test_weeks_are_told_with_the_first_names() -> None:
    (first, last) = of(*(entry(name, DAY) for name in "abcd"), entry("e", 89 * DAY)).weeks
    assert (first.first, first.last, first.number, first.warned) == ("27 Jan 2026", "2 Feb 2026", 4, 4)
    assert first.names == ("a", "b", "c")
    assert (last.first, last.last, last.warned) == ("21 Apr 2026", "26 Apr 2026", 0)


def test_what_something_newer_stands_in_for_is_not_drawn() -> None:
    old = entry("old", DAY)
    old.superseded_at = NOON
    assert of(old).summary == "Nothing expires in the next 90 days."
