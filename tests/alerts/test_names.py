"""Alerts use what there is: every metric, label and value in an expression is one of certgauge's."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from dashboards.alerts.alert import ORIGIN, SLOT
from dashboards.alerts.build import ALERTS
from dashboards.alerts.monitor import ERRORS
from exporter.certcheck.expiry import State
from exporter.certcheck.tally import ErrorReason, Outcome
from exporter.telemetry import names
from exporter.telemetry.names import Instrument, Kind
from tests.test_docs import rows

NAMES = {
    instrument.family + ("_total" if instrument.kind is Kind.COUNTER else "")
    for instrument in vars(names).values()
    if isinstance(instrument, Instrument)
}
PROMETHEUS = {"up", "job", "instance", *ORIGIN}
AGGREGATIONS = {"count", "group", "max", "min", "sum"}
FUNCTIONS = {"absent_over_time", "clamp_max", "increase", "last_over_time", "time", *AGGREGATIONS}
WORDS = {"and", "by", "ignoring", "offset", "on", "or", "unless"}
QUERIES = {alert.name: [alert.expr, *(fact.query for fact in alert.facts)] for alert in ALERTS}


def used(query: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels of a query; durations, numbers and text put aside."""
    bare = re.sub(r'"[^"]*"|\[\w+\]|offset \w+|\{by\}|\{where\}', " ", query)
    labels = set(re.findall(r"(\w+)=", bare))
    for group in re.findall(r"(?:by|on|ignoring) \(([\w, ]+)\)", bare):
        labels |= set(group.split(", "))
    return set(re.findall(r"\b[a-z]\w*", bare)) - labels - FUNCTIONS - WORDS, labels


def documented_labels() -> Iterator[str]:
    """What the page on metrics says that series have."""
    for row in rows("docs/metrics.md", "Metrics"):
        yield from re.split(r"[ ,.;:]+", row[4])
    for row in rows("docs/metrics.md", "Attributes of a slot"):
        yield from row[0].split(", ")


@pytest.mark.parametrize("alert", QUERIES)
def test_metrics_and_labels_are_those_of_certgauge(alert: str) -> None:
    for query in QUERIES[alert]:
        metrics, labels = used(query)
        assert metrics - PROMETHEUS <= NAMES
        assert labels - PROMETHEUS <= set(documented_labels())


def test_every_label_of_a_slot_is_kept() -> None:
    slots = {label for row in rows("docs/metrics.md", "Attributes of a slot") for label in row[0].split(", ")}
    assert set(SLOT) - set(ORIGIN) == slots


def test_values_of_labels_are_those_of_certgauge() -> None:
    outcomes: set[str] = {*Outcome, "failed", "dropped"}
    values: dict[str, set[str]] = {"state": set(State), "reason": set(ErrorReason), "outcome": outcomes}
    text = "".join(alert.expr for alert in ALERTS)
    for label, found in re.findall(r'\b(state|reason|outcome)=~?"([^"]*)"', text):
        assert set(found.split("|")) <= values[label]


def test_every_state_that_is_not_fine_has_an_alert() -> None:
    text = "".join(alert.expr for alert in ALERTS)
    assert set(re.findall(r'state="(\w+)"', text)) == set(State) - {State.VALID, State.SUPERSEDED}


def test_reasons_without_an_alert_are_those_that_are_chosen() -> None:
    text = "".join(alert.expr for alert in ALERTS)
    told = {reason for group in re.findall(r'reason=~?"([^"]*)"', text) for reason in group.split("|")}
    assert told == {*ERRORS, "inventory_full", "otlp_export_failed"}
    # Certificates and reloads have their own; traffic, and what is only put off, has none.
    assert set(ErrorReason) - told == {
        "unreadable_certificate",
        "certificate_unusable",
        "reload_failed",
        "event_held_back",
        "drain_timeout",
        "client_handshake_failed",
    }
