"""Event cooldowns that outlast the process: in memory, and written down in the state file."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from exporter.certcheck.ports import Clock, CooldownKey
from exporter.state.database import Database
from exporter.state.file import Change
from exporter.state.rows import LONGEST, Row, RowError, instant, key_of, parsed, sealed, unsealed

_MOST_KEPT = 100_000
_SWEEP_FROM = 1024
_PUT = "INSERT OR REPLACE INTO cooldown VALUES (?, ?, ?)"
_FORGET = "DELETE FROM cooldown WHERE key = ?"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A cooldown; or, with an `event_id`, a claim."""

    started_at: datetime
    ends_at: datetime
    kept_until: datetime
    """How long a claim's `event_id` is remembered."""
    event_id: str | None = None
    owner: str | None = None
    """None: a process that has gone; what it claimed has lapsed."""

    def runs(self, now: datetime, longest: timedelta) -> bool:
        # A clock set back must not prolong it: none may last longer than configured.
        return self.started_at <= now < self.ends_at and self.ends_at - now <= longest


class SqliteCooldowns:
    """Answers from memory, and never waits: what changes is on the disk before what an outbox is given later.

    Only one process has the file, so a claim that is found there is that of one that has gone: it has lapsed. Of more
    than 100,000 entries the oldest is forgotten.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._owner = str(uuid.uuid4())
        self._entries: dict[CooldownKey, _Entry] = {}
        self._sweep_at = _SWEEP_FROM
        database.keep(self)

    @property
    def failing(self) -> bool:
        """Whether what has been announced would be forgotten with the process."""
        return self._database.failing

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        now = self._clock()
        entry = self._entries.get(key)
        if entry and entry.runs(now, lease if entry.event_id is not None else cooldown):
            return None
        if entry and entry.event_id is not None:
            event_id = entry.event_id
        ends_at = now + min(lease, LONGEST)
        self._put(key, _Entry(now, ends_at, ends_at + min(cooldown, LONGEST), event_id, self._owner))
        return event_id

    async def renew(self, keys: Collection[CooldownKey], lease: timedelta) -> None:
        now = self._clock()
        for key in keys:
            entry = self._entries.get(key)
            if entry and entry.owner == self._owner and entry.runs(now, LONGEST):
                ends_at = now + min(lease, LONGEST)
                kept_until = ends_at + (entry.kept_until - entry.ends_at)
                # Not written down: when another process reads it, it has lapsed.
                self._entries[key] = replace(entry, started_at=now, ends_at=ends_at, kept_until=kept_until)

    async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
        now = self._clock()
        ends_at = now + min(cooldown, LONGEST)
        self._put(key, _Entry(now, ends_at, ends_at))

    async def release(self, key: CooldownKey) -> None:
        entry = self._entries.get(key)
        if entry and entry.owner == self._owner:
            self._forget([key])

    async def close(self) -> None:
        await self._database.write(())

    def read(self, connection: sqlite3.Connection) -> Iterator[tuple[CooldownKey, _Entry] | None]:
        for row in connection.execute(f"SELECT key, body, checksum FROM cooldown LIMIT {_MOST_KEPT}"):  # noqa: S608 # a constant
            try:
                yield _entry_of(row)
            except ValueError:
                yield None

    def restore(self, found: list[Any]) -> bool:
        # In the order in which they were put: what is kept for longest is forgotten first.
        older = dict(sorted(found, key=lambda item: item[1].started_at))
        here, self._entries = self._entries, older
        for key, entry in here.items():
            self._entries.pop(key, None)
            self._entries[key] = entry
        return bool(here)

    def everything(self) -> Change:
        entries = list(self._entries.items())
        return ("DELETE FROM cooldown", [()]), (_PUT, (_row(*each) for each in entries))

    def _put(self, key: CooldownKey, entry: _Entry) -> None:
        # Put back last: a dict keeps its order.
        self._entries.pop(key, None)
        self._sweep(entry.started_at)
        self._entries[key] = entry
        self._database.note([(_PUT, [_row(key, entry)])])

    def _sweep(self, now: datetime) -> None:
        if len(self._entries) >= self._sweep_at:
            # Doubling makes the sweep cheap per entry; what is left is what is really needed.
            self._forget([key for key, each in self._entries.items() if not each.started_at <= now < each.kept_until])
            self._sweep_at = max(_SWEEP_FROM, 2 * len(self._entries))
        if len(self._entries) >= _MOST_KEPT:
            # Clients may present any number of certificates; a repeated warning is a nuisance, no memory an outage.
            self._forget([next(iter(self._entries))])

    def _forget(self, keys: Collection[CooldownKey]) -> None:
        for key in keys:
            del self._entries[key]
        if keys:
            self._database.note([(_FORGET, [(_text(key),) for key in keys])])


def _text(key: CooldownKey) -> str:
    return json.dumps(key)


def _row(key: CooldownKey, entry: _Entry) -> Row:
    times = (each.isoformat() for each in (entry.started_at, entry.ends_at, entry.kept_until))
    return sealed(_text(key), json.dumps([*times, entry.event_id]))


def _entry_of(row: tuple[Any, ...]) -> tuple[CooldownKey, _Entry]:
    """Raises ValueError."""
    key, body = map(parsed, unsealed(row))
    match body:
        case [str(started_at), str(ends_at), str(kept_until), str() | None as event_id]:
            started, ends, kept = instant(started_at), instant(ends_at), instant(kept_until)
        case _:
            raise RowError
    if not isinstance(key, list) or not started <= ends <= kept or ends - started > LONGEST or kept - ends > LONGEST:
        raise RowError
    # Nobody holds a claim any more.
    return key_of(key), _Entry(started, ends if event_id is None else started, kept, event_id)
