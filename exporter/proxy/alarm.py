"""A deadline that moves with almost every message, on one timer that seldom does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `ring` once the deadline has passed. Moving the deadline later, or clearing it, costs an assignment."""

    __slots__ = ("_due_at", "_loop", "_ring", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._due_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, seconds: float) -> None:
        """Ring so many seconds from now, and not before."""
        self._due_at = due_at = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer_at <= due_at:
                return
            self._timer.cancel()
        self._timer_at = due_at
        self._timer = self._loop.call_at(due_at, self._look)

    def clear(self) -> None:
        """Do not ring."""
        self._due_at = None

    def close(self) -> None:
        """Do not ring, and leave no timer behind."""
        self._due_at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._due_at is None:
            return
        # A timer may be early by less than its resolution.
        if self._loop.time() + 0.001 < self._due_at:
            self._timer_at = self._due_at
            self._timer = self._loop.call_at(self._due_at, self._look)
            return
        self._due_at = None
        self._ring()
