"""A real certgauge in which everything is wrong that a board shows, and what asks the boards' queries.

`board_world` has every role and every state, traffic that goes on, requests that fail for several reasons, a reload
that was refused, a receiver that takes events, one that is away and one that refuses them.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.authority import DAY, Authority
from tests.process import Process, ask, demanding, run, upstream, wait_until

BOARDS = Path(__file__).parents[2] / "dashboards"

GRAFANA: dict[str, str] = {
    "job": ".*",
    "instance": ".*",
    "api_id": ".*",
    "cert_role": ".*",
    "http_route": ".*",
    "__range": "3600s",
    "__interval": "15s",
    "__rate_interval": "60s",
}
"""What Grafana puts in for variables: "All" of each, the last hour, a scrape every 15 seconds."""

EVENTS = ("CertificateExpiringSoon", "CertificateExpired", "CertificateRenewed", "CertificateInvalid")
ANSWERS = {"taken": 200, "away": 503, "refused": 410}
"""The receivers, by how they answer."""

LEFT: dict[str, timedelta] = {
    "orders": timedelta(days=100, hours=6),
    "billing": timedelta(days=10, hours=6),
    "legacy": timedelta(days=-5, hours=-6),
    "partners": timedelta(days=200, hours=6),
}
"""The APIs that reach the upstream, or would, and what their certificate has left."""

OTHERS = ("future", "broken")
"""The APIs whose certificate is not valid yet, and cannot be read."""


@dataclass(frozen=True)
class World:
    """A certgauge that runs, in a directory of its own."""

    directory: Path
    process: Process

    @property
    def admin_url(self) -> str:
        return self.process.admin_url

    @property
    def target(self) -> str:
        """ADDRESS:PORT of the admin listener: what to scrape."""
        return self.process.admin_url.removeprefix("http://")

    def metric(self, start: str) -> list[str]:
        """The lines of /metrics that begin like this."""
        return [line for line in ask("GET", f"{self.admin_url}/metrics").text.splitlines() if line.startswith(start)]


@contextmanager
def board_world(
    directory: Path, environment: Mapping[str, str] | None = None, *, apis: int = 0, watched: int = 0
) -> Iterator[World]:
    """Everything that a board shows, shown by /metrics on entry. More APIs and watched files make it large."""
    authority = Authority("Example CA")
    with upstream(demanding(directory, authority)) as port, _receivers() as hooks:
        config = _Files(directory, authority, port).write(hooks, apis, watched)
        with run(config, more=environment) as process, _traffic(process, directory, authority):
            world = World(directory, process)
            wait_until(lambda: '"certificate_unusable"' in "".join(world.metric("certificate_errors")))
            # A key of another certificate: the reload is refused for this API, which serves with what it had.
            (directory / "orders.key").write_bytes(authority.issue("other").key_pem())
            wait_until(lambda: _is_complete(world))
            yield world


@dataclass
class _Files:
    directory: Path
    authority: Authority
    port: int
    certificates: dict[str, dict[str, str]] = field(default_factory=dict)

    def write(self, hooks: str, apis: int, watched: int) -> Path:
        """Write the configuration and what it names."""
        self._certificates(apis)
        (self.directory / "watched").mkdir()
        for number in range(watched):
            name, left = f"service-{number:04}", (30 + number * 7 % 700) * DAY
            (self.directory / "watched" / f"{name}.pem").write_bytes(self.authority.issue(name, left).pem)
        document = {
            "proxy": {
                "listen": "127.0.0.1:0",
                "drain_timeout_seconds": 2,
                "tls": {"certificate": "gateway", "client_ca": "ca"},
            },
            "admin": {"listen": "127.0.0.1:0"},
            "state": "memory",
            "certificate_expiry_monitor": {"flush_interval_seconds": 1, "check_cooldown_seconds": 0},
            "certificates": self.certificates,
            "watch": ["watched"],
            "event_handlers": {event: _handlers(hooks) for event in EVENTS},
            "apis": [self._api(name) for name in (*LEFT, *OTHERS, *_numbered(apis))],
        }
        config = self.directory / "certgauge.yaml"
        config.write_text(yaml.safe_dump(document))
        return config

    def _certificates(self, apis: int) -> None:
        (self.directory / "ca.pem").write_bytes(self.authority.root.pem)
        self.certificates["ca"] = {"cert_file": "ca.pem"}
        more = {name: (number * 11 % 800 - 2) * DAY for number, name in enumerate(_numbered(apis))}
        for name, left in {**LEFT, "gateway": 60 * DAY, "broken": DAY, **more}.items():
            self._pair(name, self.authority.issue(name, left, name, "127.0.0.1").write(self.directory, name))
        (self.directory / "broken.pem").write_text("no certificate")
        future = self.authority.issue("future", 80 * DAY, not_before=self.authority.now + 3 * DAY)
        self._pair("future", future.write(self.directory, "future"))
        self.authority.issue("anna", 40 * DAY).write(self.directory, "anna")

    def _pair(self, name: str, files: tuple[str, str]) -> None:
        self.certificates[name] = {"cert_file": files[0], "key_file": files[1]}

    def _api(self, name: str) -> dict[str, Any]:
        more: dict[str, Any] = {"client_certificates": ["ca"]} if name == "partners" else {}
        return {
            "api_id": name,
            "listen_path": f"/{name}/",
            "target_url": f"https://localhost:{self.port}/",
            "upstream_certificates": {"localhost": name},
            "upstream_ca": "ca",
            **more,
        }


def _numbered(count: int) -> list[str]:
    return [f"api-{number:04}" for number in range(count)]


def _handlers(hooks: str) -> list[dict[str, Any]]:
    return [{"name": name, "webhook": {"url": f"{hooks}/{name}", "allow_private": True}} for name in ANSWERS]


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(ANSWERS[self.path.strip("/")])
        self.send_header("content-length", "0")
        self.end_headers()

    def log_request(self, *_: object) -> None:
        """Nothing: pytest shows what fails."""


@contextmanager
def _receivers() -> Iterator[str]:
    """One server for all of them; its URL, to which a handler's name is appended."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _traffic(process: Process, directory: Path, authority: Authority) -> Iterator[None]:
    """Requests to every API, and to none, five rounds a second, by a client that presents a certificate."""
    context = ssl.create_default_context(cadata=authority.root.pem.decode())
    context.load_cert_chain(directory / "anna.pem", directory / "anna.key")
    address, over = urlsplit(process.proxy_url).netloc, threading.Event()

    def go_on() -> None:
        while not over.wait(0.2):
            for name in (*LEFT, *LEFT, *OTHERS, "nothing"):
                _request(address, context, f"/{name}/")

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _request(address: str, context: ssl.SSLContext, path: str) -> None:
    connection = http.client.HTTPSConnection(address, timeout=10, context=context)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except OSError:
        # The process is being stopped, which is what some test wants to see.
        return
    finally:
        connection.close()


