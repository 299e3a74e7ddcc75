"""`certgauge check`: what a configuration holds, as a table a person reads or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from exporter.admin.certs import row, soonest_first
from exporter.certcheck.expiry import State
from exporter.certcheck.inventory import entries_of
from exporter.handlers import read_handlers
from exporter.plan import MonitorPlan
from exporter.planning import Planner
from exporter.problems import Problem
from exporter.settings import Settings, warnings
from exporter.watchlist import watched

_COLUMNS = ("state", "days_remaining", "expires_at", "api_id", "cert_role", "cert_ref", "cert_name", "detail")
_TITLES = ("STATE", "DAYS", "EXPIRES", "API", "ROLE", "REF", "NAME", "WHY")


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


def examine(settings: Settings, now: datetime) -> Report:
    """Read every certificate that a configuration uses or watches, and judge it. Blocks."""
    planner = Planner()
    plans = planner.apis(settings, [each.api for each in settings.apis])
    problems = [
        defined.problem((), plan.unusable) for defined, plan in zip(settings.apis, plans, strict=True) if plan.unusable
    ]
    monitors = [plan.monitor for plan in plans]
    listeners = planner.listeners(settings)
    monitors.append(listeners.monitor)
    problems += listeners.problems
    monitors.append(MonitorPlan(settings.configuration.certificate_expiry_monitor.policy(), watched(settings)))
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


def table(report: Report) -> Iterator[str]:
    """The rows as lines, columns aligned."""
    yield from aligned([_TITLES, *([str(each.get(column, "-")) for column in _COLUMNS] for each in report.rows)])


def aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of cells, equally many in each, as columns."""
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def as_json(report: Report) -> dict[str, Any]:
    """The same as a document."""
    return {
        "certs": report.rows,
        "problems": [asdict(problem) for problem in report.problems],
        "warnings": [asdict(problem) for problem in report.warnings],
    }
