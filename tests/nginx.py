"""A real nginx, in the foreground, on a socket that was bound for it: no port is guessed and no start awaited."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.foreground import listening, require, stopped_when_left

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type text/plain;
    keepalive_requests 100000;
    server {
        listen 127.0.0.1:%(port)d%(listen)s;
%(server)s
    }
}
"""


def require_nginx() -> str:
    """Where nginx is; skips the test if it is nowhere."""
    return require("nginx", "nginx-light")


@contextmanager
def nginx(directory: Path, server: str, *, tls: bool = True) -> Iterator[int]:
    """Serve with these directives of a `server` block, whose relative paths begin at `directory`; its port."""
    program = require_nginx()
    with listening() as bound:
        port: int = bound.getsockname()[1]
        parts = {"port": port, "listen": " ssl" if tls else "", "server": server}
        (directory / "nginx.conf").write_text(_CONFIGURATION % parts)
        process = subprocess.Popen(
            [program, "-p", str(directory), "-c", "nginx.conf", "-e", "stderr"],
            pass_fds=[bound.fileno()],
            # How nginx hands its sockets over to its successor.
            env={**os.environ, "NGINX": f"{bound.fileno()};"},
            stderr=subprocess.PIPE,
            text=True,
        )
    with stopped_when_left(process):
        yield port
