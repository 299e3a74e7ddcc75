"""`certgauge check`: what a configuration holds, as a table a person reads or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeAlias

from exporter.admin.certs import row, soonest_first
from exporter.certcheck.expiry import State
from exporter.certcheck.inventory import entries_of
from exporter.handlers import read_handlers
from exporter.plan import MonitorPlan
from exporter.planning import Planner
from exporter.problems import Problem
from exporter.settings import Settings, warnings
from exporter.terminal import Screen, aligned, counted
from exporter.watchlist import watched

Column: TypeAlias = tuple[str, str]
"""A title, and the key of a row of `/certs`."""

_ALWAYS: tuple[Column, ...] = (
    ("STATE", "state"),
    ("DAYS", "days_remaining"),
    ("EXPIRES", "expires_at"),
    ("API", "api_id"),
    ("ROLE", "cert_role"),
)
READ = (*_ALWAYS, ("REF", "cert_ref"), ("NAME", "cert_name"), ("WHY", "detail"))
"""Of certificates that were read from files."""
SERVED = (
    *_ALWAYS,
    ("NAME", "cert_name"),
    ("REQUESTS/H", "requests_last_hour"),
    ("SERVER", "server_address"),
    ("REF", "cert_ref"),
)
"""Of certificates that are in use: where a terminal is narrow, what stands last is cut."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    rows: list[dict[str, Any]]
    """As in `/certs`, soonest first: what is monitored."""
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def exit_status(self) -> int:
        """0 fine; 1 something expires within its threshold; 2 unusable; 3 something has expired."""
        states = {each["state"] for each in self.rows}
        if self.problems or State.UNREADABLE in states:
            return 2
        return 3 if State.EXPIRED in states else 1 if states & {State.EXPIRING, State.NOT_YET_VALID} else 0


def examine(settings: Settings, now: datetime, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Read every certificate that a configuration uses or watches, and judge it. Blocks; tells how far it is."""
    planner = Planner()
    plans = planner.apis(settings, counted([each.api for each in settings.apis], "reading APIs", tell))
    problems = [
        defined.problem((), plan.unusable) for defined, plan in zip(settings.apis, plans, strict=True) if plan.unusable
    ]
    monitors = [plan.monitor for plan in plans]
    listeners = planner.listeners(settings)
    monitors.append(listeners.monitor)
    problems += listeners.problems
    monitors.append(MonitorPlan(settings.configuration.certificate_expiry_monitor.policy(), watched(settings, tell)))
    entries = [
        entry
        for monitor in monitors
        if monitor is not None
        for observation in monitor.observations
        for entry in entries_of(observation, monitor.policy)
    ]
    return Report(
        [row(entry, now) for entry in sorted(entries, key=soonest_first)],
        (*problems,),
        (*warnings(settings), *read_handlers(settings, settings.apis).problems),
    )


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], screen: Screen) -> Iterator[str]:
    """Rows of `/certs` as lines, columns aligned; none if there is no row."""
    if rows:
        cells = ([str(row.get(key, "-")) for _, key in columns] for row in rows)
        yield from aligned([[title for title, _ in columns], *cells], screen)


def as_json(report: Report) -> dict[str, Any]:
    """The same as a document."""
    return {
        "certs": report.rows,
        "problems": [asdict(problem) for problem in report.problems],
        "warnings": [asdict(problem) for problem in report.warnings],
    }
