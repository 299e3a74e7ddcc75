"""Credentials of a collector stay between us and it."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.receivers import UNWELL, poll
from tests.telemetry.kit import Process, Site

QUICK = {
    "OTEL_METRIC_EXPORT_INTERVAL": "50",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "0.3",
    "OTEL_TRACES_EXPORTER": "otlp",
}
HEADERS = {
    "good": "authorization=Bearer%20canary-header",
    # A line feed, which no field value may hold, and what is no name=value at all: the libraries quote both.
    "bad": "authorization=canary-header%0A,canary-nameless",
}
SIGNALS = ("metrics", "logs", "traces")
CREDENTIALS = "//user:canary-url@"
CASES = [
    ("http/protobuf", "refusing", "good"),
    ("http/protobuf", "absent", "bad"),
    ("grpc", "refusing", "good"),
    ("grpc", "absent", "bad"),
]


def test_credentials_of_a_collector_are_nowhere_at_debug_when_exports_fail(tmp_path: Path) -> None:
    said = {}
    with ExitStack() as stack:
        served: dict[str, Process] = {}
        for protocol, kind, headers in CASES:
            name = f"{protocol.partition('/')[0]} {kind}"
            (tmp_path / name).mkdir()
            environment = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(UNWELL[kind](protocol)).replace("//", CREDENTIALS),
                "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                "OTEL_EXPORTER_OTLP_HEADERS": HEADERS[headers],
            }
            served[name] = stack.enter_context(Site(tmp_path / name).standard().process(environment | QUICK))
        for name, each in served.items():
            # So that there is a span to fail with.
            fetch(f"{each.proxy_url}/nothing")
            poll(partial(all_failed, each))
            said[name] = "".join(fetch(f"{each.admin_url}/{path}") for path in ("metrics", "health", "apis", "certs"))
        for each in served.values():
            each.process.send_signal(signal.SIGTERM)
        for name, each in served.items():
            output, _ = each.process.communicate(timeout=20)
            assert each.process.returncode == 0
            said[name] += output + each.log
    assert len(said) == len(CASES)
    assert [name for name, text in said.items() if "canary" in text] == []


def all_failed(served: Process) -> bool:
    return all(f'message="telemetry export failed" signal={signal}' in served.log for signal in SIGNALS)


def fetch(url: str) -> str:
    """The body, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return str(response.read())
    except urllib.error.HTTPError as exc:
        with exc:
            return str(exc.read())
