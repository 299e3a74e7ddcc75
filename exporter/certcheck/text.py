"""Text from certificates and file names, made safe for every place it will be shown in, and instants as text."""

from datetime import UTC, datetime

_LONGEST = 256


def printable(text: str) -> str:
    """`text` with control characters and lone surrogates replaced by U+FFFD, at most 256 characters.

    One lone surrogate in one label would make a whole scrape fail.
    """
    return one_line(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


def one_line(text: str) -> str:
    """`text` with control characters and lone surrogates replaced by U+FFFD, whatever its length."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def rfc3339(instant: datetime) -> str:
    """`2026-01-27T10:30:00Z`: whole seconds, UTC."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
