"""A real Alertmanager takes what the ready-made template makes, and ends an alert with its renewal."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext
from typing import Any

from exporter.attempts import Delivered
from exporter.certcheck.text import rfc3339
from exporter.listener import bind
from exporter.sinks.body import Body, ready_made
from exporter.sinks.webhook import Receiver, WebhookSink
from tests.foreground import require, stopped_when_left

CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
HOSTILE = 'a"b\nc\x00d\u202ee<!channel>'


@contextmanager
def alertmanager(directory: Path) -> Iterator[str]:
    """Its URL, once it answers."""
    program = require("prometheus-alertmanager", "prometheus-alertmanager")
    (directory / "alertmanager.yml").write_text(CONFIG)
    with bind("127.0.0.1:0") as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [program, f"--config.file={directory / 'alertmanager.yml'}", f"--storage.path={directory / 'data'}"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address={address}", "--cluster.listen-address="],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with stopped_when_left(process):
        deadline = time.monotonic() + 20
        while not is_ready(f"http://{address}"):
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < deadline, "it did not start"
            time.sleep(0.05)
        yield f"http://{address}"


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def active(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as response:
        found: list[dict[str, Any]] = json.load(response)
    return found


def no_tls() -> SSLContext:
    raise AssertionError("no TLS is needed")


def payload(kind: str, **more: str) -> dict[str, str]:
    now = rfc3339(datetime.now(UTC))
    common = {"api_id": "orders", "cert_role": "upstream", "cert_name": HOSTILE, "cert_ref": "orders-client"}
    return {"event": kind, "event_id": "e", **common, "message": "It expired", "timestamp": now, **more}


async def test_alertmanager_has_the_alert_until_it_is_renewed(tmp_path: Path) -> None:
    with alertmanager(tmp_path) as url:
        body = Body(ready_made("alertmanager"))
        sink = WebhookSink(Receiver(f"{url}/api/v2/alerts", body=body, allow_private=True), no_tls)
        for kind in ("CertificateExpired", "CertificateInvalid"):
            assert await sink.deliver(payload(kind, cert_id="aa"), "e", datetime.now(UTC)) == Delivered()
        alerts = {each["labels"]["alertname"]: each for each in active(url)}
        assert alerts.keys() == {"CertificateExpired", "CertificateInvalid"}
        expired = alerts["CertificateExpired"]
        assert (expired["labels"]["cert_id"], expired["labels"]["severity"]) == ("aa", "critical")
        assert expired["annotations"]["cert_name"] == HOSTILE
        renewed = payload("CertificateRenewed", cert_id="bb", previous_cert_id="aa")
        assert await sink.deliver(renewed, "e", datetime.now(UTC)) == Delivered()
        assert active(url) == []
        await sink.close()
