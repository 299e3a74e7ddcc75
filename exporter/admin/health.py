"""`/health`, as `application/health+json` (draft-inadarei-api-health-check-06)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from exporter import __version__
from exporter.certcheck.expiry import State
from exporter.certcheck.inventory import Entry
from exporter.certcheck.text import rfc3339


@dataclass(frozen=True, slots=True)
class Facts:
    """What health is judged by."""

    now: datetime
    entries: Sequence[Entry]
    state: str
    """Which store keeps the cooldowns."""
    state_failing: bool
    exports: Sequence[tuple[str, bool | None]]
    """Each signal that leaves by OTLP, and whether its last export succeeded."""
    reload_successful: bool
    reloaded_at: datetime | None


def report(facts: Facts) -> dict[str, Any]:
    """The document. `warn`: somebody should look; `fail`: not loaded, so there is nothing to rely on."""
    checks = {
        "certificates": [_certificates(facts)],
        "state": [{"status": "warn" if facts.state_failing else "pass", "observedValue": facts.state}],
        "exporters": [
            {"componentId": signal, "status": "warn" if successful is False else "pass"}
            for signal, successful in facts.exports
        ],
        "reload": [_reload(facts)],
    }
    statuses = {check["status"] for each in checks.values() for check in each}
    status = next((each for each in ("fail", "warn") if each in statuses), "pass")
    return {"status": status, "version": __version__, "checks": checks}


def _certificates(facts: Facts) -> dict[str, Any]:
    states = Counter(entry.state(facts.now) for entry in facts.entries)
    fine = states.keys() <= {State.VALID, State.SUPERSEDED}
    return {
        "status": "pass" if fine else "warn",
        "observedValue": {state.value: states[state] for state in State},
        "observedUnit": "certificates",
        "time": rfc3339(facts.now),
    }


def _reload(facts: Facts) -> dict[str, Any]:
    if facts.reloaded_at is None:
        return {"status": "fail", "output": "no configuration has been loaded yet"}
    time = rfc3339(facts.reloaded_at)
    if facts.reload_successful:
        return {"status": "pass", "time": time}
    return {"status": "warn", "time": time, "output": "the last reload was refused; the configuration before it serves"}
