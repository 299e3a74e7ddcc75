"""Who uses a certificate, and how much: what breaks with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from exporter.certcheck.inventory import Entry
from exporter.certcheck.usage import User


def users_of(entries: Iterable[Entry], now: datetime) -> tuple[User, ...]:
    """The users of one certificate, from the slots that it is in, busiest first.

    The slots of one API see the same requests, each from its place, so the busiest of them counts.
    """
    users: dict[str | None, User] = {}
    for entry in entries:
        user = User(entry.slot.api_id, entry.usage.used_at(), entry.usage.requests_last_hour(now))
        users[user.api_id] = _both(users.get(user.api_id, user), user)
    return tuple(sorted(users.values(), key=lambda user: (-user.requests_last_hour, user.api_id or "")))


def _both(one: User, other: User) -> User:
    at = max(filter(None, (one.last_observed_at, other.last_observed_at)), default=None)
    return User(one.api_id, at, max(one.requests_last_hour, other.requests_last_hour))
