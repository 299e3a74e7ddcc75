"""The file for Grafana is one that Grafana 11 provisions, as far as that can be told without a Grafana."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.alerts.build import ALERTS, HERE
from dashboards.alerts.grafana import CONDITION, DATASOURCE, EXPRESSIONS, QUERY
from tests.alerts.test_rules import promtool

DOCUMENT: dict[str, Any] = yaml.safe_load((HERE / "grafana-alerts.yaml").read_text("utf-8"))
RULES: list[dict[str, Any]] = [rule for group in DOCUMENT["groups"] for rule in group["rules"]]
DURATION = re.compile(r"\d+[smh]")
each = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["title"])


def queries(rule: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {part["refId"]: part for part in rule["data"]}


def test_groups_have_what_a_group_needs() -> None:
    assert DOCUMENT["apiVersion"] == 1
    assert len({group["name"] for group in DOCUMENT["groups"]}) == len(DOCUMENT["groups"])
    for group in DOCUMENT["groups"]:
        assert set(group) == {"orgId", "name", "folder", "interval", "rules"}
        assert (group["orgId"], group["folder"], group["interval"]) == (1, "certgauge", "1m")


def test_uids_and_titles_are_unique_and_short_enough() -> None:
    uids = [rule["uid"] for rule in RULES]
    assert len(set(uids)) == len(uids)
    assert not [uid for uid in uids if not re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", uid)]
    assert [rule["title"] for rule in RULES] == [alert.name for alert in ALERTS]


@each
def test_a_rule_has_what_a_rule_needs(rule: dict[str, Any]) -> None:
    assert (rule["noDataState"], rule["execErrState"], rule["isPaused"]) == ("OK", "Error", False)
    assert DURATION.fullmatch(rule["for"])
    assert DURATION.fullmatch(rule["keepFiringFor"])
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["labels"]["severity"] in {"warning", "critical"}


@each
def test_the_condition_is_an_expression_over_the_query(rule: dict[str, Any]) -> None:
    parts = queries(rule)
    assert len(parts) == len(rule["data"])
    condition = parts[rule["condition"]]
    assert condition["datasourceUid"] == condition["model"]["datasource"]["uid"] == EXPRESSIONS
    assert (condition["model"]["type"], condition["model"]["expression"]) == ("threshold", QUERY)
    assert condition["model"]["conditions"][0]["evaluator"] == {"type": "gt", "params": [0]}


@each
def test_what_a_rule_asks_is_asked_of_the_data_source_as_an_instant_query(rule: dict[str, Any]) -> None:
    for ref_id, part in queries(rule).items():
        assert (part["model"]["refId"], part["relativeTimeRange"]) == (ref_id, {"from": 600, "to": 0})
        if ref_id != CONDITION:
            assert part["datasourceUid"] == DATASOURCE
            assert (part["model"]["instant"], part["model"]["range"]) == (True, False)


@each
def test_a_text_uses_values_that_the_rule_has_and_no_query(rule: dict[str, Any]) -> None:
    text = "".join(rule["annotations"].values())
    assert set(re.findall(r"\$values\.(\w+)", text)) <= set(queries(rule))
    assert set(queries(rule)) - {CONDITION, QUERY} <= set(re.findall(r"\$values\.(\w+)", text))
    assert not re.search(r"\[\[|\bquery\b|\$value\b", text)


@each
def test_nothing_is_taken_for_a_variable_of_the_environment(rule: dict[str, Any]) -> None:
    # Grafana replaces `$NAME` in every field but annotations and models, and `${NAME}` in annotations, too.
    everywhere = yaml.safe_dump({key: value for key, value in rule.items() if key not in {"annotations", "data"}})
    assert "$" not in everywhere
    assert "${" not in yaml.safe_dump(rule)


def test_prometheus_can_parse_what_grafana_asks(tmp_path: Path) -> None:
    asked = [part["model"]["expr"] for rule in RULES for part in rule["data"] if "expr" in part["model"]]
    rules = [{"record": f"q{number}", "expr": query} for number, query in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "grafana", "rules": rules}]}))
    status, output = promtool("check", "rules", tmp_path / "rules.yaml")
    assert status == 0, output
