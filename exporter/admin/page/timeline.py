"""What expires in the next 90 days: a bar for each day, and the weeks in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from exporter.admin.page.rows import Group
from exporter.admin.page.words import count, day
from exporter.certcheck.expiry import State, days_remaining

DAYS = 90
_DAY = timedelta(days=1)
_HIGHEST = 72
_LEAST_OF_A_SCALE = 2
_MOST_LABELS = 4
_LABEL_HEIGHT = 18
_LONGEST_LABEL = 28
_MOST_NAMES = 3
_SHADES = {State.EXPIRING: " within the threshold", State.VALID: ""}


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of a day's column: percent of the width, pixels of the height, both from the top left."""

    x: str
    y: int
    height: int
    state: State
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A text at a place of the width."""

    x: str
    y: int
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Week:
    """Seven days, or what is left of the 90."""

    first: str
    last: str
    number: int
    warned: int
    """How many of them are within their thresholds."""
    names: tuple[str, ...]
    """The first of them to expire."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it, as it is drawn and as it is told."""

    bars: tuple[Bar, ...]
    labels: tuple[Mark, ...]
    ticks: tuple[Mark, ...]
    weeks: tuple[Week, ...]
    height: int
    summary: str


def timeline(every: Iterable[Group], now: datetime) -> Timeline:
    """Of those that are valid now, or will be, and that nothing stands in for."""
    days: dict[int, list[Group]] = {}
    for group in every:
        if group.not_after is None or group.state is State.SUPERSEDED:
            continue
        left = days_remaining(group.not_after, now)
        if 0 <= left < DAYS:
            days.setdefault(left, []).append(group)
    labels = _labels(days) if 0 < len(days) <= _MOST_LABELS else ()
    base = len(labels) * _LABEL_HEIGHT + _HIGHEST
    return Timeline(
        tuple(_bars(days, base, now)),
        labels,
        tuple(_ticks(base, now)),
        tuple(_weeks(days, now)),
        base,
        _summary(days),
    )


def _bars(days: dict[int, list[Group]], base: int, now: datetime) -> Iterator[Bar]:
    scale = max([_LEAST_OF_A_SCALE, *map(len, days.values())])
    for at, found in sorted(days.items()):
        y = base
        date = day(now + at * _DAY)
        for state, number in sorted(Counter(_shade(group, now) for group in found).items(), reverse=True):
            # A day with one certificate is seen beside one with a thousand.
            height = max(4, round(_HIGHEST * number / scale))
            y -= height
            yield Bar(_percent(at), max(y, 0), height, state, f"{date}: {count(number, 'certificate')}{_SHADES[state]}")


def _shade(group: Group, now: datetime) -> State:
    """By the date alone: what cannot be used expires as well."""
    first = group.entries[0]
    certificate = first.reading.certificate
    warned = certificate is not None and certificate.not_after - now <= first.policy.threshold(certificate)
    return State.EXPIRING if warned else State.VALID


def _labels(days: dict[int, list[Group]]) -> tuple[Mark, ...]:
    """One below the other, so that none covers another."""
    return tuple(
        Mark(_percent(at + 0.5), _LABEL_HEIGHT * number + 13, _label(found, at), "start" if at < DAYS // 2 else "end")
        for number, (at, found) in enumerate(sorted(days.items()))
    )


def _label(found: Sequence[Group], at: int) -> str:
    name = found[0].name
    name = name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
    more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
    return f"{name}{more}, {count(at, 'day')}"


def _ticks(base: int, now: datetime) -> Iterator[Mark]:
    for at, anchor in ((0, "start"), (30, "middle"), (60, "middle"), (90, "end")):
        date = now + at * _DAY
        yield Mark(_percent(at), base + 16, "today" if at == 0 else f"{date.day} {date:%b}", anchor)


def _weeks(days: dict[int, list[Group]], now: datetime) -> Iterator[Week]:
    for start in range(0, DAYS, 7):
        end = min(start + 7, DAYS)
        found = [group for at in range(start, end) for group in days.get(at, ())]
        if found:
            names = tuple(dict.fromkeys(group.name for group in found[: _MOST_NAMES * 4]))[:_MOST_NAMES]
            warned = sum(_shade(group, now) is State.EXPIRING for group in found)
            yield Week(day(now + start * _DAY), day(now + (end - 1) * _DAY), len(found), warned, names)


def _summary(days: dict[int, list[Group]]) -> str:
    within = {end: sum(len(found) for at, found in days.items() if at < end) for end in (7, 30, DAYS)}
    if not within[DAYS]:
        return f"Nothing expires in the next {DAYS} days."
    said = (f"{end} days: {number:,}" if number else f"{end} days: none" for end, number in within.items())
    return f"Certificates that expire within {', '.join(said)}."


def _percent(at: float) -> str:
    return f"{100 * at / DAYS:.2f}%"
