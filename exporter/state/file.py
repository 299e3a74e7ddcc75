"""The state file and what happens to it: locked, read, written, moved aside. For one thread; blocks."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from exporter.certcheck.text import one_line
from exporter.state.rows import Row
from exporter.state.schema import RefusedError, check, migrate

log = logging.getLogger(__name__)

Change: TypeAlias = Sequence[tuple[str, Iterable[Row]]]
"""Statements, each with the rows that it is executed for; they may be made when needed, in the file's thread."""

_MOST_MOVED_ASIDE = 5
# A table that is missing, or has other columns than it was given, is damage too.
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA journal_size_limit = 8388608",
)


class Reader(Protocol):
    """Reads one kind of what is in the file."""

    def read(self, connection: sqlite3.Connection) -> Iterator[Any]:
        """What there is, one by one; None in the place of what is damaged."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What was in the file, by the reader; nothing, if it has been read before."""

    items: tuple[list[Any], ...]
    damaged: bool = False
    """There was more, which could not be read: the file has been moved aside, and a fresh one is empty."""


class BehindError(Exception):
    """Something before this was not written; all must be written anew."""


class StateFile:
    """One SQLite database that this process alone uses: who is second is refused, whatever became of the first."""

    def __init__(self, path: Path, busy: timedelta = timedelta(seconds=2)) -> None:
        # SQLite names its log after what a link leads to.
        self.path = path.resolve()
        self._busy = busy.total_seconds()
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None
        self._behind = True

    @property
    def name(self) -> str:
        return one_line(self.path.name)

    def open(self, readers: Sequence[Reader]) -> Found:
        """Open what is not open, and read what has not been read.

        Raises:
            RefusedError: it is another's, another process has it, or a newer version wrote it.
            OSError, sqlite3.Error: it cannot be opened now.
        """
        found = Found(tuple([] for _ in readers))
        if self._connection is not None:
            return found
        known = self._identity
        self._take_lock()
        try:
            connection = self._connect()
            if self._identity == known:
                return found
            damaged = not _read(connection, readers, found)
        except sqlite3.DatabaseError as exc:
            self._identity = known
            if not _is_damage(exc):
                self._disconnect()
                raise
            damaged = True
        except BaseException:
            self._identity = known
            self._disconnect()
            raise
        if damaged:
            self._move_aside()
            self._connect()
        self._behind = damaged
        return Found(found.items, damaged)

    def write(self, change: Change) -> None:
        """Make a change, whole or not at all; it is on the disk when this returns.

        Raises:
            BehindError: something before it was not written.
            OSError, sqlite3.Error: it was not written, nor will be what comes, until all is `replace`d.
        """
        if self._behind:
            raise BehindError
        self.replace(change)

    def replace(self, change: Change) -> None:
        """The same, with a change that leaves nothing in the file as it was."""
        self._behind = True
        if self._connection is None:
            raise BehindError
        try:
            self._check_place()
            _transact(self._connection, change)
        except sqlite3.Error as exc:
            if _is_damage(exc):
                self._move_aside()
            # What was opened while the disk was read-only stays so.
            self._disconnect()
            raise
        self._behind = False

    def close(self) -> None:
        """Let go of everything; the file is whole without a write-ahead log."""
        self._disconnect()
        self._unlock()

    def _check_place(self) -> None:
        """What is written to a file that has been removed or replaced is lost."""
        if _identity_of(self.path) == self._identity:
            return
        stale = _identity_of(f"{self.path}-wal") == self._log_identity
        self._identity = None
        self.close()
        if stale:
            # It would be taken for the log of whatever is in that place.
            self._remove_log()
        raise FileNotFoundError("the state file is no longer in its place")

    def _remove_log(self) -> None:
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _connect(self) -> sqlite3.Connection:
        # Made here, so that nobody else can read it at any moment; and closed before SQLite opens it, for closing any
        # descriptor of a file ends the locks that the process has on it.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
            self._identity = _identity_of(descriptor)
        finally:
            os.close(descriptor)
        connection = sqlite3.connect(self.path, timeout=self._busy, isolation_level=None)
        self._connection = connection
        connection.text_factory = _text
        check(connection)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        migrate(connection)
        self._log_identity = _identity_of(f"{self.path}-wal")
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        # The system gives it back when the process ends, however it ends; the file itself says nothing and stays.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{self.path}.lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise RefusedError("is in use by another process") from None
        except OSError:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _move_aside(self) -> None:
        """Keep what is damaged under another name, with its log: a fresh file must not be given that."""
        self._disconnect()
        self._identity = None
        aside = f"{self.path}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").replace(f"{aside}{suffix}")
        log.error("state file is corrupt and was moved aside", extra={"file": one_line(Path(aside).name)})
        moved = sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.corrupt-*Z"))
        # A disk that goes on damaging it must not be filled.
        for old in moved[:-_MOST_MOVED_ASIDE]:
            for suffix in ("-wal", "-shm", ""):
                Path(f"{old}{suffix}").unlink(missing_ok=True)


def _transact(connection: sqlite3.Connection, change: Change) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, rows in change:
            connection.executemany(statement, rows)
        connection.execute("COMMIT")
    except BaseException:
        # Some errors have ended the transaction already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _read(connection: sqlite3.Connection, readers: Sequence[Reader], found: Found) -> bool:
    """Read what can be read into `found`; whether that was everything."""
    whole = True
    for reader, items in zip(readers, found.items, strict=True):
        try:
            for item in reader.read(connection):
                whole = whole and item is not None
                items.extend([] if item is None else [item])
        except sqlite3.DatabaseError as exc:
            if not _is_damage(exc):
                raise
            whole = False
    return whole


def _code(exc: sqlite3.Error) -> int:
    # The lowest byte: the rest says more, of the same kind.
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_INTERNAL) & 0xFF


def _is_damage(exc: sqlite3.Error) -> bool:
    return _code(exc) in _DAMAGE


def _identity_of(file: Path | str | int) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
