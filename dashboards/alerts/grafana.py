"""The alerts as a file that Grafana 11 and newer provision.

Grafana's templates have no `query`: what a text tells besides the value is a query of its own in the rule, and found
under `$values`. A query without data would make the whole rule one without data; so each has -1 for what is unknown.
"""

from __future__ import annotations

import re
from typing import Any

from dashboards.alerts.alert import SLOT, VALUE, Alert, Fact, Group
from dashboards.alerts.promql import by_slot

DATASOURCE = "prometheus"
"""The `uid` of the Prometheus data source in Grafana. Where it is another, this is all there is to change."""
FOLDER = "certgauge"
EXPRESSIONS = "__expr__"
QUERY, CONDITION = "A", "C"

_RANGE = {"from": 600, "to": 0}


def provisioning(groups: tuple[Group, ...]) -> dict[str, Any]:
    """The document."""
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": group.name,
                "folder": FOLDER,
                "interval": "1m",
                "rules": [_rule(alert) for alert in group.alerts],
            }
            for group in groups
        ],
    }


def _rule(alert: Alert) -> dict[str, Any]:
    facts = [_query(fact.name, _filled(fact, alert)) for fact in alert.facts]
    return {
        "uid": re.sub(r"(?<!^)(?=[A-Z])", "-", alert.name).lower(),
        "title": alert.name,
        "condition": CONDITION,
        "data": [_query(QUERY, alert.expr), *facts, _above_zero()],
        # An expression without data has found nothing.
        "noDataState": "OK",
        "execErrState": "Error",
        "for": alert.wait,
        # Grafana 12; 11 does not read it.
        "keepFiringFor": alert.keep,
        "annotations": {
            "summary": _expanded(alert, alert.summary),
            "description": _expanded(alert, alert.description),
            "runbook_url": alert.runbook_url,
        },
        "labels": {"severity": alert.severity},
        "isPaused": False,
    }


def _query(ref_id: str, expr: str) -> dict[str, Any]:
    model = {"refId": ref_id, "expr": expr, "instant": True, "range": False, "editorMode": "code"}
    return {"refId": ref_id, "relativeTimeRange": _RANGE, "datasourceUid": DATASOURCE, "model": _timed(model)}


def _above_zero() -> dict[str, Any]:
    model = {
        "refId": CONDITION,
        "type": "threshold",
        "expression": QUERY,
        "conditions": [
            {
                "type": "query",
                "evaluator": {"type": "gt", "params": [0]},
                "operator": {"type": "and"},
                "query": {"params": [CONDITION]},
                "reducer": {"type": "last", "params": []},
            }
        ],
        "datasource": {"type": EXPRESSIONS, "uid": EXPRESSIONS},
    }
    return {
        "refId": CONDITION,
        "relativeTimeRange": _RANGE,
        "datasourceUid": EXPRESSIONS,
        "model": _timed(model),
    }


def _timed(model: dict[str, Any]) -> dict[str, Any]:
    return {**model, "intervalMs": 1000, "maxDataPoints": 43200}


def _filled(fact: Fact, alert: Alert) -> str:
    """A fact of all slots that the alert is about."""
    found = fact.query.format(by=f"by ({', '.join(SLOT)}) ", where="")
    return f"(\n{found}\nor\n-1 * {by_slot('max', 'certificate_state')}\n)\nand (\n{alert.expr}\n)"


def _expanded(alert: Alert, text: str) -> str:
    for fact in alert.facts:
        known = fact.known.format(f"{{{{ .Value | {fact.form} }}}}")
        chosen = f"{{{{ if ge .Value 0.0 }}}}{known}{{{{ else }}}}{fact.unknown}{{{{ end }}}}"
        text = text.replace(fact.token, f"{{{{ with $values.{fact.name} }}}}{chosen}{{{{ end }}}}")
    return text.replace(VALUE, f"$values.{QUERY}.Value")
