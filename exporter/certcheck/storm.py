"""How much is said of what others present: enough to know, however fast it changes."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from exporter.certcheck.events import EventKind

MOST = 20
"""Events of one kind, about what is known from handshakes alone, of one API."""

WINDOW = timedelta(hours=1)
"""In which that many may be announced."""


class StormLimit:
    """Lets through so many in a window; an upstream that presents another certificate each time makes no storm."""

    def __init__(self) -> None:
        self._told: dict[tuple[str | None, EventKind], deque[datetime]] = {}

    def allows(self, api_id: str | None, kind: EventKind, now: datetime) -> bool:
        """Whether one more may be announced."""
        told = self._told.get((api_id, kind))
        if told is None:
            return True
        # What is in the future was told before the clock was set back.
        while told and not timedelta(0) <= now - told[0] < WINDOW:
            told.popleft()
        return len(told) < MOST

    def note(self, api_id: str | None, kind: EventKind, now: datetime) -> None:
        """One has been announced."""
        self._told.setdefault((api_id, kind), deque(maxlen=MOST)).append(now)
