from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from exporter.outbox import Outcome
from exporter.state.file import BehindError, Change, StateFile
from exporter.state.schema import RefusedError
from tests.fakes import NOON
from tests.state import NAME, SECOND, Opened, Pragma, aside, ids, on_disk, opened, record
from tests.state.outbox_conformance import settle

MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / NAME


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own cannot be mounted by this user")
    yield where
    subprocess.run(["umount", str(where)], check=True)


@contextmanager
def first_process(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has put one event, and holds the file."""
    command = [sys.executable, "-m", "tests.state.killed", str(file), "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        while first.stdout.readline() not in {b"done\n", b""}:
            pass
        yield first
        first.communicate()


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)


async def written(file: Path, *names: str) -> None:
    async with opened(file) as state:
        for name in names:
            await state.outbox.put(record(name), ["a"])


async def fails(state: Opened, name: str) -> None:
    """Put something that cannot be written down, and is not lost."""
    before = state.failures
    await state.outbox.put(record(name), ["a"])
    assert (state.outbox.failing, state.cooldowns.failing) == (True, True)
    assert state.failures == before + 1
    assert name in await ids(state)


async def works_again(state: Opened, file: Path) -> None:
    await state.database.recover()
    assert not state.outbox.failing
    assert on_disk(file) == len(await state.outbox.recent(10_000))


@pytest.mark.parametrize("pragma", ["PRAGMA query_only = ON", "PRAGMA max_page_count = 1"])
async def test_what_cannot_be_written_is_kept_and_written_when_it_can(file: Path, pragma: str) -> None:
    limited = Pragma(file)
    async with opened(limited) as state:
        await state.outbox.put(record("before"), ["a"])
        limited.pragma = pragma
        big = replace(record("first"), payload={"cert_name": "x" * 100_000})
        await state.outbox.put(big, ["a"])
        assert (state.outbox.failing, state.failures) == (True, 1)
        await state.outbox.put(record("second"), ["a"])
        await settle(state.outbox, "before", "a")
        await state.database.recover()
        assert (state.outbox.failing, state.failures) == (True, 2)
        limited.pragma = "PRAGMA query_only = OFF"
        if "max" in pragma:
            limited.pragma = "PRAGMA max_page_count = 1000000"
        await works_again(state, file)
        await state.outbox.put(record("third"), ["a"])

    async with opened(file) as state:
        assert await ids(state) == ["first", "second", "third"]
        assert [each.event_id for each in await state.outbox.settled(["before"])] == ["before"]


async def test_many_that_cannot_be_written_together_are_one_failure(file: Path) -> None:
    limited = Pragma(file)
    async with opened(limited) as state:
        limited.pragma = "PRAGMA query_only = ON"
        await asyncio.gather(*(state.outbox.put(record(str(number)), ["a"]) for number in range(100)))

        assert len(await ids(state)) == 100
        assert state.failures == 1
        limited.pragma = "PRAGMA query_only = OFF"
        await works_again(state, file)


async def test_it_is_tried_again_without_being_asked(file: Path) -> None:
    limited = Pragma(file)
    async with opened(limited, retry=MILLISECOND) as state:
        limited.pragma = "PRAGMA query_only = ON"
        await state.outbox.put(record("1"), ["a"])
        limited.pragma = "PRAGMA query_only = OFF"
        while state.outbox.failing:  # noqa: ASYNC110 (nothing tells of the database's timer)
            await asyncio.sleep(0)

        assert on_disk(file) == 1


async def test_what_could_not_be_written_is_written_at_the_end(file: Path) -> None:
    limited = Pragma(file)
    async with opened(limited) as state:
        limited.pragma = "PRAGMA query_only = ON"
        await fails(state, "1")
        limited.pragma = "PRAGMA query_only = OFF"

    assert on_disk(file) == 1


async def test_a_disk_that_is_full_loses_nothing(disk: Path) -> None:
    file = disk / NAME
    async with opened(file) as state:
        await state.outbox.put(record("before"), ["a"])
        with pytest.raises(OSError, match="No space"):
            fill(disk / "filler")
        await state.outbox.put(replace(record("1"), payload={"cert_name": "x" * 100_000}), ["a"])
        await settle(state.outbox, "before", "a")
        assert state.outbox.failing
        (disk / "filler").unlink()
        await works_again(state, file)

    async with opened(file) as state:
        assert await ids(state) == ["1"]


async def test_a_disk_that_is_read_only_at_the_start_is_used_when_it_can_be_written(disk: Path) -> None:
    await written(disk / NAME, "before")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    async with opened(disk / NAME) as state:
        await fails_to_start(state)
        await state.outbox.put(record("now"), ["a"])
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        await works_again(state, disk / NAME)

        assert await ids(state) == ["before", "now"]


async def fails_to_start(state: Opened) -> None:
    assert (state.outbox.failing, state.failures) == (True, 1)
    assert await ids(state) == []


async def test_a_file_that_becomes_read_only_while_it_is_used_loses_nothing(file: Path) -> None:
    wal = Path(f"{file}-wal")
    async with opened(file) as state:
        await state.outbox.put(record("before"), ["a"])
        command = ["chattr", "+i", str(wal)]
        if shutil.which("chattr") is None or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("a file cannot be made immutable by this user, on this file system")
        try:
            await fails(state, "1")
            await state.database.recover()
            assert state.outbox.failing
        finally:
            subprocess.run(["chattr", "-i", str(wal)], check=True)
        await works_again(state, file)

    async with opened(file) as state:
        assert await ids(state) == ["before", "1"]


async def test_a_directory_that_is_not_there_is_a_failure_not_an_end(tmp_path: Path) -> None:
    file = tmp_path / "later" / NAME
    async with opened(file) as state:
        await fails_to_start(state)
        await state.outbox.put(record("1"), ["a"])
        file.parent.mkdir()
        await works_again(state, file)


async def test_a_file_that_another_program_has_locked_is_read_and_written_when_it_is_free(file: Path) -> None:
    await written(file, "before")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        async with opened(StateFile(file, busy=MILLISECOND)) as state:
            await fails_to_start(state)
            await state.outbox.put(record("before"), ["a"])
            await state.outbox.put(record("now"), ["a"])
            other.close()
            await works_again(state, file)
            assert await ids(state) == ["before", "now"]


async def test_a_file_that_is_locked_while_it_is_used_loses_nothing(file: Path) -> None:
    async with opened(StateFile(file, busy=MILLISECOND)) as state:
        await state.outbox.put(record("before"), ["a"])
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await fails(state, "1")
        await works_again(state, file)


async def test_a_file_that_is_removed_while_it_is_used_is_written_anew(file: Path) -> None:
    async with opened(file) as state:
        await state.outbox.put(record("before"), ["a"])
        file.unlink()
        await fails(state, "1")
        await works_again(state, file)

        assert file.stat().st_mode & 0o777 == 0o600


async def test_a_file_that_is_replaced_while_it_is_used_is_read_too(tmp_path: Path, file: Path) -> None:
    await written(tmp_path / "backup", "of the backup")
    async with opened(file) as state:
        await state.outbox.put(record("before"), ["a"])
        (tmp_path / "backup").rename(file)
        await fails(state, "1")
        await works_again(state, file)

        assert await ids(state) == ["of the backup", "before", "1"]


@pytest.mark.parametrize(
    "content", [b"no database\n", b"x" * 100_000, b"SQLite format 3\0" + b"\xff" * 5000, b"\0" * 4096], ids=range(4)
)
async def test_what_is_no_database_is_moved_aside_and_said_so(
    file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(content)
    await written(file, "1")

    (moved,) = aside(file)
    assert moved.read_bytes() == content
    assert on_disk(file) == 1
    said = [(each.message, vars(each)["file"]) for each in caplog.records if each.levelno == logging.ERROR]
    assert said == [("state file is corrupt and was moved aside", moved.name)]


async def test_of_a_file_with_a_damaged_row_the_others_are_kept(file: Path) -> None:
    await written(file, "first", "second", "third")
    content = file.read_bytes()
    place = content.index(b"of second")
    file.write_bytes(content[:place] + b"OF" + content[place + 2 :])
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)

    async with opened(file) as state:
        assert await ids(state) == ["first", "third"]
        assert not state.outbox.failing
        assert on_disk(file) == 2
    assert len(aside(file)) == 1


async def test_the_log_of_a_damaged_file_goes_with_it(file: Path) -> None:
    await written(file, "1")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        # Whoever is not the last to close a file leaves its log.
        other.execute("UPDATE record SET checksum = 0")
        await written(file, "2")
        (moved,) = aside(file)
        assert Path(f"{moved}-wal").exists()

    assert on_disk(file) == 1


def test_behind_what_was_not_written_nothing_is_until_all_is(file: Path) -> None:
    """An event whose claim is missing would be announced again under another id."""
    limited = Pragma(file)
    limited.open([])
    insert = [("INSERT INTO record VALUES (?, 'body', 1)", [(1,)])]
    limited.pragma = "PRAGMA query_only = ON"
    with pytest.raises(sqlite3.OperationalError):
        limited.write(insert)
    limited.pragma = "PRAGMA query_only = OFF"
    limited.open([])
    with pytest.raises(BehindError):
        limited.write(insert)
    limited.replace(insert)
    limited.write([("DELETE FROM record WHERE number = ?", [(1,)])])
    limited.close()


async def test_of_a_file_that_ends_too_early_what_is_left_is_kept(file: Path) -> None:
    await written(file, *map(str, range(200)))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 4096 // 2 * 4096])

    async with opened(file) as state:
        assert not state.outbox.failing
    assert len(aside(file)) == 1


async def test_whatever_byte_is_flipped_nothing_false_is_believed(file: Path) -> None:
    await written(file, *(true := [str(number) for number in range(30)]))
    content, chance = file.read_bytes(), random.Random(5)
    damaged, kept = file.with_name("damaged"), 0
    for _ in range(150):
        place = chance.randrange(len(content))
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
        try:
            async with opened(damaged) as state:
                pending = await state.outbox.pending()
        except RefusedError:
            # The header's number of the program, or of the version.
            assert place < 100
            continue
        assert all(each == record(each.event_id) and each.event_id in true for each in pending)
        kept += len(pending)
        for each in damaged.parent.glob("damaged*"):
            each.unlink()
    assert kept > 150 * 20


async def test_a_file_that_is_damaged_while_it_is_used_is_moved_aside_and_written_anew(file: Path) -> None:
    forgetful = Pragma(file)
    async with opened(forgetful) as state:
        for number in range(199):
            await state.outbox.put(record(str(number)), ["a"])
        forgetful.pragma = "PRAGMA wal_checkpoint(TRUNCATE)"
        await state.outbox.put(record("199"), ["a"])
        # Not closed: that would end the locks that this process has on the file.
        descriptor = os.open(file, os.O_RDWR)
        os.pwrite(descriptor, b"\xee" * (file.stat().st_size - 4096), 4096)
        forgetful.pragma = "PRAGMA shrink_memory"
        await fails(state, "last")
        os.close(descriptor)
        assert len(aside(file)) == 1
        await works_again(state, file)

    async with opened(file) as state:
        assert len(await ids(state)) == 201


async def test_only_the_last_files_that_were_moved_aside_are_kept(file: Path) -> None:
    for number in range(9):
        (file.parent / f"{NAME}.corrupt-20260101T00000{number}Z").write_bytes(b"")
    other = file.parent / f"{NAME}.corrupt-notes"
    other.write_bytes(b"")
    file.write_bytes(b"no database")
    await written(file, "1")

    assert [each.name[-2] for each in aside(file)][:4] == list("5678")
    assert len(aside(file)) == 5
    assert other.exists()


async def test_a_file_of_a_newer_version_is_refused_and_not_touched(file: Path) -> None:
    await written(file, "1")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    content = file.read_bytes()
    with pytest.raises(
        RefusedError, match=r"^was written by a newer version of certgauge: schema 99, this one knows 1$"
    ):
        await written(file, "2")

    assert file.read_bytes() == content
    assert not aside(file)


async def test_a_database_of_another_program_is_refused_and_not_touched(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE record (a)")
    content = file.read_bytes()
    with pytest.raises(RefusedError, match=r"^names a database that belongs to another program$"):
        await written(file, "1")

    assert file.read_bytes() == content


async def test_who_comes_second_is_refused_until_the_first_is_gone_however_it_went(file: Path) -> None:
    with first_process(file) as first:
        with pytest.raises(RefusedError, match=r"^is in use by another process$"):
            await written(file, "2")
        first.kill()

    await written(file, "2")
    assert on_disk(file) == 2


async def test_who_is_second_while_running_goes_on_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "later" / NAME
    async with opened(file) as state:
        file.parent.mkdir()
        with Path(f"{file}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            await state.database.recover()
            assert (state.outbox.failing, state.failures) == (True, 2)
        await state.outbox.put(record("1"), ["a"])
        await works_again(state, file)


class HangingFile(StateFile):
    """Writes nothing until it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.goes_on = threading.Event()

    def write(self, change: Change) -> None:
        self.goes_on.wait()
        super().write(change)


async def test_a_disk_that_hangs_is_waited_for_no_longer_than_the_time_there_is(file: Path) -> None:
    hanging = HangingFile(file)
    async with opened(hanging) as state:
        state.database._patience = 0.02
        await fails(state, "1")
        await fails_not(state, "2")
        await state.database.recover()
        assert state.outbox.failing
        hanging.goes_on.set()
        while state.outbox.failing:
            await state.database.recover()

        assert on_disk(file) == 2


async def fails_not(state: Opened, name: str) -> None:
    """It is failing already: nothing is counted, nor waited for."""
    before = state.failures
    await state.outbox.put(record(name), ["a"])
    assert state.failures == before


async def test_a_disk_that_hangs_does_not_keep_the_process_from_ending(file: Path) -> None:
    hanging = HangingFile(file)
    async with opened(hanging) as state:
        state.database._patience = 0.02
        await fails(state, "1")
    assert state.database._thread.is_alive()

    hanging.goes_on.set()
    await asyncio.to_thread(state.database._thread.join)


async def test_what_hangs_too_long_is_not_given_more_than_can_wait(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.state.database._MOST_WAITING", 10)
    hanging = HangingFile(file)
    async with opened(hanging) as state:
        for number in range(12):
            await state.cooldowns.start(record(str(number)).key, SECOND)  # type: ignore[arg-type]

        assert (state.failures, state.database._jobs.qsize() <= 10) == (1, True)
        hanging.goes_on.set()
        await works_again(state, file)


async def test_nothing_is_delivered_twice_because_of_a_failure(file: Path) -> None:
    limited = Pragma(file)
    async with opened(limited) as state:
        for name in "12":
            await state.outbox.put(record(name), ["a"])
        limited.pragma = "PRAGMA query_only = ON"
        await settle(state.outbox, "1", "a")
        assert await ids(state) == ["2"]
        limited.pragma = "PRAGMA query_only = OFF"
        await works_again(state, file)

    async with opened(file) as state:
        assert await ids(state) == ["2"]
        ((_, (delivery,)),) = (await state.outbox.recent(9))[1:]
        assert delivery.outcome is Outcome.DELIVERED


@pytest.mark.parametrize("exists", [True, False])
async def test_nobody_else_can_read_the_files(file: Path, exists: bool) -> None:  # noqa: FBT001
    if exists:
        file.touch(0o666)
    before = os.umask(0)
    try:
        async with opened(file) as state:
            await state.outbox.put(record("1"), ["a"])
            modes = {each.name.removeprefix(NAME): each.stat().st_mode & 0o777 for each in file.parent.iterdir()}
    finally:
        os.umask(before)

    assert modes == dict.fromkeys(["", "-wal", "-shm", ".lock"], 0o600)


async def test_a_link_is_followed_and_stays(tmp_path: Path, file: Path) -> None:
    (tmp_path / "data").write_bytes(b"no database")
    file.symlink_to("data")
    await written(file, "1")

    assert file.is_symlink()
    assert len(aside(tmp_path / "data")) == 1
    assert on_disk(tmp_path / "data") == 1


async def test_the_log_says_when_it_fails_and_when_it_works_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    limited = Pragma(file)
    async with opened(limited) as state:
        limited.pragma = "PRAGMA query_only = ON"
        await fails(state, "1")
        await state.database.recover()
        limited.pragma = "PRAGMA query_only = OFF"
        await works_again(state, file)

    assert [(each.levelname, each.message, vars(each)["file"]) for each in caplog.records] == [
        ("WARNING", "state file failed; state is kept in memory", NAME),
        ("INFO", "state file works again; everything is written down", NAME),
    ]
    assert [vars(each).get("error") for each in caplog.records] == ["SQLITE_READONLY", None]


async def test_what_json_does_not_know_is_written_down_as_text(file: Path) -> None:
    async with opened(file) as state:
        await state.outbox.put(replace(record("1"), payload={"odd": {1}, "at": NOON}), ["a"])
        assert not state.outbox.failing

    async with opened(file) as state:
        assert [each.payload["odd"] for each in await state.outbox.pending()] == ["{1}"]


async def test_opening_and_closing_leaves_no_thread_and_no_descriptor(file: Path) -> None:
    await written(file, "1")
    before = set(threading.enumerate()), sorted(os.listdir("/proc/self/fd"))
    for number in range(10):
        await written(file, str(number))
        with pytest.raises(RefusedError):
            async with opened(file):
                await written(file, "second")
    assert (set(threading.enumerate()), sorted(os.listdir("/proc/self/fd"))) == before
