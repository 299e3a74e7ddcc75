from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.outbox import Outbox, Outcome
from exporter.state.file import Change, StateFile
from exporter.state.ledger import Ledger
from exporter.state.memory_outbox import MemoryOutbox
from tests.fakes import NOON
from tests.state import NAME, SECOND, ids, on_disk, opened, record
from tests.state.outbox_conformance import MOST_EVENTS, MOST_PENDING, MOST_SETTLED, OutboxConformance, settle


def small() -> Ledger:
    return Ledger(MOST_PENDING, MOST_EVENTS, MOST_SETTLED)


class TestMemoryOutbox(OutboxConformance):
    @pytest.fixture
    def outbox(self) -> Outbox:
        return MemoryOutbox(small())


class TestSqliteOutbox(OutboxConformance):
    @pytest.fixture
    async def outbox(self, tmp_path: Path) -> AsyncIterator[Outbox]:
        async with opened(tmp_path / NAME, small()) as state:
            yield state.outbox
            assert not state.failures


class TestSqliteOutboxThatCannotUseItsFile(OutboxConformance):
    """Memory keeps every promise but the one to outlast the process."""

    @pytest.fixture
    async def outbox(self, tmp_path: Path) -> AsyncIterator[Outbox]:
        async with opened(tmp_path / "missing" / NAME, small()) as state:
            yield state.outbox
            assert state.outbox.failing


class CountingFile(StateFile):
    """Counts its transactions; `first` waits until it may go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.transactions = 0

    def write(self, change: Change) -> None:
        self.transactions += 1
        super().write(change)


async def test_what_is_put_at_once_shares_a_transaction(tmp_path: Path) -> None:
    file = CountingFile(tmp_path / NAME)
    async with opened(file) as state:
        await asyncio.gather(*(state.outbox.put(record(str(number)), ["a"]) for number in range(500)))

        assert file.transactions < 50
        assert on_disk(tmp_path / NAME) == 500


async def test_an_event_is_on_the_disk_when_put_returns(tmp_path: Path) -> None:
    async with opened(tmp_path / NAME) as state:
        await state.outbox.put(record("1"), ["a"])

        assert on_disk(tmp_path / NAME) == 1


async def test_who_puts_what_is_being_written_waits_until_it_is_on_the_disk(tmp_path: Path) -> None:
    async with opened(tmp_path / NAME) as state, asyncio.TaskGroup() as group:
        group.create_task(state.outbox.put(record("1"), ["a"]))
        again = group.create_task(state.outbox.put(record("1"), ["a"]))
        await again

        assert on_disk(tmp_path / NAME) == 1


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path / NAME) as before:
        for name in ("failed", "waiting", "new", "done"):
            await before.outbox.put(record(name), ["a", "b"])
        waiting = (await before.outbox.due("a", NOON, 9))[1]
        later = replace(waiting, attempts=2, next_at=NOON + SECOND, error="503")
        await before.outbox.attempted([later])
        for handler in ("a", "b"):
            await settle(before.outbox, "done", handler)
        await settle(before.outbox, "failed", "b", Outcome.FAILED)
        expected = await before.outbox.recent(9), before.outbox.backlog(), await before.outbox.pending()

    async with opened(tmp_path / NAME) as after:
        assert (await after.outbox.recent(9), after.outbox.backlog(), await after.outbox.pending()) == expected
        assert await after.outbox.due("a", NOON + SECOND, 9) == [
            *(await after.outbox.due("a", NOON, 2)),
            later,
        ]
        await after.outbox.put(record("next"), ["a"])
        assert [each.event_id for each, _ in await after.outbox.recent(1)] == ["next"]


async def test_what_is_forgotten_is_gone_from_the_disk(tmp_path: Path) -> None:
    async with opened(tmp_path / NAME, small()) as state:
        for number in range(20):
            await state.outbox.put(record(str(number)), ["a"])
            await settle(state.outbox, str(number), "a")

    assert on_disk(tmp_path / NAME) == MOST_SETTLED


async def test_what_is_too_much_after_a_restart_is_dropped_where_it_can_be_told(tmp_path: Path) -> None:
    async with opened(tmp_path / NAME) as state:
        for number in range(MOST_PENDING + 2):
            await state.outbox.put(record(str(number)), ["a"])

    async with opened(tmp_path / NAME, small()) as state:
        dropped = await state.outbox.put(record("new"), ["a"])
        assert [each.record.event_id for each in dropped] == ["0", "1", "2"]
        assert await ids(state) == ["3", "4", "5", "6", "new"]


async def test_the_bound_is_ten_thousand_for_each_handler_and_so_is_memory() -> None:
    outbox, handlers = MemoryOutbox(), ["otlp", "orders/ops", "orders/chat"]
    dropped = 0
    for number in range(11_000):
        dropped += len(await outbox.put(record(str(number)), handlers))

    assert dropped == 3_000
    assert outbox.backlog() == dict.fromkeys(handlers, 10_000)
    assert len(outbox._ledger._kept) == 11_000
    for number in range(11_000, 12_000):
        dropped += len(await outbox.put(record(str(number)), handlers))
    assert len(outbox._ledger._kept) == len(outbox._ledger._numbers) == 11_000
