"""certgauge as `certgauge run` serves it, with a probe on its event loop: `python -m tests.wire.probed CONFIG CORE`.

SIGUSR1 prints the longest time in milliseconds that the loop kept everything waiting since the last one.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from time import perf_counter

import uvloop

from exporter import logs
from exporter.app import running
from exporter.settings import Settings, read_settings
from exporter.state.place import Place, state_of
from exporter.telemetry.environment import Otlp
from tests.process import PATIENCE_SECONDS, environment

_PERIOD_SECONDS = 0.001


class Probe:
    """Sleeps a millisecond at a time, and keeps the longest that it was late."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            # Not the loop's own time, which stands still while a callback runs.
            due_at = perf_counter() + _PERIOD_SECONDS
            await asyncio.sleep(_PERIOD_SECONDS)
            self._longest = max(self._longest, perf_counter() - due_at)

    def tell(self) -> None:
        print(f"{self._longest * 1000:.3f}", flush=True)  # noqa: T201 (its one result)
        self._longest = 0.0


async def main(file: Path, core: str) -> None:
    loop, ended, probe = asyncio.get_running_loop(), asyncio.Event(), Probe()
    read = partial(read_settings, file, {}, [core])
    settings = read()
    [factory] = entry_points(group="certgauge.proxy_cores", name=core)
    async with (
        running(settings, read, core=factory.load(), telemetry=Otlp(), place=_place(settings)) as serves,
        asyncio.TaskGroup() as tasks,
    ):
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        loop.add_signal_handler(signal.SIGUSR1, probe.tell)
        tasks.create_task(probe.run(ended), name="probe")
        print(serves.proxy_url, flush=True)  # noqa: T201 (where it serves)
        await ended.wait()


def _place(settings: Settings) -> Place:
    return state_of(settings.configuration.state, {}, settings.file)


@dataclass(frozen=True)
class Probed:
    """One that serves."""

    proxy_url: str
    popen: subprocess.Popen[str]

    def longest_pause_ms(self) -> float:
        """Since it was last asked."""
        assert self.popen.stdout is not None
        self.popen.send_signal(signal.SIGUSR1)
        return float(self.popen.stdout.readline())


@contextmanager
def probed(config: Path, core: str) -> Iterator[Probed]:
    """Serve a configuration in a process of its own."""
    command = [sys.executable, "-m", "tests.wire.probed", str(config), core]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout is not None
            yield Probed(popen.stdout.readline().strip(), popen)
            popen.send_signal(signal.SIGTERM)
            assert popen.wait(PATIENCE_SECONDS) == 0
        finally:
            popen.kill()


if __name__ == "__main__":
    logs.configure("ERROR")
    # As the command does.
    gc.set_threshold(20_000, 20, 50)
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2]))
