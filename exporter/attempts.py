"""How an attempt to deliver an event went, and when the next one is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now."""

    after: timedelta | None
    """The receiver asked for no attempt before that; at most an hour."""
    error: str
    """Short; names no URL, header or secret."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Not ever: the same again would have the same answer."""

    error: str


Attempt: TypeAlias = Delivered | Retry | Failed


# 2 to this is more than any two durations here are apart, and not more than a duration can be.
_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait. `random` gives a number from 0 to less than 1, as `random.random` does."""

    random: Callable[[], float]
    first: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(minutes=5)
    window: timedelta = timedelta(days=1)

    def is_over(self, announced_at: datetime, now: datetime) -> bool:
        """Whether no attempt may begin any more: exactly a day after, one may."""
        return now - announced_at > self.window

    def next_at(
        self, attempts: int, announced_at: datetime, now: datetime, after: timedelta | None = None
    ) -> datetime | None:
        """When to try again, `attempts` having failed, the last just now. None: its day would be over.

        The wait is anything up to a bound that doubles with each attempt. What the receiver asked for comes before it,
        so that those who were told to wait equally long do not all come back at once.
        """
        doublings = min(max(attempts, 1) - 1, _MOST_DOUBLINGS)
        bound = min(self.longest, self.first * 2**doublings)
        at = now + (after or timedelta(0)) + bound * self.random()
        return None if self.is_over(announced_at, at) else at
