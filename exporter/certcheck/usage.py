"""How much a chain is used on the wire, by whom, and when it last was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from exporter.certcheck.text import rfc3339

_HOUR = timedelta(hours=1)
_RESOLUTION = timedelta(minutes=5)


class _Mark(NamedTuple):
    at: datetime
    requests: int


@dataclass(slots=True, eq=False)
class Usage:
    """Written by a plain attribute write for each request; read by the gauges, on another thread."""

    last_observed_at: datetime | None = None
    """By traffic or in a handshake."""
    requests: int = 0
    """That depended on it, ever."""
    refused: bool = False
    """The other end has refused it, and not taken it since; stays for one `mark()`, so that a flush sees it."""
    accepted: bool = False
    """The other end has taken it since it was refused last."""
    active_at: datetime | None = None
    """The last time that `mark()` found more requests than before."""
    _marks: tuple[_Mark, ...] = ()
    _counted: int = 0
    _took_over: bool = False
    _refusal_marked_at: datetime | None = None

    def refuse(self) -> None:
        """Note that the other end refuses it. Of several behind one address, another one may take it at once."""
        self.refused, self.accepted, self._refusal_marked_at = True, False, None

    def mark(self, now: datetime) -> None:
        """Note how far the count has come; to be called now and then, by one thread. Of one `now`, once is enough."""
        if self.refused and self._refusal_marked_at is None:
            self._refusal_marked_at = now
        elif self.accepted and self._refusal_marked_at != now:
            self.refused = False
        if self.requests != self._counted:
            self._counted = self.requests
            self.active_at = now
        if self.requests != self._marked() and not self._marked_lately(now):
            # Of what is older than an hour, the newest is needed: the count was that much then.
            recent = [each for each in self._marks if now - each.at < _HOUR]
            older = [each for each in self._marks if now - each.at >= _HOUR]
            self._marks = (*older[-1:], *recent, _Mark(now, self.requests))

    def _marked(self) -> int:
        return self._marks[-1].requests if self._marks else 0

    def _marked_lately(self, now: datetime) -> bool:
        # A mark of the future: the clock was set back.
        return bool(self._marks) and timedelta(0) <= now - self._marks[-1].at < _RESOLUTION

    def requests_last_hour(self, now: datetime) -> int:
        """To within five minutes, where `mark()` is called as often."""
        before = [each.requests for each in self._marks if now - each.at >= _HOUR]
        return self.requests - (before[-1] if before else 0)

    def take_over(self, previous: Usage) -> None:
        """Go on counting where another left off: the same place, before a reload or a renewal. Once."""
        if self._took_over or previous is self:
            return
        self._took_over = True
        self.requests += previous.requests
        self._counted += previous._counted
        self._marks = previous._marks
        self.active_at = self.active_at or previous.active_at

    def used_at(self) -> datetime | None:
        """When it was last known to be used, be it in a handshake or by a request over an open connection."""
        return max(filter(None, (self.last_observed_at, self.active_at)), default=None)


class User(NamedTuple):
    """An API that uses a certificate, or the gateway itself."""

    api_id: str | None
    last_observed_at: datetime | None
    requests_last_hour: int

    def shown(self) -> dict[str, Any]:
        """As in events and in `/certs`. What is unknown is absent."""
        fields = {
            "api_id": self.api_id,
            "last_observed_at": self.last_observed_at and rfc3339(self.last_observed_at),
            "requests_last_hour": self.requests_last_hour,
        }
        return {key: value for key, value in fields.items() if value is not None}
