"""A sample as text: Prometheus 0.0.4 and OpenMetrics 1.0."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from exporter.durations import BOUNDARIES, Histogram
from exporter.telemetry.family import Family, Labels
from exporter.telemetry.names import Kind

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_LE = [*(repr(float(boundary)) for boundary in BOUNDARIES), "+Inf"]


def content_type(accept: str) -> str:
    """What to answer to an Accept field: OpenMetrics where it is asked for, else the text every scraper reads."""
    return OPENMETRICS if "application/openmetrics-text" in accept else TEXT


def render(families: Iterable[Family], content: str) -> Iterator[bytes]:
    """The exposition, in a piece for each metric. Blocks: 10,000 certificates take tens of milliseconds."""
    openmetrics = content == OPENMETRICS
    for family in families:
        yield "".join(_lines(family, openmetrics=openmetrics)).encode()
    if openmetrics:
        yield b"# EOF\n"


def _lines(family: Family, *, openmetrics: bool) -> Iterator[str]:
    instrument = family.instrument
    name, total = instrument.family, "_total" if instrument.kind is Kind.COUNTER else ""
    # OpenMetrics names the family of a counter without its suffix; the older text names the series.
    described = name if openmetrics else name + total
    yield f"# HELP {described} {instrument.description}\n# TYPE {described} {instrument.kind}\n"
    if openmetrics and instrument.unit == "s":
        yield f"# UNIT {described} seconds\n"
    for labels, value in family:
        if isinstance(value, Histogram):
            yield from _histogram(name, labels, value)
        else:
            yield f"{name}{total}{{{labels.text}}} {value}\n" if labels.text else f"{name}{total} {value}\n"


def _histogram(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    cumulative = list(accumulate(histogram.counts))
    for boundary, count in zip(_LE, cumulative, strict=True):
        yield f'{name}_bucket{{{labels.text},le="{boundary}"}} {count}\n'
    yield f"{name}_sum{{{labels.text}}} {histogram.total}\n"
    yield f"{name}_count{{{labels.text}}} {cumulative[-1]}\n"
