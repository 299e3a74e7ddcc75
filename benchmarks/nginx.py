"""nginx, and the upstream of all benchmarks on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BODY, LOAD, free_port, get, listens, running
from benchmarks.site import Site

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

SIZES = {"64KiB": 64 << 10, "10MiB": 10 << 20}
"""What nginx as the upstream has under these paths; everywhere else it has BODY."""
READ = "read"
"""Here the upstream reads what is posted to it."""

_CONF = """\
daemon off; master_process off; pid {directory}/{name}.pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {directory}/{name}; proxy_temp_path {directory}/{name};
  fastcgi_temp_path {directory}/{name}; uwsgi_temp_path {directory}/{name}; scgi_temp_path {directory}/{name};
  keepalive_requests 100000000; keepalive_timeout 600s; client_body_buffer_size 64k; default_type text/plain;
  {http}
}}
"""
# With `return` alone a body is answered before it has come, and who sends it may close the connection. To mirror it,
# nginx reads it first; then a file refuses the POST, and that becomes 200.
_UPSTREAM = """\
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;
    ssl_client_certificate {directory}/ca.pem; ssl_verify_client on;
    ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;
    root {directory}/files;
    location / {{ return 200 "{body}"; }}
    {files}
    location = /{read} {{ mirror /mirrored; error_page 405 =200 /; }}
    location = /mirrored {{ internal; return 204; }}
  }}
  server {{ listen 127.0.0.1:{status}; location / {{ stub_status; }} }}"""


def command(directory: Path, name: str, http: str) -> list[str]:
    """Write a configuration with this in its `http` block; what serves it, in one process."""
    conf = directory / f"{name}.conf"
    conf.write_text(_CONF.format(directory=directory, name=name, http=http))
    return [NGINX or "nginx", "-p", str(directory), "-e", "stderr", "-c", str(conf)]


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running one. Only nginx has a status."""

    port: int
    status: int

    def counted(self) -> tuple[int, int]:
        """Connections accepted and requests read so far, on both ports: asking adds one to each."""
        _, body = get(self.status, "/")
        accepted, _, requests = (int(number) for number in body.splitlines()[2].split())
        return accepted, requests


@contextmanager
def upstream(site: Site) -> Iterator[Upstream]:
    """An HTTPS server that demands a client certificate of the site's CA: nginx, else a small one of ours."""
    it = Upstream(free_port(), free_port())
    serve = [sys.executable, "-m", "benchmarks.upstream", str(site.directory), str(it.port)]
    if NGINX is not None:
        serve = command(site.directory, "upstream", _http(site.directory, it))
    with running(serve, LOAD, lambda: listens(it.port), site.directory / "upstream.log"):
        yield it


def _http(directory: Path, it: Upstream) -> str:
    files = directory / "files"
    files.mkdir()
    (files / READ).touch()
    for name, size in SIZES.items():
        (files / name).write_bytes(b"x" * size)
    locations = " ".join(f"location = /{name} {{ }}" for name in SIZES)
    return _UPSTREAM.format(
        port=it.port, status=it.status, directory=directory, body=BODY.decode(), files=locations, read=READ
    )
