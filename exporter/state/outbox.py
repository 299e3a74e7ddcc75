"""An outbox that outlasts the process: in memory, and written down in the state file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from exporter.outbox import MOST_EVENTS, MOST_SETTLED, Delivery, Record
from exporter.state.database import Database
from exporter.state.file import Change
from exporter.state.ledger import Changes, Entry, Ledger
from exporter.state.memory_outbox import MemoryOutbox
from exporter.state.rows import Row, RowError, delivery_of, delivery_row, record_of, record_row

_ADD = "INSERT OR REPLACE INTO record VALUES (?, ?, ?)"
_WRITE = "INSERT OR REPLACE INTO delivery VALUES (?, ?, ?, ?)"
_FORGET = ("DELETE FROM record WHERE number = ?", "DELETE FROM delivery WHERE number = ?")
_EMPTY = ("DELETE FROM record", "DELETE FROM delivery")
_READ = """\
SELECT record.number, record.body, record.checksum, delivery.number, handler, delivery.body, delivery.checksum
FROM record LEFT JOIN delivery ON delivery.number = record.number ORDER BY record.number"""


class SqliteOutbox(MemoryOutbox):
    """Answers from memory; what changes is on the disk when a call returns, unless the database is failing."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self._ledger = ledger or Ledger()
        super().__init__(self._ledger)
        self._database = database
        database.keep(self)

    @property
    def failing(self) -> bool:
        """Whether what is pending would be lost with the process."""
        return self._database.failing

    async def put(self, record: Record, handlers: Collection[str]) -> list[Delivery]:
        dropped = self._ledger.put(record, handlers)
        # Also where nothing has changed: what an earlier call has changed may still be on its way.
        await self._database.write(_change(self._ledger.changes))
        return dropped

    async def attempted(self, deliveries: Collection[Delivery]) -> list[Record]:
        settled = self._ledger.attempted(deliveries)
        await self._database.write(_change(self._ledger.changes))
        return settled

    async def close(self) -> None:
        await self._database.write(())

    def read(self, connection: sqlite3.Connection) -> Iterator[Entry | None]:
        rows = connection.execute(_READ)
        for kept, (_, group) in enumerate(groupby(rows, itemgetter(0))):
            if kept > MOST_EVENTS + MOST_SETTLED:
                yield None
                return
            yield from _entry(list(group))

    def restore(self, found: list[Any]) -> bool:
        return self._ledger.restore(found)

    def everything(self) -> Change:
        entries = self._ledger.entries()
        return (
            *((statement, [()]) for statement in _EMPTY),
            (_ADD, (record_row(entry.number, entry.record) for entry in entries)),
            (_WRITE, (delivery_row(entry.number, each) for entry in entries for each in entry.deliveries)),
        )


def _change(changes: Changes) -> Change:
    """Rows are made in the file's thread: to turn a thousand events into text here would hold up requests."""
    deleted: list[Row] = [(number,) for number in changes.deleted]
    return (
        (_ADD, (record_row(*each) for each in changes.added)),
        (_WRITE, (delivery_row(*each) for each in changes.written)),
        *((statement, deleted) for statement in _FORGET if deleted),
    )


def _entry(rows: Sequence[Sequence[Any]]) -> Iterator[Entry | None]:
    """An event and its deliveries, as far as they can be believed; None for what cannot."""
    try:
        number, record = record_of(rows[0][:3])
    except RowError:
        yield None
        return
    deliveries = []
    for row in rows:
        try:
            deliveries += [delivery_of(row[3:], record)] if row[3] is not None else []
        except RowError:
            yield None
    yield Entry(number, record, tuple(deliveries))
