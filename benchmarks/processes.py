"""What all benchmarks need: processes that serve, each on a CPU, and what they cost."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from exporter.listener import bind

BODY = b"x" * 1024
"""What an upstream answers, unless it has something of its own under the path."""

_CPUS = sorted(os.sched_getaffinity(0))
PINNED = shutil.which("taskset") is not None and len(_CPUS) > 1
MEASURED, LOAD = _CPUS[-1], _CPUS[0]
"""The CPU of what is measured, and that of all the rest."""

_READY_WITHIN_SECONDS = 300
_STOPPED_WITHIN_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Served:
    """A process that is ready. What it costs is told with its children's part."""

    process: subprocess.Popen[str]
    ready_after_seconds: float

    def cpu_seconds(self) -> float:
        """User and system time of all threads so far."""
        # The clock that clock_getcpuclockid(3) gives: nanoseconds, where /proc counts in ticks of 10 ms.
        return sum(time.clock_gettime(~each.pid << 3 | 2) for each in self._tree())

    def pss_bytes(self) -> int:
        """Resident memory, with what it shares divided among those who share it."""
        return sum(int(each.memory_full_info().pss) for each in self._tree())

    def peak_rss_bytes(self) -> int:
        """The most resident memory since the start, as the kernel noticed it; what is shared counts for each."""
        return sum(_peak_rss_bytes(each.pid) for each in self._tree())

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]


def _peak_rss_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET on a connection of its own; status 0 where nothing listens yet."""
    return _ask(port, "GET", path, None)


def post(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    """The same of a POST."""
    return _ask(port, "POST", path, body)


def _ask(port: int, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
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
        os.sched_setaffinity(0, {LOAD})


def listens(port: int) -> bool:
    """Somebody does, on this port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def running(
    command: Sequence[str], cpu: int, is_ready: Callable[[], bool], log: Path, more: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Run a server on a CPU, from when it is ready; stops it at the end. `more` is added to its environment."""
    pin = ["taskset", "--cpu-list", str(cpu)] if PINNED else []
    # Nothing is exported unless told, and strings hash alike: two processes differ only in what is compared.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment |= {"PYTHONHASHSEED": "0", **(more or {})}
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


def turned(names: Sequence[str], by: int) -> list[str]:
    """So that each has every place of the order in one round or another."""
    by %= len(names)
    return [*names[by:], *names[:by]]
