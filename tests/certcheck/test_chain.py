from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from exporter.certcheck.certificate import Certificate, InvalidReason, Reading
from exporter.certcheck.chain import ChainPosition, links
from exporter.certcheck.slot import Role
from tests.certcheck import DAY
from tests.fakes import NOON

LEAF, INTERMEDIATE, ROOT = ChainPosition


def made(subject: str | None, issuer: str | None, *, ca: bool = False, left: timedelta = 30 * DAY) -> Reading:
    end = NOON + left
    return Reading(
        Certificate(
            f"{subject} {end}",
            NOON - DAY,
            end,
            subject=subject,
            issuer=issuer,
            is_ca=ca,
            self_issued=subject is not None and subject == issuer,
        )
    )


HOST, SUB, TOP = made("CN=host", "CN=sub"), made("CN=sub", "CN=top", ca=True), made("CN=top", "CN=top", ca=True)
# As of before X.509 version 3: that it issues others is all that tells.
OLD_SUB, OLD_TOP = made("CN=sub", "CN=top"), made("CN=top", "CN=top")
SELF = made("CN=self", "CN=self")
NAMELESS = made(None, None)
UNREADABLE = Reading(None, InvalidReason.UNREADABLE)


def positions(role: Role, *chain: Reading, first_is_leaf: bool = False) -> list[ChainPosition | None]:
    return [link.position for link in links(role, chain, first_is_leaf=first_is_leaf)]


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ((HOST, SUB, TOP), [LEAF, INTERMEDIATE, ROOT]),
        ((TOP, SUB, HOST), [ROOT, INTERMEDIATE, LEAF]),
        ((SUB, HOST, TOP), [INTERMEDIATE, LEAF, ROOT]),
        ((OLD_TOP, HOST, OLD_SUB), [ROOT, LEAF, INTERMEDIATE]),
        ((SELF,), [LEAF]),
        ((TOP,), [ROOT]),
        ((SUB,), [INTERMEDIATE]),
        ((HOST,), [LEAF]),
        ((NAMELESS,), [LEAF]),
        ((HOST, SELF), [LEAF, LEAF]),
        ((HOST, UNREADABLE, TOP), [LEAF, None, ROOT]),
        ((UNREADABLE,), [None]),
    ],
)
def test_a_position_comes_from_who_issued_whom_and_not_from_the_order(
    chain: tuple[Reading, ...], expected: list[ChainPosition | None]
) -> None:
    assert positions(Role.CLIENT, *chain) == expected


@pytest.mark.parametrize("first", [HOST, SUB, TOP, SELF, NAMELESS, UNREADABLE])
def test_what_is_presented_is_the_leaf_be_it_what_it_may(first: Reading) -> None:
    assert positions(Role.UPSTREAM, first, first_is_leaf=True) == [LEAF]
    assert positions(Role.UPSTREAM, first, TOP, first_is_leaf=True) == [LEAF, ROOT]


@pytest.mark.parametrize(
    ("anchor", "expected"), [(TOP, ROOT), (OLD_TOP, ROOT), (SELF, ROOT), (SUB, INTERMEDIATE), (HOST, LEAF)]
)
def test_an_anchor_that_issued_itself_is_a_root(anchor: Reading, expected: ChainPosition) -> None:
    assert positions(Role.CA, anchor) == [expected]
    assert positions(Role.CA, UNREADABLE, anchor) == [None, expected]


# Superseded.


def superseded(*chain: Reading, first_is_leaf: bool = False) -> list[datetime | None]:
    return [link.superseded_at for link in links(Role.CA, chain, first_is_leaf=first_is_leaf)]


def other(reading: Reading, **changes: object) -> Reading:
    assert reading.certificate is not None
    return Reading(replace(reading.certificate, **changes))  # type: ignore[arg-type]


OLDER, NEWER = made("CN=top", "CN=top", ca=True), made("CN=top", "CN=top", ca=True, left=31 * DAY)


@pytest.mark.parametrize("chain", [(OLDER, NEWER), (NEWER, OLDER), (OLDER, HOST, NEWER)])
def test_the_older_of_two_for_one_name_and_use_is_superseded_from_the_start_of_the_newer(
    chain: tuple[Reading, ...],
) -> None:
    assert superseded(*chain) == [NOON - DAY if each is OLDER else None for each in chain]


def test_a_newer_one_stands_in_only_from_when_it_is_valid() -> None:
    tomorrow, later = other(NEWER, not_before=NOON + DAY), other(NEWER, not_before=NOON + 2 * DAY)

    assert superseded(OLDER, later, tomorrow)[0] == NOON + DAY


@pytest.mark.parametrize(
    "newer",
    [
        OLDER,
        other(NEWER, subject="CN=other"),
        other(NEWER, sans=("another.internal",)),
        other(NEWER, is_ca=False),
        other(NEWER, key_usages=("keyCertSign",)),
        other(NEWER, extended_key_usages=("1.3.6.1.5.5.7.3.1",)),
        Reading(NEWER.certificate, InvalidReason.OTHER),
        UNREADABLE,
    ],
)
def test_what_cannot_do_the_same_supersedes_nothing(newer: Reading) -> None:
    assert superseded(OLDER, newer)[0] is None


def test_names_and_uses_may_be_in_another_order() -> None:
    sans, uses = ("a.internal", "b.internal"), ("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2")
    older = other(OLDER, sans=sans, extended_key_usages=uses)
    newer = other(NEWER, sans=sans[::-1], extended_key_usages=uses[::-1])

    assert superseded(older, newer) == [NOON - DAY, None]


def test_what_is_presented_is_never_superseded_and_neither_is_what_has_no_name() -> None:
    assert superseded(OLDER, NEWER, first_is_leaf=True) == [None, None]
    assert superseded(NEWER, OLDER, first_is_leaf=True) == [None, NOON - DAY]
    nameless = made(None, None, left=31 * DAY)
    assert superseded(NAMELESS, nameless) == [None, None]


@pytest.mark.timeout(10)
def test_in_a_bundle_of_ten_thousand_all_but_the_newest_are_superseded() -> None:
    """Each held against each other would take minutes."""
    bundle = [made("CN=top", "CN=top", ca=True, left=number * DAY) for number in range(10_000)]

    assert superseded(*bundle).count(None) == 1
