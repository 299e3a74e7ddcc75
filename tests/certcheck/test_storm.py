from __future__ import annotations

from datetime import timedelta

from exporter.certcheck.events import EventKind
from exporter.certcheck.storm import MOST, WINDOW, StormLimit
from tests.fakes import NOON

INVALID, EXPIRED = EventKind.INVALID, EventKind.EXPIRED


def told(limit: StormLimit, times: int, at: timedelta = timedelta(0)) -> list[bool]:
    """Announce, where it is allowed; whether it was."""
    allowed = []
    for _ in range(times):
        allowed.append(limit.allows("orders", INVALID, NOON + at))
        if allowed[-1]:
            limit.note("orders", INVALID, NOON + at)
    return allowed


def test_so_many_are_let_through_in_a_window_and_as_many_after_it() -> None:
    limit = StormLimit()

    assert told(limit, MOST + 5) == [True] * MOST + [False] * 5
    assert told(limit, 1, WINDOW - timedelta.resolution) == [False]
    assert told(limit, MOST + 1, WINDOW) == [True] * MOST + [False]


def test_one_api_or_kind_holds_back_no_other() -> None:
    limit = StormLimit()
    told(limit, MOST)

    assert limit.allows("billing", INVALID, NOON)
    assert limit.allows(None, INVALID, NOON)
    assert limit.allows("orders", EXPIRED, NOON)


def test_a_clock_set_back_holds_nothing_back_for_long() -> None:
    limit = StormLimit()
    told(limit, MOST, timedelta(days=30))

    assert told(limit, 1) == [True]
