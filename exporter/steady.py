"""The present, for what waits: a clock that is set back a little holds nothing up."""

from __future__ import annotations

from datetime import datetime, timedelta

from exporter.certcheck.ports import Clock

_MOST = timedelta(hours=2)


class SteadyClock:
    """The wall clock, made up for where it was set back by at most two hours.

    What is to be tried again would wait for as long. A clock that is set back by more was wrong before, and what it
    said is not held on to; nor is it where the clock catches up by itself.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: datetime | None = None
        self._set_back = timedelta(0)

    def __call__(self) -> datetime:
        """The present, aware, UTC."""
        clock = self._clock()
        passed = clock - self._seen if self._seen is not None else timedelta(0)
        self._seen = clock
        if passed < timedelta(0):
            self._set_back -= passed
        if passed > self._set_back or self._set_back > _MOST:
            self._set_back = timedelta(0)
        return clock + self._set_back
