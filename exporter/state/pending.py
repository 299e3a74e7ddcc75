"""What one handler has still to take: what is due, and what would be dropped first."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from datetime import datetime, timedelta

from exporter.certcheck.events import EventKind
from exporter.outbox import IMPORTANCE

# Nothing is tried for longer than a day, so nothing waits longer than that.
_LONGEST_WAIT = timedelta(days=1)
_AFTER_ALL = 2**63


class ByImportance:
    """Sequence numbers by the kind of their event, lowest first; lists, for nothing is longer than some 10,000."""

    def __init__(self) -> None:
        self._kinds: dict[EventKind, list[int]] = {kind: [] for kind in IMPORTANCE}

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values()))

    def add(self, kind: EventKind, number: int) -> None:
        insort(self._kinds[kind], number)

    def remove(self, kind: EventKind, number: int) -> None:
        numbers = self._kinds[kind]
        del numbers[bisect_left(numbers, number)]

    def least(self) -> int:
        """Of the least important kind there is, the oldest event."""
        return next(numbers for numbers in self._kinds.values() if numbers)[0]

    def numbers(self) -> list[int]:
        """In the order of the events."""
        return sorted(number for numbers in self._kinds.values() for number in numbers)


class Pending:
    """The sequence numbers of what one handler has still to take."""

    def __init__(self) -> None:
        self.by_importance = ByImportance()
        self._times: list[tuple[datetime, int]] = []

    def __len__(self) -> int:
        return len(self._times)

    def add(self, kind: EventKind, number: int, next_at: datetime) -> None:
        self.by_importance.add(kind, number)
        insort(self._times, (next_at, number))

    def remove(self, kind: EventKind, number: int, next_at: datetime) -> None:
        self.by_importance.remove(kind, number)
        del self._times[bisect_left(self._times, (next_at, number))]

    def move(self, number: int, before: datetime, after: datetime) -> None:
        """The same, due at another time: as old as it was."""
        del self._times[bisect_left(self._times, (before, number))]
        insort(self._times, (after, number))

    def due(self, now: datetime, limit: int) -> list[int]:
        """At most `limit`, the longest due first, and last what cannot have been meant for that far ahead."""
        found = self._times[: min(limit, bisect_right(self._times, (now, _AFTER_ALL)))]
        beyond = bisect_right(self._times, (now + _LONGEST_WAIT, _AFTER_ALL))
        return [number for _, number in (*found, *self._times[beyond : beyond + limit - len(found)])]

    def next_at(self) -> datetime:
        return self._times[0][0]
