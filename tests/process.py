"""A real `certgauge run`, as an operator starts it: its addresses, what it prints, how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.authority import Authority

COMMAND = Path(sys.executable).with_name("certgauge")
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """A response, whole."""

    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


def ask(method: str, url: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Send one request on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read().decode())
    finally:
        connection.close()


@dataclass
class Process:
    """One that serves."""

    popen: subprocess.Popen[str]
    proxy_url: str
    admin_url: str
    log: Path
    output: str
    """What it has written to standard output; all of it once it has stopped."""

    @property
    def errors(self) -> str:
        """What it has written to standard error so far."""
        return self.log.read_text("utf-8")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it by a signal; it ends as it should: status 0, and no traceback."""
        self.popen.send_signal(number)
        assert self.popen.wait(PATIENCE_SECONDS) == 0
        self.output += self.popen.stdout.read() if self.popen.stdout else ""
        assert "Traceback" not in self.errors

    def await_log(self, text: str) -> None:
        """Wait until it has logged something."""
        wait_until(lambda: text in self.errors)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it has not happened in time"
        time.sleep(0.02)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, less what would send telemetry somewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | dict(more or {})


@contextmanager
def run(
    config: Path, *arguments: str, more: Mapping[str, str] | None = None, through: Sequence[str] = ()
) -> Iterator[Process]:
    """`certgauge run`, started in the configuration's directory; ready on entry, stopped by SIGTERM when left.

    What it is started `through` has to become it, with the process id that it has.
    """
    log = config.parent / "stderr.log"
    with log.open("w") as stderr:
        popen = subprocess.Popen(
            [*through, COMMAND, "run", "--config", config.name, *arguments],
            cwd=config.parent,
            env=environment(more),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with popen:
        try:
            assert popen.stdout is not None
            output = popen.stdout.readline() + popen.stdout.readline()
            urls = re.fullmatch(r"proxy (\S+)\nadmin (\S+)\n", output)
            assert urls is not None, output + log.read_text("utf-8")
            process = Process(popen, urls[1], urls[2], log, output)
            yield process
            if popen.poll() is None:
                process.stop()
        except Exception as exc:
            if (status := popen.poll()) is not None:
                exc.add_note(f"It has ended, with {status}:\n{log.read_text('utf-8')[-4000:]}")
            raise
        finally:
            popen.kill()


def demanding(directory: Path, authority: Authority) -> ssl.SSLContext:
    """TLS of an upstream on localhost that demands a certificate of this authority."""
    certificate, key = authority.issue("localhost").write(directory, "upstream")
    (directory / "anchors.pem").write_bytes(authority.root.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / certificate, directory / key)
    context.load_verify_locations(directory / "anchors.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_request(self, *_: object) -> None:
        """Nothing: pytest shows what fails."""


@contextmanager
def upstream(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that answers `hello`; its port on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
