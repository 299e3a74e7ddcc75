"""certgauge as `certgauge run` serves it, with a probe on its event loop. `python -m benchmarks.probed CONFIG`

SIGUSR1 starts the probe; SIGUSR2 stops it and prints, in milliseconds, by how much it was late at most.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

import uvloop

from exporter import logs
from exporter.app import running
from exporter.proxy.httptools import HttptoolsCore
from exporter.settings import read_settings
from exporter.telemetry.environment import Otlp

_PERIOD_SECONDS = 0.001


async def probe(stop: asyncio.Event) -> None:
    """Sleep a millisecond at a time, and print the longest that it was late."""
    longest = 0.0
    while not stop.is_set():
        # Not the loop's own time, which stands still while a callback runs.
        due_at = perf_counter() + _PERIOD_SECONDS
        await asyncio.sleep(_PERIOD_SECONDS)
        longest = max(longest, perf_counter() - due_at)
    print(f"{longest * 1000:.3f}", flush=True)


async def main(file: Path) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended, stop_probe = asyncio.Event(), asyncio.Event()
    read = partial(read_settings, file, {}, ["httptools"])

    async with running(read(), read, core=HttptoolsCore, telemetry=Otlp()), asyncio.TaskGroup() as tasks:
        gc.freeze()

        def start_probe() -> None:
            stop_probe.clear()
            tasks.create_task(probe(stop_probe), name="probe")

        loop.add_signal_handler(signal.SIGTERM, ended.set)
        loop.add_signal_handler(signal.SIGUSR1, start_probe)
        loop.add_signal_handler(signal.SIGUSR2, stop_probe.set)
        await ended.wait()
        stop_probe.set()


if __name__ == "__main__":
    logs.configure("WARNING")
    # As the command does it.
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.0005)
    uvloop.run(main(Path(sys.argv[1])))
