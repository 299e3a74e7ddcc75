"""The pages on alerts are true: the table is the source's, every alert has a runbook, and its commands work."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from dashboards.alerts.alert import RUNBOOKS, SLOT, Alert
from dashboards.alerts.build import ALERTS, GROUPS, HERE
from dashboards.alerts.certificates import LAST_DAYS, LAST_PART
from tests.alerts.test_rules import promtool
from tests.authority import Authority
from tests.foreground import require
from tests.process import COMMAND, PATIENCE_SECONDS, demanding, run, upstream
from tests.served import configuration, definition, write
from tests.test_docs import ROOT, blocks, rows, text_of

PAGES = sorted(page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md"))
SECTIONS = ["## What breaks", "## What to do", "## It is over when"]


def row(alert: Alert) -> list[str]:
    wait = "at once" if alert.wait == "0s" else alert.wait
    runbook = f"[{alert.runbook}](runbooks/{alert.runbook}.md)"
    return [alert.name, alert.severity, alert.when.replace("`", ""), wait, runbook]


def test_the_tables_are_those_of_the_source() -> None:
    tables = [rows("docs/alerts.md", heading) for heading in ("Certificates", "The monitor itself")]
    assert tables == [[row(alert) for alert in group.alerts] for group in GROUPS]


def test_where_critical_begins_is_what_the_page_says() -> None:
    lifetimes = (timedelta(days=days) for days in (1, 90, 365, 3650))
    begins = [min(lifetime * LAST_PART, timedelta(days=LAST_DAYS)) for lifetime in lifetimes]
    assert begins == [timedelta(minutes=72), timedelta(days=4.5), timedelta(days=7), timedelta(days=7)]
    assert rows("docs/alerts.md", "Thresholds") == [["72 minutes", "4.5 days", "7 days", "7 days"]]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert sorted({alert.runbook for alert in ALERTS}) == PAGES
    assert all(alert.runbook_url == f"{RUNBOOKS}/{alert.runbook}.md" for alert in ALERTS)


@pytest.mark.parametrize("page", PAGES)
def test_a_runbook_is_headed_by_its_alerts_and_tells_what_to_do(page: str) -> None:
    heading, *lines = text_of(f"docs/runbooks/{page}.md").splitlines()
    assert heading == "# " + ", ".join(alert.name for alert in ALERTS if alert.runbook == page)
    assert [line for line in lines if line.startswith("## ")] == SECTIONS


@contextmanager
def healthy(directory: Path) -> Iterator[str]:
    """A gateway with an API `orders`, its files under `certs`, a new pair, and a handler; the admin listener's URL."""
    (directory / "certs").mkdir()
    authority = Authority()
    authority.issue("orders").write(directory / "certs", "orders")
    authority.issue("orders").write(directory, "new")
    (directory / "new.pem").write_bytes((directory / "new.pem").read_bytes() + authority.root.pem)
    pair = {"cert_file": "certs/orders.pem", "key_file": "certs/orders.key"}
    certificates = {"orders-client": pair, "anchors": {"cert_file": "anchors.pem"}}
    with upstream(demanding(directory, authority)) as port:
        webhook = {"url": f"http://127.0.0.1:{port}/", "allow_private": True}
        handlers = {"CertificateExpiringSoon": [{"name": "ops", "webhook": webhook}]}
        uses = {"upstream_certificates": {"localhost": "orders-client"}, "upstream_ca": "anchors"}
        api = {**definition(target=f"https://localhost:{port}/"), **uses, "event_handlers": handlers}
        write(directory, "certgauge.yaml", configuration(certificates=certificates, apis=[api], state="memory"))
        with run(directory / "certgauge.yaml") as process:
            yield process.admin_url


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_runbook_work(page: str, tmp_path: Path) -> None:
    for program in ("curl", "jq", "openssl"):
        require(program, program)
    script = "".join(blocks(f"docs/runbooks/{page}.md", "sh"))
    with healthy(tmp_path) as admin_url:
        path = os.pathsep.join([str(COMMAND.parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "ADMIN": admin_url, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "curl" in script
    assert done.stdout


def test_the_datasource_is_replaced_as_the_page_says() -> None:
    [command] = blocks("docs/alerts.md", "sh")
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    uids = re.findall(r"datasourceUid: (\S+)", done.stdout)
    assert set(uids) == {"YOUR-UID", "__expr__"}
    assert uids.count("__expr__") == len(ALERTS)


def test_prometheus_takes_the_configuration_of_the_page(tmp_path: Path) -> None:
    config, *_ = blocks("docs/alerts.md", "yaml")
    (tmp_path / "dashboards").symlink_to(ROOT / "dashboards")
    (tmp_path / "prometheus.yml").write_text(config)
    status, output = promtool("check", "config", tmp_path / "prometheus.yml")
    assert (status, f"{len(ALERTS)} rules found" in output) == (0, True), output


def test_alertmanager_takes_the_configuration_of_the_page(tmp_path: Path) -> None:
    document = yaml.safe_load(blocks("docs/alerts.md", "yaml")[-1])
    document["route"]["receiver"] = "nobody"
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump({**document, "receivers": [{"name": "nobody"}]}))
    amtool = require("amtool", "prometheus-alertmanager")
    done = subprocess.run([amtool, "check-config", tmp_path / "alertmanager.yml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_inhibited_is_what_there_is() -> None:
    text = blocks("docs/alerts.md", "yaml")[-1]
    names = set(re.findall(r'alertname!?="(\w+)"', text))
    assert names <= {alert.name for alert in ALERTS}
    assert {label for group in re.findall(r"equal: \[(.*)\]", text) for label in group.split(", ")} <= set(SLOT)


def test_the_groups_are_all_that_the_operator_needs() -> None:
    document = yaml.safe_load((HERE / "certgauge.rules.yaml").read_text("utf-8"))
    assert list(document) == ["groups"]
