"""A real Redis on a free port of the loopback address, without persistence; its clock can be set."""

from __future__ import annotations

import glob
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from exporter.cooldowns.connection import Server
from exporter.redis_url import RedisUrl
from tests.fakes import FakeClock
from tests.foreground import require


class RedisServer:
    """One that can be stopped, frozen and started again on its port, empty."""

    def __init__(self, directory: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self._program = require("redis-server", "redis-server")
        self._directory = directory
        self._options = options
        self._environment = {**os.environ, **(environment or {})}
        self.port = _free_port()

    def start(self) -> None:
        """Return when it serves."""
        port = () if "--tls-port" in self._options else ("--port", str(self.port))
        fixed = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self._directory))
        options = [option.replace("PORT", str(self.port)) for option in self._options]
        self._process = subprocess.Popen(
            [self._program, *port, *fixed, *options], env=self._environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if "Ready to accept connections" in line:
                return
        self.stop()
        if "Bad directive" in "".join(lines) and "--tls-port" in self._options:
            pytest.skip("redis-server is built without TLS")
        raise AssertionError("".join(lines))

    def stop(self) -> None:
        """End it at once: what it knew is gone."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def freeze(self) -> None:
        """It takes connections, for the system does, and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def server(self, prefix: str = "default") -> Server:
        return Server(RedisUrl("127.0.0.1", self.port, tls=False, prefix=prefix))

    def command(self, *words: str) -> str:
        """Send one command on a connection of its own; the answer as it is."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(request.encode())
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


class ServerClock(FakeClock):
    """The clock of a server under libfaketime: it stands still until it is set."""

    def __init__(self, file: Path) -> None:
        self._file = file
        super().__init__()
        self.set(self.now)

    def advance(self, by: timedelta) -> None:
        self.set(self.now + by)

    def set(self, now: datetime) -> None:
        self.now = now
        new = self._file.with_suffix(".new")
        # A little more than the millisecond, so that no rounding makes it less.
        new.write_text(f"{(now + timedelta(microseconds=100)).timestamp():.6f}\n")
        new.replace(self._file)


@contextmanager
def redis(directory: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[RedisServer]:
    """One that serves until it is left."""
    server = RedisServer(directory, *options, environment=environment)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def fake_time(file: Path) -> dict[str, str]:
    """The environment of a process whose clock is in a file; skips the test without libfaketime."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        pytest.skip("libfaketime is not installed (Debian: apt-get install faketime)")
    return {
        # The C library's malloc before jemalloc, which asks for the time before libfaketime can tell.
        "LD_PRELOAD": f"{found[0]} libc.so.6",
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_FMT": "%s",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
