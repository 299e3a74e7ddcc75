"""What a person sees in a terminal, and a pipe does not: colour, lines that fit, and how far long work has come."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Self, TextIO, TypeVar

from exporter.certcheck.expiry import State

T = TypeVar("T")

# ECMA-48. The words say the same: nobody has to see colours.
_STYLES = {
    State.EXPIRED: "1;31",
    State.UNREADABLE: "1;35",
    State.EXPIRING: "33",
    State.NOT_YET_VALID: "36",
    State.SUPERSEDED: "2",
}
_FIRST_AFTER_SECONDS, _EVERY_SECONDS = 0.3, 0.1


@dataclass(frozen=True, slots=True)
class Screen:
    """How a table is to be shown. A pipe has neither colour nor a width."""

    colour: bool = False
    width: int | None = None

    @classmethod
    def of(cls, stream: TextIO, environment: Mapping[str, str]) -> Self:
        """That of a stream. `NO_COLOR` (no-color.org) and `TERM=dumb` turn colour off."""
        if not stream.isatty():
            return cls()
        colour = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        return cls(colour, shutil.get_terminal_size().columns)


def aligned(lines: Sequence[Sequence[str]], screen: Screen = Screen()) -> Iterator[str]:
    """Lines of cells, equally many in each, as columns. A first cell that is a state has its colour."""
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        if screen.width is not None and len(text) > screen.width:
            text = text[: screen.width - 1] + "…"
        style = _STYLES.get(line[0]) if screen.colour else None  # type: ignore[call-overload] # a StrEnum is text
        yield text if style is None else f"\033[{style}m{line[0]}\033[0m{text[len(line[0]) :]}"


class Progress:
    """One line that is written over again and again, while a terminal is there to see it; gone in the end."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._shows_at = clock() + _FIRST_AFTER_SECONDS if stream.isatty() else float("inf")
        self._is_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._is_shown:
            self._write("")

    def tell(self, text: str) -> None:
        """Show this, unless something was shown a moment ago."""
        now = self._clock()
        if now >= self._shows_at:
            self._shows_at = now + _EVERY_SECONDS
            self._is_shown = True
            self._write(text)

    def _write(self, text: str) -> None:
        # From the first column, over what was there before.
        self._stream.write(f"\r\033[K{text}")
        self._stream.flush()


def counted(items: Sequence[T], what: str, tell: Callable[[str], None]) -> Iterator[T]:
    """The items, telling of each as it is taken: `reading APIs: 17 of 5,000`."""
    for number, item in enumerate(items, 1):
        tell(f"{what}: {number:,} of {len(items):,}")
        yield item
