"""Who uses a certificate, and how much: what breaks with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from exporter.certcheck.usage import Usage, User

_MOST_SHOWN = 20


class Users(NamedTuple):
    """All who use one certificate, in short."""

    busiest: tuple[User, ...]
    """At most 20."""
    requests_last_hour: int
    """Of all."""

    @classmethod
    def of(cls, users: tuple[User, ...]) -> Users:
        """Of all, busiest first."""
        return cls(users[:_MOST_SHOWN], sum(user.requests_last_hour for user in users))


def users_of(uses: Iterable[tuple[str | None, Usage]], now: datetime) -> tuple[User, ...]:
    """The users of one certificate, from the slots that it is in, busiest first.

    The slots of one API see the same requests, each from its place, so the busiest of them counts.
    """
    users: dict[str | None, User] = {}
    for api_id, usage in uses:
        user = User(api_id, usage.used_at(), usage.requests_last_hour(now))
        users[api_id] = _both(users.get(api_id, user), user)
    return tuple(sorted(users.values(), key=lambda user: (-user.requests_last_hour, user.api_id or "")))


def _both(one: User, other: User) -> User:
    at = max(filter(None, (one.last_observed_at, other.last_observed_at)), default=None)
    return User(one.api_id, at, max(one.requests_last_hour, other.requests_last_hour))
