"""The rules are what the source says, Prometheus takes them, and each fires when it should and not else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dashboards.alerts.alert import SLOT
from dashboards.alerts.build import ALERTS, HERE, files
from dashboards.alerts.promql import grew
from tests.prometheus import program
from tests.test_docs import ROOT

RULES = HERE / "certgauge.rules.yaml"
CASES = sorted((HERE / "tests").glob("*.yaml"))
METRIC = re.compile(r"\b(?:certificate|certgauge)_[a-z_]+\b(?=[{\[ )\n]|$)")
METRICS = sorted({name for alert in ALERTS for name in METRIC.findall(alert.expr)} | {"certificate_requests"})


def promtool(*arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", files())
def test_a_file_is_what_its_source_says(name: str) -> None:
    assert (HERE / name).read_text("utf-8") == files()[name]


def test_the_script_writes_both_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "alerts", tmp_path], check=True, timeout=60)
    assert {file.name: file.read_text("utf-8") for file in tmp_path.iterdir()} == files()


def test_prometheus_takes_the_rules() -> None:
    assert promtool("check", "rules", RULES) == (
        0,
        f"Checking {RULES}\n  SUCCESS: {len(ALERTS)} rules found\n\n",
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_alerts_fire_when_they_should_and_not_else(case: Path) -> None:
    status, output = promtool("test", "rules", case)
    assert status == 0, output


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [
        (rule["alertname"], bool(rule.get("exp_alerts")))
        for case in CASES
        for test in yaml.safe_load(case.read_text())["tests"]
        for rule in test["alert_rule_test"]
    ]
    assert set(cases) == {(alert.name, fires) for alert in ALERTS for fires in (True, False)}


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_that_is_renamed_is_noticed(metric: str, tmp_path: Path) -> None:
    shutil.copytree(HERE / "tests", tmp_path / "tests")
    renamed = re.sub(rf"\b{metric}\b", f"{metric}_renamed", RULES.read_text())
    (tmp_path / RULES.name).write_text(renamed)
    cases = {alert.runbook for alert in ALERTS if metric in str((alert.expr, alert.facts))}
    status, output = promtool("test", "rules", *(tmp_path / "tests" / f"{name}.yaml" for name in sorted(cases)))
    assert status == 1, output


def test_what_tells_replicas_apart_is_in_no_alert_on_certificates() -> None:
    kept = {label for alert in ALERTS if alert.name.startswith("Certificate") for label in grouped(alert.expr)}
    assert kept == set(SLOT)


def grouped(expr: str) -> set[str]:
    return {label for group in re.findall(r" by \(([^)]*)\)", expr) for label in group.split(", ")}


def test_a_counter_that_is_first_seen_above_0_has_grown() -> None:
    assert grew("x", "1h") == "(increase(x[1h]) > 0)\nor\n(x > 0 unless x offset 1h)"


def test_no_counter_is_asked_for_its_increase_alone() -> None:
    counters = [name for alert in ALERTS for name in re.findall(r"increase\((\w+)", alert.expr)]
    firsts = [name for alert in ALERTS for name in re.findall(r"unless (\w+_total)", alert.expr)]
    assert counters == firsts != []
