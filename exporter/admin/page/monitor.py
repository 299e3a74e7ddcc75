"""Whether the monitor can be trusted now: what `/health` judges, and what waits for delivery, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.admin.health import Facts
from exporter.admin.page.words import count, minute

_MOST_HANDLERS = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to work."""

    name: str
    works: bool
    said: str
    more: tuple[str, ...] = ()
    """Where there is more to say: a line each."""


def checks(
    facts: Facts, not_ready: str | None, unheard: Mapping[str, str], backlog: Mapping[str, int], most_slots: int
) -> list[Check]:
    """All of them; each is shown, working or not. `unheard`: the handlers that took nothing lately, with why."""
    reloaded = f"loaded {minute(facts.reloaded_at)} UTC" if facts.reloaded_at else "not loaded yet"
    refused = "" if facts.reload_successful else "; the last reload was refused, and what is shown is the one before it"
    full = len(facts.entries) >= most_slots
    return [
        Check("Traffic", not_ready is None, f"not now: {not_ready}" if not_ready else "may come"),
        Check("Configuration", facts.reload_successful, reloaded + (refused if facts.reloaded_at else "")),
        Check("State", not facts.state_failing, facts.state + (", which fails" if facts.state_failing else "")),
        *_exports(facts),
        # That something waits is no fault: it may have been announced a moment ago.
        Check("Deliveries", not unheard, _waiting(backlog), _failing(unheard)),
        Check(
            "Slots",
            not full,
            f"{len(facts.entries):,} of {most_slots:,}" + ("; what is beyond is missing here" if full else ""),
        ),
    ]


def _exports(facts: Facts) -> Iterator[Check]:
    for signal, successful in facts.exports:
        said = {None: "not exported yet", True: "exported", False: "the last export failed"}[successful]
        yield Check(f"OTLP {signal}", successful is not False, said)


def _waiting(backlog: Mapping[str, int]) -> str:
    if not any(backlog.values()):
        return "none pending"
    return f"{count(sum(backlog.values()), 'delivery', 'deliveries')} pending"


def _failing(unheard: Mapping[str, str]) -> tuple[str, ...]:
    shown = [f"{handler}: {why}" for handler, why in sorted(unheard.items())[:_MOST_HANDLERS]]
    return (*shown, *([f"and {len(unheard) - len(shown)} more"] if len(unheard) > len(shown) else []))
