"""A real Prometheus, from the distribution's package: it scrapes every second, and is asked over its HTTP API."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from exporter.listener import bind

SCRAPE_SECONDS = 1


def program(name: str) -> str:
    """Where `prometheus` or `promtool` is; skips the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; it is in the distribution's package prometheus")
    return found


@dataclass(frozen=True)
class Prometheus:
    """A server that runs."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query, now: the series, each with its labels under `metric` and its `value`."""
        data: list[dict[str, Any]] = self._get("/api/v1/query?" + urlencode({"query": expression}))["data"]["result"]
        return data

    def alerts(self) -> list[dict[str, Any]]:
        """What is pending or fires, each with its `labels`, `annotations` and `state`."""
        data: list[dict[str, Any]] = self._get("/api/v1/alerts")["data"]["alerts"]
        return data

    def wait(self, expression: str, *, series: int, seconds: float) -> float:
        """Block until a query gives so many series; how many seconds that took."""
        started_at = time.monotonic()
        while len(self.query(expression)) != series:
            assert time.monotonic() < started_at + seconds, f"{expression}: not {series} series in {seconds} s"
            time.sleep(0.1)
        return time.monotonic() - started_at

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=5) as response:
            return json.load(response)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(
    directory: Path, target: str, rules: Path | None = None, *, collector: str | None = None
) -> Iterator[Prometheus]:
    """Scrape `target` (ADDRESS:PORT) every second into `directory`, and evaluate a file of rules as often.

    `collector` is the endpoint of one, scraped as otel-collector.yaml says.
    """
    config = directory / "prometheus.yml"
    jobs: list[dict[str, Any]] = [{"job_name": "certgauge", "static_configs": [{"targets": [target]}]}]
    if collector is not None:
        jobs += [{"job_name": "collector", "honor_labels": True, "static_configs": [{"targets": [collector]}]}]
    timing = {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"}
    files = {"rule_files": [str(rules)]} if rules else {}
    config.write_text(yaml.safe_dump({"global": timing, "scrape_configs": jobs, **files}))
    with bind("127.0.0.1:0") as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"]
    with (directory / "prometheus.log").open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={address}"], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        server = Prometheus(f"http://{address}")
        deadline = time.monotonic() + 20
        while not server.is_ready():
            assert process.poll() is None, (directory / "prometheus.log").read_text()
            assert time.monotonic() < deadline, "prometheus did not start"
            time.sleep(0.1)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
