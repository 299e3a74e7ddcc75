from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from exporter.certcheck.events import EventKind
from exporter.certcheck.ports import CooldownKey
from exporter.certcheck.slot import Role
from exporter.state.cooldowns import _MOST_KEPT, SqliteCooldowns
from tests.fakes import NOON
from tests.state import DAY, HOUR, NAME, SECOND, Opened, Pragma, aside, opened, record

KEY = CooldownKey("orders", Role.UPSTREAM, "ab" * 32, EventKind.EXPIRED)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / NAME


async def claim(state: Opened, event_id: str = "new", key: CooldownKey = KEY) -> str | None:
    return await state.cooldowns.claim(key, event_id, SECOND, DAY)


async def test_a_cooldown_outlasts_the_process(file: Path) -> None:
    async with opened(file) as state:
        assert await claim(state) == "new"
        await state.cooldowns.start(KEY, DAY)

    async with opened(file) as state:
        state.clock.advance(DAY - SECOND)
        assert await claim(state) is None
        state.clock.advance(SECOND)
        assert await claim(state, "next") == "next"


async def test_a_claim_of_a_process_that_has_gone_is_taken_over_at_once_under_its_id(file: Path) -> None:
    async with opened(file) as state:
        assert await claim(state, "first") == "first"

    async with opened(file) as state:
        assert await claim(state, "second") == "first"
        assert await claim(state, "third") is None


async def test_a_claim_is_on_the_disk_before_what_an_outbox_is_given_later(file: Path) -> None:
    async with opened(file) as state:
        await claim(state, "first")
        await state.outbox.put(record("first"), ["a"])
        # The process ends here: nothing is written any more.
        state.database._writes = False
        await state.cooldowns.start(KEY, DAY)

    async with opened(file) as state:
        assert await claim(state, "second") == "first"


async def test_what_was_released_or_has_ended_is_gone_after_a_restart(file: Path) -> None:
    async with opened(file) as state:
        await claim(state, "first")
        await state.cooldowns.release(KEY)

    async with opened(file) as state:
        assert await claim(state, "second") == "second"


@pytest.mark.parametrize("shift", [-SECOND, -400 * DAY, 2 * DAY])
async def test_no_cooldown_is_longer_than_configured_whatever_the_clock_did(file: Path, shift: timedelta) -> None:
    async with opened(file) as state:
        await state.cooldowns.start(KEY, DAY)

    async with opened(file) as state:
        state.clock.advance(shift)
        assert await claim(state) == "new"


async def test_a_cooldown_that_was_configured_to_be_longer_does_not_run(file: Path) -> None:
    async with opened(file) as state:
        await state.cooldowns.start(KEY, 30 * DAY)

    async with opened(file) as state:
        assert await claim(state) == "new"


async def test_a_damaged_cooldown_is_none_and_the_others_run(file: Path) -> None:
    other = KEY._replace(api_id="payments")
    async with opened(file) as state:
        await state.cooldowns.start(KEY, DAY)
        await state.cooldowns.start(other, DAY)
    content = file.read_bytes()
    place = content.index(b'"orders"')
    file.write_bytes(content[:place] + b'"0rders"' + content[place + 8 :])

    async with opened(file) as state:
        assert await claim(state) == "new"
        assert await claim(state, key=other) is None
    assert len(aside(file)) == 1


async def test_a_cooldown_that_could_not_be_written_runs_and_is_written_when_it_can(file: Path) -> None:
    limited = Pragma(file)
    async with opened(limited) as state:
        limited.pragma = "PRAGMA query_only = ON"
        assert await claim(state, "first") == "first"
        await state.cooldowns.start(KEY, DAY)
        await state.cooldowns.close()
        assert (state.cooldowns.failing, state.failures) == (True, 1)
        assert await claim(state) is None
        limited.pragma = "PRAGMA query_only = OFF"
        await state.database.recover()

    async with opened(file) as state:
        assert await claim(state) is None


async def test_cooldowns_that_have_ended_are_forgotten_in_memory_and_on_the_disk(file: Path) -> None:
    async with opened(file) as state:
        for number in range(5_000):
            await state.cooldowns.start(KEY._replace(cert_id=str(number)), HOUR)
            state.clock.advance(HOUR / 10)
        assert len(state.cooldowns._entries) <= 1024

    async with opened(file) as state:
        assert len(state.cooldowns._entries) <= 1024


async def test_of_too_many_cooldowns_the_oldest_ends_early(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _MOST_KEPT == 100_000
    monkeypatch.setattr("exporter.state.cooldowns._MOST_KEPT", 10)
    async with opened(file) as state:
        for number in range(12):
            await state.cooldowns.start(KEY._replace(cert_id=str(number)), DAY)

        assert [key.cert_id for key in state.cooldowns._entries] == [str(number) for number in range(2, 12)]


async def test_only_claims_of_its_own_are_renewed_and_given_up(file: Path) -> None:
    async with opened(file) as state:
        await claim(state, "first")
        for _ in range(5):
            state.clock.advance(SECOND / 2)
            await state.cooldowns.renew([KEY, KEY._replace(api_id=None)], SECOND)
            assert await claim(state) is None
        key, entry = next(iter(state.cooldowns._entries.items()))
        state.cooldowns._entries[key] = replace(entry, owner="another")
        await state.cooldowns.renew([KEY], HOUR)
        await state.cooldowns.release(KEY)
        assert await claim(state) is None
        state.clock.advance(SECOND)
        assert await claim(state, "second") == "first"


async def test_nothing_waits_for_the_disk(file: Path) -> None:
    """Every verb is done without giving way to anything else, so no disk can hold it up."""
    async with opened(file) as state:
        store: SqliteCooldowns = state.cooldowns
        for verb in (
            store.claim(KEY, "1", SECOND, DAY),
            store.renew([KEY], SECOND),
            store.start(KEY, DAY),
            store.release(KEY),
        ):
            with pytest.raises(StopIteration):
                verb.send(None)
    assert state.clock() == NOON
