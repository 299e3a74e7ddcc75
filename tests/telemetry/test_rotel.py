"""An OTLP receiver that shares no code with us shows the gauges and the log records as they are specified."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.listener import bind
from exporter.telemetry.environment import Protocol
from tests.receivers import poll
from tests.telemetry.kit import EXPIRED, EXPIRING, Site


@dataclass(frozen=True)
class Rotel:
    """A running agent."""

    http: str
    grpc: str
    output: Path

    def text(self) -> str:
        """What it has printed: each thing it received, in full."""
        return self.output.read_text()


@contextmanager
def rotel(directory: Path, port: int | None = None) -> Iterator[Rotel]:
    """The agent of the package rotel: prints metrics and logs, and sends nothing on. `port` is that for HTTP."""
    found = importlib.util.find_spec("rotel")
    if found is None or found.origin is None:
        pytest.skip("rotel is not installed; it has no package for this platform")
    with ExitStack() as stack:
        free = [stack.enter_context(bind("127.0.0.1:0")).getsockname()[1] for _ in range(2)]
    http, grpc = f"127.0.0.1:{port or free[0]}", f"127.0.0.1:{free[1]}"
    command = [str(Path(found.origin).with_name("rotel-agent")), "start", "--exporter", "blackhole"]
    command += ["--debug-log", "metrics", "--debug-log", "logs", "--debug-log-verbosity", "detailed"]
    command += ["--otlp-http-endpoint", http, "--otlp-grpc-endpoint", grpc]
    command += ["--pid-file", str(directory / "rotel.pid"), "--log-file", str(directory / "rotel.log")]
    output = directory / "rotel.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        poll(lambda: process.poll() is not None or (_listens(http) and _listens(grpc)))
        assert process.poll() is None, output.read_text()
        yield Rotel(f"http://{http}", f"http://{grpc}", output)
    finally:
        process.terminate()
        process.wait(10)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as tried:
        return tried.connect_ex((host, int(port))) == 0


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_independent_receiver_shows_gauges_and_log_records(protocol: Protocol, tmp_path: Path) -> None:
    with rotel(tmp_path) as agent:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": agent.grpc if protocol == "grpc" else agent.http,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_METRIC_EXPORT_INTERVAL": "50",
        }
        with Site(tmp_path).standard().process(environment):
            shown = ("certificate.days_remaining", "certificate.expiring_soon", "certificate.expired")
            poll(lambda: all(f": {name}\n" in agent.text() for name in shown))
    text = agent.text()
    assert "service.name: Str(certgauge)\n" in text
    assert days_of(EXPIRED, text) == pytest.approx(-5.25, abs=0.01)
    assert days_of(EXPIRING, text) == pytest.approx(10.25, abs=0.01)
    assert_record(
        text, "WARN", 13, "certificate.expiring_soon", "Upstream certificate will expire in 10 days", EXPIRING
    )
    assert_record(text, "ERROR", 17, "certificate.expired", "Upstream certificate expired 5 days ago", EXPIRED)


def days_of(api_id: str, text: str) -> float:
    """The first value of the gauge for an API."""
    (_, gauge) = text.split("-> Name: certificate.days_remaining\n", 1)
    description, unit, kind, *_ = (line.strip(" ->") for line in gauge.splitlines())
    assert (unit, kind) == ("Unit: {day}", "DataType: Gauge"), description
    (_, point) = gauge.split(f"-> api_id: Str({api_id})\n", 1)
    found = re.search(r"^Value: (\S+)$", point, re.MULTILINE)
    assert found is not None
    return float(found[1])


def assert_record(text: str, severity: str, number: int, event: str, body: str, api_id: str) -> None:
    head = f"SeverityText: {severity}\nSeverityNumber: SEVERITY_NUMBER_{severity}({number})\n"
    (_, record) = text.split(f"{head}EventName: {event}\nBody: Str({body})\n", 1)
    (attributes, _) = record.split("    Trace ID", 1)
    lines = {line.strip(" ->") for line in attributes.splitlines()}
    assert lines >= {
        f"api_id: Str({api_id})",
        "cert_role: Str(upstream)",
        f"message: Str({body})",
        f"tls.client.subject: Str(CN={api_id}-client.example.com)",
        "server.address: Str(orders.internal.invalid)",
        "server.port: Int(8443)",
    }
