"""A real HAProxy, in the foreground, on a socket that was bound for it: no port is guessed and no start awaited."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CONFIGURATION = """
global
    maxconn 512
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend client
    bind fd@%(listening)d
    default_backend upstream
backend upstream
    server upstream 127.0.0.1:%(upstream)d
"""


def require_haproxy() -> str:
    """Where HAProxy is; skips the test if it is nowhere."""
    found = shutil.which("haproxy", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        pytest.skip("HAProxy is not installed (Debian: apt-get install haproxy)")
    return found


@contextmanager
def haproxy(directory: Path, upstream: int) -> Iterator[int]:
    """Forward to this port of the loopback address, by the defaults for all the rest; its own port."""
    program = require_haproxy()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        port: int = listening.getsockname()[1]
        parts = {"listening": listening.fileno(), "upstream": upstream}
        (directory / "haproxy.cfg").write_text(_CONFIGURATION % parts)
        process = subprocess.Popen(
            [program, "-db", "-q", "-f", "haproxy.cfg"],
            cwd=directory,
            pass_fds=[listening.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        yield port
    finally:
        process.terminate()
        try:
            _, errors = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
        print(errors)  # noqa: T201 (shown by pytest if the test fails)
