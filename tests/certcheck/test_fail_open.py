from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from exporter.certcheck.cooldown import MemoryCooldowns
from exporter.certcheck.fail_open import _MOST_FOUND, FailOpenCooldowns, _Elsewhere
from exporter.certcheck.ports import CooldownKey, CooldownStore
from exporter.certcheck.tally import ErrorReason, Tally
from tests.certcheck import HangingCooldowns
from tests.certcheck.cooldown_conformance import (
    HOUR,
    KEY,
    MINUTE,
    CooldownConformance,
    SharedCooldownConformance,
    Two,
    claim,
    tell,
)
from tests.certcheck.test_cooldown import sharing
from tests.fakes import FailingCooldowns, FakeClock

SOON = timedelta(milliseconds=20)
OTHER = KEY._replace(cert_id="other")


class TestFailOpenCooldowns(SharedCooldownConformance):
    @pytest.fixture
    def two(self, clock: FakeClock) -> Two:
        one, other = sharing(clock)
        return Two(FailOpenCooldowns(one, clock, Tally()), FailOpenCooldowns(other, clock, Tally()))


class TestFailOpenCooldownsOverOneThatIsDown(CooldownConformance):
    """The local cooldown keeps every promise to one owner while the store is away."""

    @pytest.fixture
    def store(self, clock: FakeClock) -> CooldownStore:
        return FailOpenCooldowns(FailingCooldowns(), clock, Tally())


class Flaky(MemoryCooldowns):
    """Fails as long as `failing` is set; counts what it was asked."""

    failing: Exception | None = None
    asked = 0

    def _fail(self) -> None:
        self.asked += 1
        if self.failing:
            raise self.failing

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        self._fail()
        return await super().claim(key, event_id, lease, cooldown)

    async def renew(self, keys: object, lease: timedelta) -> None:
        self._fail()

    async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
        self._fail()
        await super().start(key, cooldown)

    def forget(self) -> None:
        """As a server does that is started again."""
        self._entries.clear()


class Stage:
    def __init__(self) -> None:
        self.clock, self.tally = FakeClock(), Tally()
        self.store = Flaky(self.clock)
        self.cooldowns = FailOpenCooldowns(self.store, self.clock, self.tally)
        self.elsewhere = MemoryCooldowns(self.clock)
        self.elsewhere._entries = self.store._entries

    @property
    def failures(self) -> int:
        return self.tally.errors[ErrorReason.COOLDOWN_STORE_FAILED]


@pytest.mark.parametrize("store", [FailingCooldowns, HangingCooldowns])
async def test_a_store_that_fails_lets_the_event_out_once(store: type[CooldownStore]) -> None:
    clock, tally = FakeClock(), Tally()
    cooldowns = FailOpenCooldowns(store(), clock, tally, timeout=SOON)

    assert await tell(cooldowns)
    assert not await tell(cooldowns)
    clock.advance(HOUR)
    assert await tell(cooldowns)
    assert cooldowns.failing
    # A claim, a start, a look whether it is back, a claim and a start.
    assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 5


@pytest.mark.parametrize("store", [FailingCooldowns, HangingCooldowns])
async def test_a_store_that_fails_to_release_is_counted_and_the_local_claim_ends(store: type[CooldownStore]) -> None:
    tally = Tally()
    cooldowns = FailOpenCooldowns(store(), FakeClock(), tally, timeout=SOON)
    await claim(cooldowns)
    await cooldowns.release(KEY)

    assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 2
    assert await claim(cooldowns)


@pytest.mark.parametrize("store", [FailingCooldowns, HangingCooldowns])
async def test_a_store_that_fails_to_close_is_counted(store: type[CooldownStore]) -> None:
    tally = Tally()
    await FailOpenCooldowns(store(), FakeClock(), tally, timeout=SOON).close()

    assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 1


async def test_a_claim_that_is_cut_midway_is_not_held() -> None:
    cooldowns = FailOpenCooldowns(HangingCooldowns(), FakeClock(), Tally(), timeout=SOON)
    async with asyncio.TaskGroup() as tasks:
        cut = tasks.create_task(claim(cooldowns))
        await asyncio.sleep(0)
        cut.cancel()

    assert await claim(cooldowns, event_id="second") == "second"


async def test_a_store_that_was_closed_is_written_nothing_more() -> None:
    stage = Stage()
    stage.store.failing = OSError()
    await tell(stage.cooldowns)
    stage.store.failing = None
    stage.store.asked = 0
    await stage.cooldowns.close()

    assert stage.store.asked == 0


async def test_a_store_that_works_is_believed_and_nothing_is_counted() -> None:
    stage = Stage()
    await stage.elsewhere.start(KEY, HOUR)

    assert await claim(stage.cooldowns) is None
    assert (stage.failures, stage.cooldowns.failing) == (0, False)


async def test_what_was_told_while_the_store_was_away_is_not_told_again_by_anybody() -> None:
    stage = Stage()
    stage.store.failing = OSError()
    assert await tell(stage.cooldowns)
    stage.clock.advance(HOUR / 2)
    stage.store.failing = None

    assert not await tell(stage.cooldowns)
    assert not stage.cooldowns.failing
    assert not await tell(stage.elsewhere)
    # And not a moment longer than if the store had been there.
    stage.clock.advance(HOUR / 2)
    assert await tell(stage.elsewhere)


