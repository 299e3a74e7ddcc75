"""Events as lines of the process log."""

from __future__ import annotations

import logging

from exporter.certcheck.events import EventKind, ExpiryEvent

log = logging.getLogger("certgauge.events")

LEVELS = {
    EventKind.EXPIRING_SOON: logging.WARNING,
    EventKind.EXPIRED: logging.ERROR,
    EventKind.RENEWED: logging.INFO,
    EventKind.INVALID: logging.ERROR,
}


class ProcessLogSink:
    """One line an event, its payload as fields."""

    async def emit(self, event: ExpiryEvent) -> bool:
        payload = event.payload()
        # The logging library keeps `message` to itself; it is the line's own.
        message = str(payload.pop("message"))
        log.log(LEVELS[event.kind], "%s", message, extra=payload)
        return True