SEEN = [
    ("certificate_state", 'state="valid"'),
    ("certificate_state", 'state="expiring"'),
    ("certificate_state", 'state="expired"'),
    ("certificate_state", 'state="not_yet_valid"'),
    ("certificate_state", 'state="unreadable"'),
    ("certificate_state", 'cert_role="client"'),
    ("certificate_state", 'cert_role="upstream_server"'),
    ("certificate_file_in_use", "} 0"),
    ("certgauge_config_last_reload_successful", " 0"),
    ("certificate_requests", 'api_id="orders"'),
    ("certificate_observations_total", 'api_id="orders"'),
    ("certificate_event_deliveries_total", 'outcome="delivered"'),
    ("certificate_event_deliveries_total", 'outcome="retried"'),
    ("certificate_event_deliveries_total", 'outcome="failed"'),
    ("http_client_request_duration_seconds_count", "error_type="),
    ("http_server_request_duration_seconds_count", 'error_type="certificate_unusable"'),
]


def _is_complete(world: World) -> bool:
    lines = world.metric("")
    return all(any(line.startswith(name) and part in line for line in lines) for name, part in SEEN)


def board(name: str) -> dict[str, Any]:
    """A board of `dashboards/`, by its file's name without the suffix."""
    document: dict[str, Any] = json.loads((BOARDS / f"{name}.json").read_text("utf-8"))
    return document


def panels(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All panels, also those of collapsed rows; the rows themselves are none."""
    inner: Sequence[dict[str, Any]] = document.get("panels", ())
    return [each for panel in inner for each in ([panel] if panel["type"] != "row" else panels(panel))]


def queries(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every query of every panel: the panel's title, and the expression as it is written."""
    return [(panel["title"], target["expr"]) for panel in panels(document) for target in panel.get("targets", ())]


def substitute(expression: str, **values: str) -> str:
    """The expression with its variables replaced, as Grafana does; `values` are what a person has picked.

    Raises:
        KeyError: for a variable that no board has.
    """
    known = GRAFANA | values
    return re.sub(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})", lambda found: known[found[1] or found[2]], expression)