async def test_what_was_told_before_the_store_went_away_is_not_told_while_it_is() -> None:
    stage = Stage()
    assert await tell(stage.cooldowns)
    stage.store.failing = OSError()

    assert not await tell(stage.cooldowns)


async def test_a_store_that_has_come_back_empty_is_told_what_it_knew() -> None:
    stage = Stage()
    await tell(stage.cooldowns)
    stage.store.failing = ConnectionError()
    await tell(stage.cooldowns, OTHER)
    stage.store.forget()
    stage.store.failing = None
    await stage.cooldowns.renew([], MINUTE)

    assert await claim(stage.elsewhere) is None
    assert await claim(stage.elsewhere, OTHER) is None


async def test_a_store_that_refuses_one_key_is_not_written_anew() -> None:
    stage = Stage()
    await tell(stage.cooldowns)
    stage.store.failing = ValueError()
    await claim(stage.cooldowns, OTHER)
    stage.store.failing = None
    stage.store.asked = 0
    await stage.cooldowns.renew([], MINUTE)

    assert stage.store.asked == 1


async def test_many_cooldowns_are_written_through_a_few_with_each_call() -> None:
    stage = Stage()
    keys = [KEY._replace(cert_id=str(number)) for number in range(95)]
    stage.store.failing = OSError()
    for key in keys:
        await tell(stage.cooldowns, key)
    stage.store.failing = None
    for calls in range(1, 11):
        stage.store.asked = 0
        await stage.cooldowns.renew([], MINUTE)
        assert stage.store.asked <= 11
        assert len(stage.store._entries) == min(10 * calls, 95)


async def test_a_store_that_fails_again_while_it_is_written_through_gets_the_rest_later() -> None:
    stage = Stage()
    stage.store.failing = OSError()
    for key in (KEY, OTHER):
        await tell(stage.cooldowns, key)

    class Cut(Flaky):
        async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
            raise OSError

    cut = Cut(stage.clock)
    stage.cooldowns._store = cut
    await stage.cooldowns.renew([], MINUTE)
    assert (stage.cooldowns.failing, cut.asked) == (True, 1)
    stage.store.failing = None
    stage.cooldowns._store = stage.store
    await stage.cooldowns.renew([], MINUTE)

    assert await claim(stage.elsewhere) is None
    assert await claim(stage.elsewhere, OTHER) is None


async def test_what_others_have_told_is_not_told_by_all_when_the_store_fails() -> None:
    stage = Stage()
    await stage.elsewhere.start(KEY, HOUR)
    for _ in range(2):
        assert await claim(stage.cooldowns) is None
        stage.clock.advance(MINUTE * 2)
    stage.store.failing = OSError()
    assert await claim(stage.cooldowns) is None

    stage.clock.advance(HOUR)
    assert await claim(stage.cooldowns) == "first"


async def test_what_others_may_just_have_claimed_is_told_when_the_store_fails() -> None:
    stage = Stage()
    await claim(stage.elsewhere)
    for _ in range(2):
        assert await claim(stage.cooldowns) is None
        stage.clock.advance(MINUTE / 4)
    stage.store.failing = OSError()

    assert await claim(stage.cooldowns) == "first"


async def test_what_others_told_long_ago_is_told_when_the_store_fails() -> None:
    stage = Stage()
    for _ in range(3):
        await stage.elsewhere.start(KEY, HOUR)
        assert await claim(stage.cooldowns) is None
        stage.clock.advance(HOUR)
    stage.store.failing = OSError()

    assert await claim(stage.cooldowns) == "first"


async def test_of_what_others_have_told_the_latest_100_000_are_remembered() -> None:
    found = _Elsewhere(FakeClock())
    for number in range(_MOST_FOUND + 10):
        found.note(KEY._replace(cert_id=str(number)), HOUR, told=True)

    assert len(found._found) == _MOST_FOUND


async def test_what_was_taken_over_keeps_its_id_when_the_store_fails() -> None:
    stage = Stage()
    await claim(stage.elsewhere, event_id="theirs")
    stage.clock.advance(MINUTE)
    assert await claim(stage.cooldowns, event_id="ours") == "theirs"
    stage.store.failing = OSError()
    stage.clock.advance(MINUTE)

    assert await claim(stage.cooldowns, event_id="another") == "theirs"


async def test_the_log_says_once_that_a_store_failed_but_not_what_it_said(caplog: pytest.LogCaptureFixture) -> None:
    cooldowns = FailOpenCooldowns(FailingCooldowns(), FakeClock(), Tally())
    for key in (KEY, OTHER):
        await tell(cooldowns, key)

    assert [record.message for record in caplog.records] == ["cooldown store failed; using a local cooldown"]
    assert [vars(record)["error"] for record in caplog.records] == ["ConnectionError"]
    assert "canary" not in str([vars(record) for record in caplog.records])
