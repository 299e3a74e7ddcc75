"""Several sinks as one."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.certcheck.events import ExpiryEvent
from exporter.certcheck.ports import EventSink


class FanOut:
    """Gives each event to every sink. If one fails, it is offered again to all: a duplicate is better than a gap."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._sinks = sinks

    async def emit(self, event: ExpiryEvent) -> bool:
        failures: list[Exception] = []
        told = True
        for sink in self._sinks:
            try:
                told = await sink.emit(event) and told
            except Exception as exc:  # the others are to have it all the same
                failures.append(exc)
        if failures:
            raise failures[0]
        return told
