"""What a process shows of its certificates: series, rows of /certs, and the events in its log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from operator import gt
from typing import Any, NamedTuple
from urllib.parse import urlencode

from prometheus_client.parser import text_string_to_metric_families

from tests.process import Process, ask, wait_until

_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')

RENEWED, EXPIRED, INVALID = "CertificateRenewed", "CertificateExpired", "CertificateInvalid"
SOON = "CertificateExpiringSoon"


class Series(NamedTuple):
    """A sample of /metrics."""

    labels: dict[str, str]
    value: float


def series(process: Process, metric: str, **labels: str) -> list[Series]:
    """The samples of this name that have these labels."""
    families = text_string_to_metric_families(ask("GET", f"{process.admin_url}/metrics").text)
    samples = (Series(each.labels, each.value) for family in families for each in family.samples if each.name == metric)
    return [each for each in samples if labels.items() <= each.labels.items()]


def certificate_series(process: Process, **labels: str) -> set[str]:
    """The names of the certificate metrics, other than counters, that have series with these labels."""
    families = text_string_to_metric_families(ask("GET", f"{process.admin_url}/metrics").text)
    return {
        each.name
        for family in families
        for each in family.samples
        if family.type == "gauge" and each.name.startswith("certificate_") and labels.items() <= each.labels.items()
    }


def total(process: Process, counter: str, **labels: str) -> float:
    return sum(each.value for each in series(process, counter, **labels))


def rows(process: Process, **filters: str) -> list[dict[str, Any]]:
    """The rows of /certs, by their index in the chain."""
    answer = ask("GET", f"{process.admin_url}/certs?{urlencode({'limit': 1000, **filters})}")
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["certs"]
    return sorted(found, key=lambda row: row.get("chain_index", 0))


class Event(NamedTuple):
    """A line of the log."""

    at: datetime
    fields: dict[str, str]

    @property
    def told(self) -> tuple[str, str | None]:
        """The event and its reason."""
        return self.fields["event"], self.fields.get("reason")


def events(process: Process, **fields: str) -> list[Event]:
    """The events in the log so far that have these fields; the API's `ca` is always fine, and never among them."""
    parsed = (_parsed(line) for line in process.errors.splitlines() if "logger=certgauge.events" in line)
    found = (Event(datetime.fromisoformat(each["time"]), each) for each in parsed)
    return [event for event in found if fields.items() <= event.fields.items()]


def told(process: Process, **fields: str) -> list[tuple[str, str | None]]:
    return [event.told for event in events(process, **fields)]


def judged_again(process: Process, *api_ids: str, times: int = 2) -> None:
    """Wait until batchers that have no check cooldown have flushed so many times more."""

    def checks() -> list[float]:
        return [total(process, "certificate_checks_total", api_id=api_id) for api_id in api_ids]

    for _ in range(times):
        before = checks()
        wait_until(lambda before=before: all(map(gt, checks(), before)))  # type: ignore[misc]


def only(found: Iterable[Any]) -> Any:
    """The one that there is."""
    [one] = found
    return one


def _parsed(line: str) -> dict[str, str]:
    return {name: json.loads(text) if text.startswith('"') else text for name, text in _FIELD.findall(line)}
