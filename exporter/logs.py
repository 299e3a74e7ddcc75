"""The process log: one line an entry, `key=value`, a constant message with facts as fields."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}

_PER_REQUEST = (
    "without completing response",
    "Invalid HTTP request",
    "Unsupported upgrade request",
    "No supported WebSocket library",
)


class LogfmtFormatter(logging.Formatter):
    """`time=2026-01-27T10:30:00.123Z level=INFO logger=exporter.gateway message="API loaded" api_id=orders`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback, where there is one, in its `exception` field."""
        at = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
        fields: dict[str, object] = {"time": at, "level": record.levelname, "logger": record.name}
        fields["message"] = record.getMessage()
        fields.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_value(value)}" for key, value in fields.items() if value is not None)


def configure(level: str) -> None:
    """Send every log line of the process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogfmtFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # At DEBUG these write every request and every handshake; a request's line may hold a token.
    for chatty in ("asyncio", "urllib3", "grpc", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.INFO, logging.getLevelName(level)))
    # Its lines quote endpoints, which may hold credentials; failed exports are counted and logged by our own.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    logging.getLogger("uvicorn.error").addFilter(_is_of_the_process)


def _is_of_the_process(record: logging.LogRecord) -> bool:
    """Whether a line of the server is about more than one request: those are counted, not logged."""
    return not any(text in record.msg for text in _PER_REQUEST)


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        value = json.dumps(value) if any(isinstance(each, dict) for each in value) else ",".join(map(str, value))
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text, ensure_ascii=False)
