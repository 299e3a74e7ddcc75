"""A real certgauge, scraped by a real Prometheus that has the rules: what is wrong is what it alerts on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dashboards.alerts.alert import ORIGIN
from dashboards.alerts.build import ALERTS, HERE
from exporter.listener import bind
from tests.alerts.test_names import QUERIES, used
from tests.authority import DAY, Authority
from tests.process import Process, ask, demanding, run, upstream, wait_until
from tests.prometheus import Prometheus, prometheus
from tests.served import write

LEFT = {
    "fine": 300 * DAY,
    "billing": 20 * DAY,
    "shop": 3 * DAY,
    "legacy": -5 * DAY,
    "broken": 90 * DAY,
    "early": 90 * DAY,
}
EXPECTED = {
    ("CertificateExpiring", "billing"),
    ("CertificateExpiringCritical", "shop"),
    ("CertificateExpired", "legacy"),
    ("CertificateInvalid", "broken"),
    ("CertificateNotYetValid", "early"),
    ("CertificateFileNotInUse", "fine"),
    ("CertgaugeReloadFailed", None),
    ("CertgaugeDeliveriesPending", None),
    ("CertgaugeExporterFailing", None),
}


def configured(directory: Path, port: int, authority: Authority, closed: int) -> Path:
    """An API for each certificate, and a handler that nobody can reach."""
    for name, left in LEFT.items():
        start = authority.now + DAY if name == "early" else None
        authority.issue(f"{name}.example.com", left, not_before=start).write(directory, name)
    (directory / "broken.pem").write_text("no certificate")
    webhook = {"url": f"http://127.0.0.1:{closed}/", "allow_private": True}
    kinds = ("CertificateExpiringSoon", "CertificateExpired", "CertificateInvalid")
    document = {
        "proxy": {"listen": "127.0.0.1:0", "drain_timeout_seconds": 1},
        "admin": {"listen": "127.0.0.1:0"},
        "state": "memory",
        "certificate_expiry_monitor": {"flush_interval_seconds": 1},
        "certificates": {
            "anchors": {"cert_file": "anchors.pem"},
            **{name: {"cert_file": f"{name}.pem", "key_file": f"{name}.key"} for name in LEFT},
        },
        "event_handlers": {kind: [{"name": "ops", "webhook": webhook}] for kind in kinds},
        "apis": [
            {
                "api_id": name,
                "listen_path": f"/{name}/",
                "target_url": f"https://localhost:{port}/",
                "upstream_ca": "anchors",
                "upstream_certificates": {"*": name},
            }
            for name in LEFT
        ],
    }
    write(directory, "certgauge.yaml", document)
    return directory / "certgauge.yaml"


@contextmanager
def watched(directory: Path) -> Iterator[tuple[Process, Prometheus]]:
    """It has served a few requests, and then refused what its first API's file holds."""
    authority = Authority()
    with bind("127.0.0.1:0") as free:
        closed = free.getsockname()[1]
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{closed}", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    with upstream(demanding(directory, authority)) as port:
        config = configured(directory, port, authority, closed)
        with run(config, more=otlp) as process:
            for _ in range(3):
                assert ask("GET", f"{process.proxy_url}/billing/").status == 200
            (directory / "fine.pem").write_text("no certificate any more")
            assert ask("POST", f"{process.admin_url}/reload").status == 422
            target = process.admin_url.removeprefix("http://")
            with prometheus(directory, target, HERE / "certgauge.rules.yaml") as server:
                yield process, server


def found(server: Prometheus) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Pending or firing, by name and API."""
    return {(each["labels"]["alertname"], each["labels"].get("api_id")): each for each in server.alerts()}


def test_what_is_wrong_with_a_real_gateway_is_alerted_on_and_nothing_else(tmp_path: Path) -> None:
    with watched(tmp_path) as (process, server):
        # Flushed a second after the requests; the number of handlers that wait differs.
        wait_until(lambda: set(found(server)) >= EXPECTED)
        wait_until(lambda: ": 3." in told(server, "CertificateExpiring", "billing")["description"])
        alerts = found(server)
        assert set(alerts) == EXPECTED
        assert {each["state"] for key, each in alerts.items() if key[0].startswith("CertificateExp")} == {"firing"}
        # The handler, and whoever takes the log records.
        waiting = [each["labels"] for each in server.alerts() if "Pending" in each["labels"]["alertname"]]
        assert {labels["handler"] for labels in waiting} >= {"ops"}
        texts = told(server, "CertificateExpiring", "billing")
        assert re.fullmatch(
            r"The upstream certificate billing\.example\.com of API billing expires at \S+ \S+ \+0000 UTC\.",
            texts["summary"],
        )
        assert re.fullmatch(
            r"Its reference is billing, towards localhost:\d+\. It has 19d 23h 5\dm \d+s left\. "
            r"Requests that depended on it in the last hour: 3\.",
            texts["description"],
        )
        assert "without a readable name of API broken" in told(server, "CertificateInvalid", "broken")["summary"]
        assert_names_are_served(ask("GET", f"{process.admin_url}/metrics").text)
        process.stop()
        wait_until(lambda: ("CertgaugeSilent", None) in found(server))


def told(server: Prometheus, name: str, api_id: str) -> dict[str, str]:
    annotations: dict[str, str] = found(server)[name, api_id]["annotations"]
    return annotations


def assert_names_are_served(metrics: str) -> None:
    """Every metric of an expression has series, and every label that tells slots apart is one of them."""
    served = set(re.findall(r"^(\w+?)(?:\{| )", metrics, re.MULTILINE))
    labels = set(re.findall(r'[{,](\w+)="', metrics))
    own = {name for queries in QUERIES.values() for query in queries for name in used(query)[0] - {"up"}}
    assert own <= served
    # What is left is Prometheus' own.
    assert {label for alert in ALERTS for label in used(alert.expr)[1]} - labels == {*ORIGIN, "instance"}
