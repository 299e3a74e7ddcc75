"""Servers in the foreground, on a socket that was bound for them: no port is guessed, no start awaited."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def require(program: str, package: str) -> str:
    """Where a program is; skips the test if it is nowhere."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install {package})")
    return found


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket on a free port of the loopback address, to be handed over."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(512)
        yield bound


@contextmanager
def stopped_when_left(process: subprocess.Popen[str]) -> Iterator[None]:
    """End it when left, and show what it has said."""
    try:
        yield
    finally:
        process.terminate()
        try:
            _, errors = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
        print(errors)  # noqa: T201 (shown by pytest if the test fails)
