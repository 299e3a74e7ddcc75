"""Events handed to an exporter of log records until they are taken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Thread

from exporter.attempts import Attempt, Delivered, Retry
from exporter.outbox import Delivery, Record

NAME = "otlp"
"""Of the handler."""


class OtlpHandler:
    """Hands over many at a time. `export` blocks, and says whether all were taken."""

    # Of the largest payloads, too, that is less than the 4 MiB which receivers take of a message.
    at_once = 100

    def __init__(self, export: Callable[[Sequence[Record]], bool]) -> None:
        self._export = export

    async def deliver(self, deliveries: Sequence[Delivery], _at: datetime) -> Sequence[Attempt]:
        records = [each.record for each in deliveries]
        taken = await _apart(lambda: self._export(records))
        return [Delivered() if taken else Retry(None, "the collector did not take it")] * len(deliveries)

    async def close(self) -> None:
        """Whoever has made the exporter ends it."""


async def _apart(work: Callable[[], bool]) -> bool:
    """In a daemon of its own: the library's waits cannot be bounded, and must not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    outcome = False

    def run() -> None:
        nonlocal outcome
        try:
            outcome = work()
        finally:
            # Nobody waits any more if the loop has been closed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

    Thread(target=run, daemon=True, name="otlp events").start()
    await done.wait()
    return outcome
