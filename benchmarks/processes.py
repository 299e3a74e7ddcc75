"""What all benchmarks need: a configuration of any size, the processes that serve it, and what these cost."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from exporter.listener import bind
from tests.authority import Authority

BODY = b"x" * 1024
"""What the upstream answers, whatever it is asked."""

CERTGAUGE = (sys.executable, "-m", "exporter", "run", "--config")
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

_CPUS = sorted(os.sched_getaffinity(0))
PINNED = shutil.which("taskset") is not None and len(_CPUS) > 1
_MEASURED, _LOAD = _CPUS[-1], _CPUS[0]

_READY_WITHIN_SECONDS = 300
_STOPPED_WITHIN_SECONDS = 60

_NGINX_CONF = """\
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {directory}/nginx; proxy_temp_path {directory}/nginx;
  fastcgi_temp_path {directory}/nginx; uwsgi_temp_path {directory}/nginx; scgi_temp_path {directory}/nginx;
  keepalive_requests 100000000; keepalive_timeout 600s;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;
    ssl_client_certificate {directory}/ca.pem; ssl_verify_client on; ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ default_type text/plain; return 200 "{body}"; }}
  }}
}}
"""
_CERTGAUGE_YAML = """\
proxy: {{listen: "127.0.0.1:{proxy}"}}
admin: {{listen: "127.0.0.1:{admin}"}}
certificate_expiry_monitor: {{enabled: {monitored}}}
apis: ["apis/*.yaml"]
certificates:
  upstream-ca: {{cert_file: "{directory}/ca.pem"}}
"""
_CERTIFICATE_YAML = """\
  {api_id}-client: {{cert_file: "{directory}/{api_id}.pem", key_file: "{directory}/{api_id}.key"}}
"""
_API_YAML = """\
api_id: {api_id}
listen_path: /{api_id}/
target_url: https://127.0.0.1:{upstream}/
upstream_certificates: {{"127.0.0.1": {api_id}-client}}
upstream_ca: upstream-ca
"""


def api_id(number: int) -> str:
    """Of the API with this number."""
    return f"api-{number:05}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """A file for `certgauge run`, and the ports it says."""

    file: Path
    proxy: int
    admin: int


class Site:
    """A directory with a CA and what it issued: the upstream's certificate, and a client certificate for each API."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._authority = Authority("benchmark CA")
        (directory / "ca.pem").write_bytes(self._authority.root.pem)
        self._authority.issue("upstream", timedelta(days=90), "127.0.0.1").write(directory, "server")
        self._issued = 0

    def configure(self, name: str, apis: int, *, upstream: int = 1, monitored: bool = True) -> Configuration:
        """Write a configuration of so many APIs, each with its own certificate, and free ports to serve it on."""
        self._issue(apis)
        proxy, admin = free_port(), free_port()
        definitions = self.directory / name / "apis"
        definitions.mkdir(parents=True, exist_ok=True)
        enabled = "true" if monitored else "false"
        parts = [_CERTGAUGE_YAML.format(proxy=proxy, admin=admin, monitored=enabled, directory=self.directory)]
        for number in range(apis):
            parts.append(_CERTIFICATE_YAML.format(api_id=api_id(number), directory=self.directory))
            definition = _API_YAML.format(api_id=api_id(number), upstream=upstream)
            (definitions / f"{api_id(number)}.yaml").write_text(definition)
        file = self.directory / name / "certgauge.yaml"
        file.write_text("".join(parts))
        return Configuration(file, proxy, admin)

    def _issue(self, apis: int) -> None:
        for number in range(self._issued, apis):
            self._authority.issue(api_id(number)).write(self.directory, api_id(number))
        self._issued = max(self._issued, apis)


@dataclass(frozen=True, slots=True)
class Served:
    """A process that is ready."""

    process: subprocess.Popen[str]
    ready_after_seconds: float

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far."""
        # The clock that clock_getcpuclockid(3) gives: nanoseconds, where /proc counts in ticks of 10 ms.
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def pss_bytes(self) -> int:
        """Resident memory, with what it shares divided among those who share it."""
        return int(psutil.Process(self.process.pid).memory_full_info().pss)


@contextmanager
def certgauge(configuration: Configuration, command: Sequence[str] = CERTGAUGE) -> Iterator[Served]:
    """Serve a configuration, on a CPU of its own; stops it at the end."""

    def ready() -> bool:
        return get(configuration.admin, "/ready")[0] == 200

    with _running([*command, str(configuration.file)], _MEASURED, ready, configuration.file.with_suffix(".log")) as it:
        yield it


@contextmanager
def upstream(site: Site) -> Iterator[int]:
    """An HTTPS server that demands a client certificate of the site's CA: nginx, else a small one of ours. Its port."""
    port = free_port()
    command: tuple[str, ...] = (sys.executable, "-m", "benchmarks.upstream", str(site.directory), str(port))
    if NGINX is not None:
        conf = site.directory / "nginx.conf"
        conf.write_text(_NGINX_CONF.format(directory=site.directory, port=port, body=BODY.decode()))
        command = (NGINX, "-p", str(site.directory), "-e", "stderr", "-c", str(conf))
    with _running(command, _LOAD, lambda: _listens(port), site.directory / "upstream.log"):
        yield port


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET on a connection of its own; status 0 where nothing listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except ConnectionRefusedError:
        return 0, b""
    finally:
        connection.close()


def free_port() -> int:
    """A port that nothing listens on."""
    with bind("127.0.0.1:0") as bound:
        return int(bound.getsockname()[1])


def pin_to_load_cpu() -> None:
    """Keep this process, and the upstreams it starts, away from the CPU of what is measured."""
    if PINNED:
        os.sched_setaffinity(0, {_LOAD})


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def _running(command: Sequence[str], cpu: int, is_ready: Callable[[], bool], log: Path) -> Iterator[Served]:
    pin = ["taskset", "--cpu-list", str(cpu)] if PINNED else []
    # Nothing is exported, and strings hash alike: two processes differ only in what is compared.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment["PYTHONHASHSEED"] = "0"
    with log.open("w") as errors:
        started_at = time.perf_counter()
        process = subprocess.Popen(
            [*pin, *command], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1
        )
        try:
            while not is_ready():
                if process.poll() is not None or time.perf_counter() - started_at > _READY_WITHIN_SECONDS:
                    raise RuntimeError(f"{command[0]} is not ready:\n{log.read_text()[-2000:]}")
                time.sleep(0.005)
            yield Served(process, time.perf_counter() - started_at)
        finally:
            process.terminate()
            try:
                process.wait(_STOPPED_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
