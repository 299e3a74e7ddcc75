"""A real HAProxy, in the foreground, on a socket that was bound for it: no port is guessed and no start awaited."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.foreground import listening, require, stopped_when_left

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


@contextmanager
def haproxy(directory: Path, upstream: int) -> Iterator[int]:
    """Forward to this port of the loopback address, by the defaults for all the rest; its own port."""
    with configured_haproxy(directory, _CONFIGURATION, upstream=upstream) as port:
        yield port


@contextmanager
def configured_haproxy(directory: Path, configuration: str, **parts: str | int) -> Iterator[int]:
    """With this configuration, which these parts, and the socket as `listening`, are filled into; its own port."""
    program = require_haproxy()
    with listening() as bound:
        port: int = bound.getsockname()[1]
        (directory / "haproxy.cfg").write_text(configuration % {**parts, "listening": bound.fileno()})
        process = subprocess.Popen(
            [program, "-db", "-q", "-f", "haproxy.cfg"],
            cwd=directory,
            pass_fds=[bound.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
    with stopped_when_left(process):
        yield port


def require_haproxy() -> str:
    """Where HAProxy is; skips the test if it is nowhere."""
    return require("haproxy", "haproxy")
