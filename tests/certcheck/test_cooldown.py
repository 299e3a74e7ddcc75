from __future__ import annotations

from datetime import timedelta

import pytest

from exporter.certcheck.cooldown import _MOST_RUNNING, FailOpenCooldowns, MemoryCooldowns
from exporter.certcheck.ports import CooldownKey, CooldownStore
from exporter.certcheck.tally import ErrorReason, Tally
from tests.certcheck import HangingCooldowns
from tests.certcheck.cooldown_conformance import HOUR, KEY, CooldownConformance
from tests.fakes import FailingCooldowns, FakeClock

SOON = timedelta(milliseconds=20)


class TestMemoryCooldowns(CooldownConformance):
    @pytest.fixture
    def store(self, clock: FakeClock) -> CooldownStore:
        return MemoryCooldowns(clock)


class TestFailOpenCooldowns(CooldownConformance):
    @pytest.fixture
    def store(self, clock: FakeClock) -> CooldownStore:
        return FailOpenCooldowns(MemoryCooldowns(clock), clock, Tally())


class TestFailOpenCooldownsOverOneThatIsDown(CooldownConformance):
    """The local cooldown keeps every promise while the store is away."""

    @pytest.fixture
    def store(self, clock: FakeClock) -> CooldownStore:
        return FailOpenCooldowns(FailingCooldowns(), clock, Tally())


class FlakyCooldowns(MemoryCooldowns):
    """Down as long as `down` is set."""

    down = False

    async def try_start(self, key: CooldownKey, duration: timedelta) -> bool:
        if self.down:
            raise OSError
        return await super().try_start(key, duration)


@pytest.mark.parametrize("back", [timedelta(microseconds=1), HOUR, timedelta(days=400)])
async def test_a_clock_set_back_ends_a_cooldown_rather_than_prolong_it(back: timedelta) -> None:
    clock = FakeClock()
    store = MemoryCooldowns(clock)
    await store.try_start(KEY, HOUR)
    clock.advance(-back)

    assert await store.try_start(KEY, HOUR)
    clock.advance(HOUR)
    assert await store.try_start(KEY, HOUR)


async def test_cooldowns_that_have_ended_are_forgotten() -> None:
    clock = FakeClock()
    store = MemoryCooldowns(clock)
    for number in range(10_000):
        await store.try_start(KEY._replace(cert_id=str(number)), HOUR)
        clock.advance(HOUR / 10)

    assert len(store._running) <= 1024


async def test_of_too_many_cooldowns_the_one_that_was_started_first_ends_early() -> None:
    store = MemoryCooldowns(FakeClock())
    keys = [KEY._replace(cert_id=str(number)) for number in range(_MOST_RUNNING + 1)]
    for key in keys:
        await store.try_start(key, HOUR)

    assert len(store._running) == _MOST_RUNNING
    assert not await store.try_start(keys[1], HOUR)
    assert await store.try_start(keys[0], HOUR)


async def test_a_cooldown_that_is_started_again_was_started_last() -> None:
    clock = FakeClock()
    store, other = MemoryCooldowns(clock), KEY._replace(cert_id="other")
    await store.try_start(KEY, HOUR / 2)
    await store.try_start(other, HOUR)
    clock.advance(HOUR / 2)
    await store.try_start(KEY, HOUR)

    assert list(store._running) == [other, KEY]


@pytest.mark.parametrize("store", [FailingCooldowns, HangingCooldowns])
async def test_a_store_that_fails_lets_the_event_out_once(store: type[CooldownStore]) -> None:
    clock, tally = FakeClock(), Tally()
    cooldowns = FailOpenCooldowns(store(), clock, tally, timeout=SOON)

    assert await cooldowns.try_start(KEY, HOUR)
    assert not await cooldowns.try_start(KEY, HOUR)
    clock.advance(HOUR)
    assert await cooldowns.try_start(KEY, HOUR)
    assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 3


@pytest.mark.parametrize("store", [FailingCooldowns, HangingCooldowns])
async def test_a_store_that_fails_to_clear_is_counted_and_the_local_cooldown_ends(
    store: type[CooldownStore],
) -> None:
    tally = Tally()
    cooldowns = FailOpenCooldowns(store(), FakeClock(), tally, timeout=SOON)
    await cooldowns.try_start(KEY, HOUR)
    await cooldowns.clear(KEY)

    assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 2
    assert await cooldowns.try_start(KEY, HOUR)


async def test_a_store_that_works_is_believed_and_nothing_is_counted() -> None:
    clock, tally = FakeClock(), Tally()
    store = MemoryCooldowns(clock)
    await store.try_start(KEY, HOUR)

    assert not await FailOpenCooldowns(store, clock, tally).try_start(KEY, HOUR)
    assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 0


async def test_a_store_that_is_back_is_asked_again() -> None:
    clock, tally = FakeClock(), Tally()
    store = FlakyCooldowns(clock)
    cooldowns = FailOpenCooldowns(store, clock, tally)
    assert await cooldowns.try_start(KEY, HOUR)
    store.down = True
    assert await cooldowns.try_start(KEY, HOUR)
    store.down = False

    assert not await cooldowns.try_start(KEY, HOUR)
    assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 1


async def test_the_log_says_that_a_store_failed_but_not_what_it_said(caplog: pytest.LogCaptureFixture) -> None:
    await FailOpenCooldowns(FailingCooldowns(), FakeClock(), Tally()).try_start(KEY, HOUR)

    assert [record.message for record in caplog.records] == ["cooldown store failed; using a local cooldown"]
    assert [vars(record)["error"] for record in caplog.records] == ["ConnectionError"]
    assert "canary" not in str([vars(record) for record in caplog.records])
