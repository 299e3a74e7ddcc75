"""A process that is killed: puts events and settles them, ten at a time, and says on its output what has been done.

`python -m tests.state.killed FILE COUNT`; after `done` it waits until its input ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from exporter.outbox import Outcome
from tests.fakes import NOON
from tests.state import Opened, opened, record

HANDLERS = ("otlp", "orders/ops")
_AT_ONCE = 10


def say(*words: str) -> None:
    """In one system call, so that a line is there or is not."""
    os.write(1, f"{' '.join(words)}\n".encode())


async def announce(state: Opened, names: list[str]) -> None:
    for name in names:
        await state.outbox.put(record(name), HANDLERS)
        say("put", name)
        for handler in HANDLERS:
            found = next(each for each in await state.outbox.due(handler, NOON, 1000) if each.record.event_id == name)
            say("delivered", name, handler)
            await state.outbox.attempted([replace(found, attempts=1, outcome=Outcome.DELIVERED, settled_at=NOON)])
            say("settled", name, handler)


async def main(file: Path, count: int) -> None:
    async with opened(file) as state:
        async with asyncio.TaskGroup() as group:
            for first in range(_AT_ONCE):
                group.create_task(announce(state, [str(number) for number in range(first, count, _AT_ONCE)]))
        say("done")
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
