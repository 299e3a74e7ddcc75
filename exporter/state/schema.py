"""The tables of the state file, and how a file of an earlier version gets them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

APPLICATION_ID = 0x63677374
"""`cgst`, at byte 68 of the file: a database with another number is somebody else's."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE record (number INTEGER PRIMARY KEY, body TEXT NOT NULL, checksum INTEGER NOT NULL)",
        """CREATE TABLE delivery (number INTEGER NOT NULL, handler TEXT NOT NULL, body TEXT NOT NULL,
        checksum INTEGER NOT NULL, PRIMARY KEY (number, handler)) WITHOUT ROWID""",
        """CREATE TABLE cooldown (key TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL, checksum INTEGER NOT NULL)
        WITHOUT ROWID""",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
)
"""The n-th leads from version n (`user_version`) to the next. What has been released never changes."""


_TABLES = {"record", "delivery", "cooldown"}


class RefusedError(Exception):
    """The file must not be used; the text says why, as part of a configuration error. It is as it was."""


def check(connection: sqlite3.Connection, known: int = len(MIGRATIONS)) -> None:
    """See whether a database is ours, and of a version that is known.

    Raises:
        RefusedError: it is not.
    """
    version, application = _number(connection, "user_version"), _number(connection, "application_id")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if application != APPLICATION_ID and (tables or application) and not tables >= _TABLES:
        raise RefusedError("names a database that belongs to another program")
    if version > known:
        raise RefusedError(f"was written by a newer version of certgauge: schema {version}, this one knows {known}")


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring a database to the last version: each step whole, or not at all."""
    for version in range(_number(connection, "user_version"), len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        for statement in (*migrations[version], f"PRAGMA user_version = {version + 1}"):
            connection.execute(statement)
        connection.execute("COMMIT")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    found = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return int(found)
