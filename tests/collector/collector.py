"""A real OpenTelemetry Collector on the `otel-collector.yaml` of this repository; `scripts/collector` builds it."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from exporter.listener import bind
from tests.process import wait_until

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "otel-collector.yaml"
EXPIRATION = "3s"
PUSHED = "pushed"
"""The `job` of what has come through a collector: the name of the service that it came from."""


@cache
def program() -> str:
    """Where it is; skips the test if it could not be built."""
    built = subprocess.run([ROOT / "scripts" / "collector"], capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"no OpenTelemetry Collector: {built.stderr.strip().splitlines()[-1]}")
    return built.stdout.strip()


@dataclass(frozen=True)
class Collector:
    """One that runs."""

    grpc_url: str
    http_url: str
    metrics: str
    """ADDRESS:PORT of its Prometheus endpoint."""
    telemetry: str
    """ADDRESS:PORT where it tells of itself."""
    log: Path

    def text(self) -> str:
        """What it has logged, and what its debug exporter has printed: every log record in full."""
        return self.log.read_text("utf-8")

    def environment(self, protocol: str = "http/protobuf") -> dict[str, str]:
        """What has certgauge push here, often."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.grpc_url if protocol == "grpc" else self.http_url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_SERVICE_NAME": PUSHED,
            "OTEL_METRIC_EXPORT_INTERVAL": "250",
        }


def validate(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`otelcol validate` of our file."""
    command = [program(), "validate", "--config", str(CONFIG)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@contextmanager
def collector(directory: Path, more: Mapping[str, str] | None = None) -> Iterator[Collector]:
    """Ready on entry, stopped when left. `more` is further environment."""
    with ExitStack() as stack:
        grpc, http, metrics, telemetry, health = (
            "127.0.0.1:{}".format(stack.enter_context(bind("127.0.0.1:0")).getsockname()[1]) for _ in range(5)
        )
    environment = {
        "OTLP_GRPC_ENDPOINT": grpc,
        "OTLP_HTTP_ENDPOINT": http,
        "PROMETHEUS_ENDPOINT": metrics,
        "METRIC_EXPIRATION": EXPIRATION,
        "HEALTH_ENDPOINT": health,
        "TELEMETRY_PORT": telemetry.rpartition(":")[2],
        **(more or {}),
    }
    log = directory / "collector.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program(), "--config", str(CONFIG)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    try:
        wait_until(lambda: process.poll() is not None or _answers(f"http://{health}"))
        assert process.poll() is None, log.read_text("utf-8")
        yield Collector(f"http://{grpc}", f"http://{http}", metrics, telemetry, log)
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False
