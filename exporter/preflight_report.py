"""What `certgauge check --certificate` shows: a certificate held against a configuration that nobody serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exporter.certcheck.slot import Role
from exporter.certcheck.suitability import Status
from exporter.certificates.contents import UnusableError
from exporter.certificates.parts import file_part, passphrase_part
from exporter.places import Place, Question, places
from exporter.planning import Planner
from exporter.preflight import Answer, Read, reading
from exporter.problems import ConfigError, Problem
from exporter.settings import Settings
from exporter.terminal import aligned

_TITLES = ("WORKS", "DAYS", "UNTIL", "API", "ROLE", "SERVER", "WHY")
_WORDS = {True: "yes", False: "no", None: "unknown"}


def places_of(settings: Settings, question: Question) -> list[Place]:
    """Those that a configuration has. Reads all certificates that it names. Blocks.

    Raises:
        ConfigError: it has no such API; a listener's certificate cannot be used, and its place is asked about.
    """
    if question.api_id is not None and all(each.api.api_id != question.api_id for each in settings.apis):
        raise ConfigError([Problem(str(settings.file), "apis", f"no API has the id {question.api_id!r}")])
    planner = Planner()
    plans = {plan.api_id: plan for plan in planner.apis(settings, [each.api for each in settings.apis])}
    listens = question.api_id is None and question.role in {None, Role.SERVER}
    return list(places(plans, planner.listeners(settings) if listens else None, question))


def reading_files(certificate: Path, key: Path | None, passphrase: Path | None) -> Read:
    """What reads a candidate from files. Blocks.

    Raises:
        ConfigError: one of them cannot be opened.
    """
    try:
        return reading(
            file_part(certificate).given(),
            file_part(key).given() if key else None,
            passphrase_part(passphrase, b"").given(),
        )
    except UnusableError as exc:
        raise ConfigError([Problem("", "", str(exc))]) from None


def exit_status(answer: Answer) -> int:
    """0 works; 1 works, and expires soon; 2 would not work somewhere, or cannot be told to work anywhere; 3 expired."""
    rows = answer.rows
    if answer.candidate.chain[0].certificate.not_after < answer.now or any(row["days_remaining"] < 0 for row in rows):
        return 3
    if any(row["works"] is False for row in rows) or all(row["works"] is None for row in rows):
        return 2
    return 1 if any(row["works"] and row["expiring"] for row in rows) else 0


def table(answer: Answer) -> Iterator[str]:
    """The rows as lines, columns aligned; what has not passed with its reasons."""
    lines = [[*_cells(row)] for row in answer.rows]
    yield from aligned([_TITLES, *lines]) if lines else ["there is no place that it is meant for"]


def _cells(row: dict[str, object]) -> Iterator[str]:
    address, port = row["server_address"], row["server_port"]
    yield _WORDS[row["works"]]  # type: ignore[index]
    yield f"{row['days_remaining']}{' (soon)' if row['expiring'] else ''}"
    yield str(row["until"])
    yield str(row["api_id"] or "-")
    yield str(row["cert_role"])
    yield f"{address}:{port or '-'}" if address else "-"
    yield "; ".join(_reasons(row)) or "-"


def _reasons(row: dict[str, object]) -> Iterator[str]:
    checks = row["checks"]
    assert isinstance(checks, dict)
    for name, check in [*checks.items(), *([("rehearsal", row["rehearsal"])] if "rehearsal" in row else [])]:
        if check["status"] != Status.PASS or name == "rehearsal":
            yield f"{name}: {check['detail']}"
