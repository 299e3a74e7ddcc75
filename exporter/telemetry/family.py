"""One metric with its series."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from exporter.durations import Histogram
from exporter.telemetry.names import Instrument

Value: TypeAlias = float | int | Histogram

_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n"}


class Labels:
    """The attributes of one series, and the text they are in an exposition. Made once, used at every collection."""

    __slots__ = ("attributes", "text")

    def __init__(self, attributes: Mapping[str, str | int | None]) -> None:
        self.attributes = {key: value for key, value in attributes.items() if value is not None}
        """What is unknown is absent."""
        self.text = ",".join(f'{key.replace(".", "_")}="{_escape(str(v))}"' for key, v in self.attributes.items())

    def with_(self, **more: str | None) -> Labels:
        """These and others."""
        return Labels({**self.attributes, **more})


def _escape(text: str) -> str:
    return re.sub(r'[\\"\n]', lambda match: _ESCAPES[match[0]], text)


@dataclass(slots=True)
class Family:
    """One metric with its series: labels and values, each in a list of its own.

    A pair for each of a hundred thousand series would have the garbage collector walk the whole heap at every scrape.
    """

    instrument: Instrument
    labels: list[Labels] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def add(self, labels: Labels, value: Value) -> None:
        """One more series."""
        self.labels.append(labels)
        self.values.append(value)

    def __iter__(self) -> Iterator[tuple[Labels, Value]]:
        return zip(self.labels, self.values, strict=True)

    def __len__(self) -> int:
        return len(self.labels)
