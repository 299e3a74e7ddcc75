"""Gateways with many certificates to announce, and a receiver that answers as it is told and remembers everything."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

from tests.authority import DAY, KEYS, Authority
from tests.process import COMMAND, Process, ask, environment, run

SOON = "CertificateExpiringSoon"


def issue(directory: Path, count: int) -> set[str]:
    """Write a bundle of certificates that expire in ten days; their `cert_id`s."""
    directory.mkdir(exist_ok=True)
    authority, key = Authority(key=KEYS["ec"]()), KEYS["ec"]()
    issued = [authority.issue(f"anchor-{number}", 10 * DAY, key=key) for number in range(count)]
    (directory / "bundle.pem").write_bytes(b"".join(each.pem for each in issued))
    return {each.cert_id for each in issued}


def configure(directory: Path, bundle: Path, handlers: Mapping[str, Mapping[str, Any]], **more: Any) -> Path:
    """A gateway with one API that trusts each certificate of a bundle, and tells these webhooks what expires.

    `monitor` and `api` add to those sections, `beside` is further APIs; the rest adds to the document.
    """
    directory.mkdir(exist_ok=True)
    listed = [{"name": name, "webhook": {"allow_private": True, **webhook}} for name, webhook in handlers.items()]
    monitor = {"flush_interval_seconds": 1, "check_cooldown_seconds": 0, **more.pop("monitor", {})}
    api = {"api_id": "many", "listen_path": "/", "target_url": "https://127.0.0.1:1/", "upstream_ca": "anchors"}
    document = {
        "proxy": {"listen": "127.0.0.1:0", "drain_timeout_seconds": 1},
        "admin": {"listen": "127.0.0.1:0"},
        "certificate_expiry_monitor": monitor,
        "certificates": {"anchors": {"cert_file": str(bundle / "bundle.pem")}},
        "apis": [{**api, **more.pop("api", {}), "event_handlers": {SOON: listed}}, *more.pop("beside", [])],
        **more,
    }
    path = directory / "certgauge.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(document))
    return path


@dataclass(frozen=True)
class Told:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    at: float
    """In seconds, of the monotonic clock."""

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def cert_id(self) -> str:
        return str(json.loads(self.body)["cert_id"])


Line: TypeAlias = Callable[["Receiver", BaseHTTPRequestHandler], None]


@dataclass
class Receiver:
    """What it was told, in order. Safe in any thread."""

    url: str
    told: list[Told] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    over: threading.Event = field(default_factory=threading.Event)
    taken: dict[str, int] = field(default_factory=dict)
    """Bytes of a long answer that went out, by path."""

    def keep(self, told: Told) -> int:
        """How often this path was asked before."""
        with self.changed:
            before = len(self.asked(told.path))
            self.told.append(told)
            self.changed.notify_all()
        return before

    def asked(self, path: str) -> list[Told]:
        return [each for each in list(self.told) if each.path == path]

    def wait(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Block until something that arrived makes `condition` true."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), f"not so within {seconds} s: {len(self.told)} requests"

    def certificates(self) -> set[str]:
        return {each.cert_id for each in list(self.told)}

    def duplicates(self) -> int:
        """Requests beyond the first about each certificate, each of which has the first one's id."""
        for cert_id, ids in self.ids().items():
            assert len(ids) == 1, f"{cert_id} was told under {ids}"
        return len(self.told) - len(self.certificates())

    def ids(self) -> dict[str, set[str]]:
        """The ids under which each certificate was told of."""
        found: dict[str, set[str]] = {}
        for each in list(self.told):
            found.setdefault(each.cert_id, set()).add(each.event_id)
        return found


def status(code: int, *fields: tuple[str, str]) -> Line:
    """An ordinary answer."""

    def line(_receiver: Receiver, request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for each in (*fields, ("Content-Length", "2")):
            request.send_header(*each)
        request.end_headers()
        request.wfile.write(b"ok")

    return line


def hang(receiver: Receiver, _request: BaseHTTPRequestHandler) -> None:
    """No answer."""
    receiver.over.wait()


def much(receiver: Receiver, request: BaseHTTPRequestHandler) -> None:
    """Five megabytes."""
    request.send_response(200)
    request.send_header("Content-Length", str(5 << 20))
    request.end_headers()
    receiver.taken[request.path] = 0
    for _ in range(80):
        request.wfile.write(bytes(1 << 16))
        receiver.taken[request.path] += 1 << 16


@contextmanager
def receiver(scripts: Mapping[str, list[Line]] | None = None, pause_seconds: float = 0.0) -> Iterator[Receiver]:
    """Answers each path by its script, whose last line is repeated; 200 where there is none."""
    known = scripts or {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            before = made.keep(Told(self.path, headers, body, time.monotonic()))
            script = known.get(self.path, [status(200)])
            made.over.wait(pause_seconds)
            self.close_connection = True
            with suppress(ConnectionError):
                script[min(before, len(script) - 1)](made, self)

        do_GET = do_HEAD = do_PUT = do_POST = _serve  # noqa: N815 (the library's names)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whoever is killed says no farewell."""

    with Server(("127.0.0.1", 0), Handler) as server:
        made = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield made
        finally:
            made.over.set()
            server.shutdown()
            thread.join()


@contextmanager
def started(config: Path, more: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`certgauge run`, from its first moment, to be killed at any; it is, when left. What it logs is added."""
    with (config.parent / "stderr.log").open("ab") as log:
        command = [str(COMMAND), "run", "--config", config.name]
        popen = subprocess.Popen(
            command, cwd=config.parent, env=environment(more), stdout=subprocess.DEVNULL, stderr=log
        )
    with popen:
        try:
            yield popen
        finally:
            popen.send_signal(signal.SIGKILL)


@contextmanager
def together(*configs: Path) -> Iterator[list[Process]]:
    """Several at once."""
    with ExitStack() as stack, ThreadPoolExecutor(len(configs)) as threads:
        yield list(threads.map(lambda config: stack.enter_context(run(config)), configs))


def counted(process: Process, metric: str, **labels: str) -> int:
    """The sum of a metric's series that have these labels."""
    return sum(_samples(ask("GET", f"{process.admin_url}/metrics").text, metric, labels).values())


def _samples(text: str, metric: str, labels: Mapping[str, str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, value in re.findall(rf"^({metric}\{{.*\}}|{metric}) (\S+)$", text, re.MULTILINE):
        if all(f'{label}="{wanted}"' in name for label, wanted in labels.items()):
            found[name] += int(float(value))
    return found


def events_logged(log: Path) -> int:
    """How many announcements are in a log so far."""
    return log.read_bytes().count(b"logger=certgauge.events ") if log.exists() else 0
