"""Rows of the page: the slots of one certificate, as long as they are the same to a person."""

from __future__ import annotations

from datetime import timedelta

import pytest

from exporter.admin.page.rows import Row, groups, row
from exporter.admin.page.words import count, left
from exporter.certcheck.certificate import Certificate, InvalidReason, Reading
from exporter.certcheck.expiry import ExpiryPolicy, State
from exporter.certcheck.inventory import entries_of
from exporter.certcheck.slot import Observation, Role
from tests.authority import DAY
from tests.fakes import NOON

CERTIFICATE = Certificate("0" * 64, NOON - DAY, NOON + 10 * DAY, common_name="shared")


def observed(api_id: str | None, role: Role = Role.UPSTREAM, reading: Reading | None = None) -> Observation:
    return Observation(api_id, role, (reading or Reading(CERTIFICATE),), "ref", f"{api_id}.internal", 443)


def rows(*observations: Observation) -> list[Row]:
    entries = [entry for each in observations for entry in entries_of(each, ExpiryPolicy())]
    return [row(group, NOON) for group in groups(entries, NOON)]


def test_apis_that_share_a_certificate_share_a_row() -> None:
    (shown,) = rows(observed("b"), observed("a"), observed(None))
    assert shown.api_ids == (None, "a", "b")
    assert shown.refs == ("ref",)
    assert shown.places == ("None.internal:443", "a.internal:443", "b.internal:443")


def test_each_role_has_its_own() -> None:
    assert [each.role for each in rows(observed("a", Role.UPSTREAM), observed("a", Role.CA))] == [
        Role.CA,
        Role.UPSTREAM,
    ]


def test_what_one_upstream_refuses_and_another_takes_has_two() -> None:
    refused = observed("b")
    refused.usage.refuse()
    found = rows(observed("a"), refused)
    assert [(each.state, each.api_ids) for each in found] == [(State.EXPIRING, ("a",)), (State.UNREADABLE, ("b",))]
    assert found[1].reason == "the upstream refused it"


def test_requests_of_all_apis_are_summed_and_the_last_use_counts() -> None:
    one, other = observed("a"), observed("b")
    one.usage.requests, other.usage.requests = 3, 4
    one.usage.last_observed_at, other.usage.last_observed_at = NOON - DAY, NOON - timedelta(hours=1)
    (shown,) = rows(one, other)
    assert (shown.requests, shown.used_at) == (7, NOON - timedelta(hours=1))


def test_requests_that_nobody_counts_are_unknown() -> None:
    assert rows(observed("a", Role.CA))[0].requests is None


def test_what_is_only_watched_and_what_its_file_no_longer_holds_are_told() -> None:
    (watched,) = groups(entries_of(observed(None), ExpiryPolicy(), only_watched=True), NOON)
    (used,) = groups(entries_of(observed("a"), ExpiryPolicy()), NOON)
    used.entries[0].file_in_use = False
    assert (row(watched, NOON).only_watched, row(watched, NOON).file_differs) == (True, False)
    assert (row(used, NOON).only_watched, row(used, NOON).file_differs) == (False, True)


def test_what_cannot_be_read_is_named_by_what_is_known() -> None:
    (shown,) = rows(observed("a", reading=Reading(None, InvalidReason.MISSING, "x.pem is missing")))
    assert (shown.name, shown.cert_id, shown.left, shown.not_after) == ("ref", None, "", None)
    assert (shown.reason, shown.detail) == ("a file is missing", "x.pem is missing")


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(seconds=59), "a moment"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(hours=2) - timedelta(seconds=1), "119 min"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(days=2) - timedelta(seconds=1), "47 hours"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=3650), "3,650 days"),
    ],
)
def test_a_length_is_told_in_whole_units(length: timedelta, words: str) -> None:
    assert left(NOON + length, NOON) == words
    assert left(NOON - length, NOON) == f"{words} ago"


@pytest.mark.parametrize(("number", "words"), [(0, "0 days"), (1, "1 day"), (2000, "2,000 days")])
def test_a_count_has_its_plural(number: int, words: str) -> None:
    assert count(number, "day") == words
