"""What Compose starts, on this machine: the demo, its collector and a Prometheus, with the variables that it sets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.collector.collector import collector
from tests.deploy.test_compose import SERVICES
from tests.process import COMMAND, environment, run, wait_until
from tests.prometheus import prometheus
from tests.receivers import http_receiver

DEMO = SERVICES["certgauge"]["environment"]
COLLECTOR = SERVICES["otel-collector"]["environment"]


def test_the_demo_is_seen_once_under_its_own_name_and_its_events_reach_loki(tmp_path: Path) -> None:
    # Another receiver of OTLP in Loki's place, and ports that are free.
    with (
        http_receiver() as loki,
        collector(tmp_path, {"LOGS_EXPORTERS": COLLECTOR["LOGS_EXPORTERS"], "LOKI_ENDPOINT": loki.url}) as runs,
        prometheus(tmp_path, runs.telemetry, collector=runs.metrics) as server,
    ):
        pushes = {"OTEL_EXPORTER_OTLP_ENDPOINT": runs.http_url, "OTEL_METRIC_EXPORT_INTERVAL": "500"}
        with subprocess.Popen(
            [COMMAND, *SERVICES["certgauge"]["command"]],
            env=environment(DEMO | pushes),
            stdout=subprocess.DEVNULL,
        ) as demo:
            try:
                own = 'certificate_days_remaining{cert_role="upstream",job="certgauge",instance="demo"}'
                server.wait(own, series=3, seconds=30)
                server.wait('certificate_days_remaining{cert_role="upstream"}', series=3, seconds=1)
                told = {"certificate.expiring_soon", "certificate.expired"}
                wait_until(lambda: {log.event_name for log in loki.received.records()} == told)
            finally:
                demo.terminate()
        assert demo.returncode == 0


def test_the_check_of_health_tells_whether_certgauge_is_ready(tmp_path: Path) -> None:
    _, _, option, program = SERVICES["certgauge"]["healthcheck"]["test"]
    (tmp_path / "certgauge.yaml").write_text("proxy: {listen: 127.0.0.1:0}\nadmin: {listen: 127.0.0.1:0}\n")
    with run(tmp_path / "certgauge.yaml") as process:
        asked = [sys.executable, option, program.replace("http://127.0.0.1:9464", process.admin_url)]
        assert asked[2] != program
        assert subprocess.run(asked, check=False).returncode == 0
    assert subprocess.run(asked, capture_output=True, check=False).returncode != 0
