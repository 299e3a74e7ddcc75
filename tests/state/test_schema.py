from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from exporter.state.schema import APPLICATION_ID, MIGRATIONS, RefusedError, check, migrate


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def test_an_empty_database_becomes_one_of_ours(connection: sqlite3.Connection) -> None:
    check(connection)
    migrate(connection)

    check(connection)
    assert pragma(connection, "user_version") == len(MIGRATIONS)
    assert pragma(connection, "application_id") == APPLICATION_ID


def test_one_of_an_earlier_version_gets_what_is_missing_and_keeps_what_it_holds(connection: sqlite3.Connection) -> None:
    migrate(connection)
    connection.execute("INSERT INTO record VALUES (1, 'body', 2)")
    later = (*MIGRATIONS, ("ALTER TABLE record ADD COLUMN more TEXT DEFAULT 'x'",))
    migrate(connection, later)
    migrate(connection, later)

    assert connection.execute("SELECT * FROM record").fetchall() == [(1, "body", 2, "x")]
    with pytest.raises(RefusedError, match="schema 2, this one knows 1"):
        check(connection)


def test_a_step_that_fails_leaves_the_version_before_it(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (*MIGRATIONS, ("CREATE TABLE more (a)", "nonsense")))
    connection.execute("ROLLBACK")

    assert pragma(connection, "user_version") == len(MIGRATIONS)
    migrate(connection, (*MIGRATIONS, ("CREATE TABLE more (a)",)))
