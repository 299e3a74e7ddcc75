"""Both files say the same: Grafana's rules, read as Prometheus would, pass Prometheus' own cases, word for word."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.alerts.build import HERE
from dashboards.alerts.grafana import CONDITION, QUERY
from tests.alerts.test_grafana import RULES, queries
from tests.alerts.test_rules import CASES, promtool


def as_prometheus(rule: dict[str, Any]) -> dict[str, Any]:
    """The condition is A above 0. A query's value is `$values.NAME` there, and here the first of its results."""
    expressions = {name: part["model"]["expr"] for name, part in queries(rule).items() if name != CONDITION}

    def told(text: str) -> str:
        text = text.replace(f"$values.{QUERY}.Value", "$value")
        return re.sub(r"\$values\.(\w+)", lambda name: f"query `{expressions[name[1]]}` | first", text)

    waits = {"for": rule["for"], "keep_firing_for": rule["keepFiringFor"]}
    return {
        "alert": rule["title"],
        "expr": f"({expressions[QUERY]}) > 0",
        **{key: wait for key, wait in waits.items() if wait != "0s"},
        "labels": rule["labels"],
        "annotations": {key: told(text) for key, text in rule["annotations"].items()},
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_grafana_tells_what_prometheus_tells(case: Path, tmp_path: Path) -> None:
    rules = {"groups": [{"name": "grafana", "rules": [as_prometheus(rule) for rule in RULES]}]}
    (tmp_path / "certgauge.rules.yaml").write_text(yaml.safe_dump(rules))
    shutil.copytree(HERE / "tests", tmp_path / "tests")
    status, output = promtool("test", "rules", tmp_path / "tests" / case.name)
    assert status == 0, output
