"""Records to write down, and a state file to write them to."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

from exporter.certcheck.events import EventKind
from exporter.certcheck.ports import CooldownKey
from exporter.certcheck.slot import Role
from exporter.outbox import Record
from exporter.state.cooldowns import SqliteCooldowns
from exporter.state.database import Database
from exporter.state.file import Change, StateFile
from exporter.state.ledger import Ledger
from exporter.state.outbox import SqliteOutbox
from tests.fakes import NOON, FakeClock

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
NAME = "certgauge.state.sqlite3"


def record(event_id: str, kind: EventKind = EventKind.EXPIRED, api_id: str | None = "orders") -> Record:
    key = CooldownKey(api_id, Role.UPSTREAM, f"of {event_id}", kind)
    payload = {"event": kind.value, "event_id": event_id, "days_remaining": -1, "used_by": [{"api_id": "orders"}]}
    return Record(event_id, api_id, kind, NOON, payload, {"server.address": "a", "server.port": 1}, key, DAY)


class Opened:
    """A database with an outbox and cooldowns in it; `failures` is how often it has failed."""

    def __init__(self, file: StateFile, ledger: Ledger | None = None, **times: timedelta) -> None:
        self.failures = 0
        self.clock = FakeClock()
        # Nothing is tried again in a test but when the test says so.
        self.database = Database(file, self._failed, **{"retry": HOUR, **times})
        self.outbox = SqliteOutbox(self.database, ledger)
        self.cooldowns = SqliteCooldowns(self.database, self.clock)

    def _failed(self) -> None:
        self.failures += 1


class Pragma(StateFile):
    """Executes a pragma before each transaction: SQLite's own way to have a disk full, or read-only."""

    pragma = "PRAGMA query_only = OFF"

    def replace(self, change: Change) -> None:
        if self._connection is not None:
            self._connection.execute(self.pragma)
        super().replace(change)


@asynccontextmanager
async def opened(place: Path | StateFile, ledger: Ledger | None = None, **times: timedelta) -> AsyncIterator[Opened]:
    state = Opened(place if isinstance(place, StateFile) else StateFile(place), ledger, **times)
    await state.database.open()
    try:
        yield state
    finally:
        await state.database.close()


async def ids(state: Opened) -> list[str]:
    return [each.event_id for each in await state.outbox.pending()]


def on_disk(file: Path) -> int:
    """How many events another connection finds."""
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM record").fetchone()[0])


def aside(file: Path) -> list[Path]:
    """What was moved aside, without what belongs to it."""
    return sorted(file.parent.glob(f"{file.name}.corrupt-*Z"))
