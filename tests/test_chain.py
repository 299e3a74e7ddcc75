"""The whole way: certgauge, a collector, a Prometheus with the rules, every query of the boards, every alert."""

from __future__ import annotations

from pathlib import Path

from dashboards.alerts.build import ALERTS, HERE
from exporter.listener import bind
from tests.alerts.test_names import QUERIES, used
from tests.collector.collector import collector
from tests.dashboards.world import board, board_world, queries, substitute
from tests.process import wait_until
from tests.prometheus import Prometheus, prometheus

BOARDS = ("certgauge-overview", "certgauge-api")

FIRING = {
    "CertificateExpiring",
    "CertificateExpired",
    "CertificateInvalid",
    "CertificateNotYetValid",
    "CertificateFileNotInUse",
    "CertgaugeReloadFailed",
    "CertgaugeDeliveriesFailing",
    "CertgaugeDeliveriesPending",
    "CertgaugeExporterFailing",
    "CertgaugeDown",
}
"""What is wrong in the world of the boards, where log records are not taken and a replica is away."""


def names(server: Prometheus) -> set[str]:
    """The alerts that are pending or firing."""
    return {alert["labels"]["alertname"] for alert in server.alerts()}


def test_every_query_of_the_boards_and_every_alert_works_behind_a_collector(tmp_path: Path) -> None:
    with bind("127.0.0.1:0") as free:
        away = f"127.0.0.1:{free.getsockname()[1]}"
    for name in ("world", "server"):
        (tmp_path / name).mkdir()
    with collector(tmp_path) as runs:
        more = {"OTEL_SERVICE_NAME": "certgauge", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://{away}/v1/logs"}
        with prometheus(tmp_path / "server", away, HERE / "certgauge.rules.yaml", collector=runs.metrics) as server:
            with board_world(tmp_path / "world", runs.environment() | more):
                server.wait("count_over_time(certificate_batchers[1m]) >= 3", series=1, seconds=20)
                for name in BOARDS:
                    for title, expression in queries(board(name)):
                        assert server.query(substitute(expression)), (name, title)
                asked = {metric for each in QUERIES.values() for query in each for metric in used(query)[0]}
                assert not {metric for metric in asked if not server.query(metric)}
                assert names(server) <= {alert.name for alert in ALERTS}
                wait_until(lambda: names(server) == FIRING)
            wait_until(lambda: "CertgaugeSilent" in names(server))
