"""How exports have gone."""

from __future__ import annotations

import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ExportStatus:
    """How the exports of one signal have gone. The SDK's own counters take HTTP errors for successes."""

    signal: str
    failures: int = 0
    last_successful: bool | None = None
    """None: there was none yet."""

    def record(self, *, successful: bool) -> None:
        """Count one export. Logs when it begins to fail and when it works again."""
        if self.last_successful is not successful and not (successful and self.last_successful is None):
            log.log(
                logging.INFO if successful else logging.WARNING,
                "telemetry export works again" if successful else "telemetry export failed",
                extra={"signal": self.signal},
            )
        self.failures += not successful
        self.last_successful = successful
