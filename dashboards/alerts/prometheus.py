"""The alerts as a file of Prometheus' rules, which is also the `spec` of a PrometheusRule."""

from __future__ import annotations

from typing import Any

from dashboards.alerts.alert import SLOT, VALUE, Alert, Fact, Group


def rules(groups: tuple[Group, ...]) -> dict[str, Any]:
    """The document. Groups have no interval of their own: Prometheus' configuration has one."""
    return {"groups": [{"name": group.name, "rules": [_rule(alert) for alert in group.alerts]} for group in groups]}


def _rule(alert: Alert) -> dict[str, Any]:
    waits = {"for": alert.wait, "keep_firing_for": alert.keep}
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **{key: duration for key, duration in waits.items() if duration != "0s"},
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": _expanded(alert, alert.summary),
            "description": _expanded(alert, alert.description),
            "runbook_url": alert.runbook_url,
        },
    }


def _expanded(alert: Alert, text: str) -> str:
    for fact in alert.facts:
        text = text.replace(fact.token, _asked(fact))
    return text.replace(VALUE, "$value")


def _asked(fact: Fact) -> str:
    """A fact is asked for when the text is made. Names are quoted (`%q`): they come from certificates."""
    selector = "{{" + ",".join(f"{label}=%q" for label in SLOT) + "}}"
    query = fact.query.format(by="", where=selector.format())
    labels = " ".join(f"$labels.{label}" for label in SLOT)
    known = fact.known.format(f"{{{{ . | first | value | {fact.form} }}}}")
    otherwise = f"{{{{ else }}}}{fact.unknown}" if fact.unknown else ""
    return f"{{{{ with printf `{query}` {labels} | query }}}}{known}{otherwise}{{{{ end }}}}"
