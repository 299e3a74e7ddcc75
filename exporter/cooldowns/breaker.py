"""When not to ask a server: after failures in a row nobody waits for it but one who tries, now and then."""

from __future__ import annotations

from collections.abc import Callable

FAILURES = 3
"""In a row: it opens."""

PROBE_SECONDS = 5.0
"""While it is open one may ask, this long after the last one did."""


class ServerAwayError(ConnectionError):
    """The server failed a moment ago, and is not asked now."""


class Breaker:
    """Counts failures. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._probe_at = 0.0

    def admit(self) -> None:
        """Let one ask, who then says how it went.

        Raises:
            ServerAwayError: it is not asked now.
        """
        if self._failures < FAILURES:
            return
        now = self._clock()
        if now < self._probe_at:
            raise ServerAwayError("the server is away")
        self._probe_at = now + PROBE_SECONDS

    def succeeded(self) -> None:
        """It has answered, whatever the answer."""
        self._failures = 0

    def failed(self) -> None:
        """It has not."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._probe_at = self._clock() + PROBE_SECONDS
