"""What states, roles, events and instants are called on the page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from exporter.certcheck.events import EventKind
from exporter.certcheck.expiry import State
from exporter.certcheck.slot import Role
from exporter.outbox import Outcome

_DAY, _HOUR, _MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


class Word(NamedTuple):
    """A word, and the sign before it: nothing is said by colour alone."""

    text: str
    sign: str


STATES = {
    State.EXPIRED: Word("expired", "\N{MULTIPLICATION X}"),
    State.EXPIRING: Word("expiring", "\N{BLACK UP-POINTING TRIANGLE}"),
    State.UNREADABLE: Word("unusable", "\N{CIRCLED DIVISION SLASH}"),
    State.NOT_YET_VALID: Word("not valid yet", "\N{WHITE CIRCLE WITH UPPER RIGHT QUADRANT}"),
    State.VALID: Word("fine", "\N{CHECK MARK}"),
    State.SUPERSEDED: Word("superseded", "\N{ANTICLOCKWISE OPEN CIRCLE ARROW}"),
}
"""In the order in which they need somebody."""

ROLES = {
    Role.UPSTREAM: "upstream",
    Role.UPSTREAM_SERVER: "upstream server",
    Role.CLIENT: "client",
    Role.SERVER: "server",
    Role.CA: "CA",
}

KINDS = {
    EventKind.EXPIRED: Word("expired", STATES[State.EXPIRED].sign),
    EventKind.EXPIRING_SOON: Word("expiring soon", STATES[State.EXPIRING].sign),
    EventKind.INVALID: Word("not usable", STATES[State.UNREADABLE].sign),
    EventKind.RENEWED: Word("renewed", STATES[State.VALID].sign),
}

OUTCOMES = {
    Outcome.DELIVERED: Word("delivered", STATES[State.VALID].sign),
    Outcome.FAILED: Word("failed", STATES[State.EXPIRED].sign),
    Outcome.EXPIRED: Word("given up", STATES[State.EXPIRED].sign),
    Outcome.DROPPED: Word("dropped", STATES[State.EXPIRED].sign),
    None: Word("pending", STATES[State.NOT_YET_VALID].sign),
}


def left(not_after: datetime, now: datetime) -> str:
    """How long it is to an instant, or since: whole units, as many as there are for certain."""
    if now > not_after:
        return f"{_length(now - not_after)} ago"
    return _length(not_after - now)


def _length(length: timedelta) -> str:
    if length >= 2 * _DAY:
        return f"{length // _DAY:,} days"
    if length >= 2 * _HOUR:
        return f"{length // _HOUR} hours"
    if length >= _MINUTE:
        return f"{length // _MINUTE} min"
    return "a moment"


def day(instant: datetime) -> str:
    """`4 Dec 2026`, in UTC."""
    there = instant.astimezone(UTC)
    return f"{there.day} {there:%b %Y}"


def minute(instant: datetime) -> str:
    """`4 Dec 2026 17:05`, in UTC."""
    return f"{day(instant)} {instant.astimezone(UTC):%H:%M}"


def count(number: int, one: str, many: str = "") -> str:
    """`1 certificate`, `3,000 certificates`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
