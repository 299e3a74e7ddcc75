from __future__ import annotations

import pytest

from exporter.certcheck.cooldown import _MOST_KEPT, MemoryCooldowns
from tests.certcheck.cooldown_conformance import HOUR, KEY, SharedCooldownConformance, Two, claim, tell
from tests.fakes import FakeClock


def sharing(clock: FakeClock) -> Two:
    one, other = MemoryCooldowns(clock), MemoryCooldowns(clock)
    other._entries = one._entries
    return Two(one, other)


class TestMemoryCooldowns(SharedCooldownConformance):
    @pytest.fixture
    def two(self, clock: FakeClock) -> Two:
        return sharing(clock)


async def test_cooldowns_that_have_ended_are_forgotten() -> None:
    clock = FakeClock()
    store = MemoryCooldowns(clock)
    for number in range(10_000):
        await tell(store, KEY._replace(cert_id=str(number)))
        clock.advance(HOUR / 10)

    assert len(store.keys()) <= 1024


async def test_claims_that_lapsed_long_ago_are_forgotten() -> None:
    clock = FakeClock()
    store = MemoryCooldowns(clock)
    for number in range(10_000):
        await claim(store, KEY._replace(cert_id=str(number)))
        clock.advance(HOUR / 10)

    assert len(store.keys()) <= 1024


async def test_of_too_many_cooldowns_the_one_that_was_started_first_ends_early() -> None:
    store = MemoryCooldowns(FakeClock())
    keys = [KEY._replace(cert_id=str(number)) for number in range(_MOST_KEPT + 1)]
    for key in keys:
        await store.start(key, HOUR)

    assert len(store.keys()) == _MOST_KEPT
    assert not await tell(store, keys[1])
    assert await tell(store, keys[0])


async def test_a_cooldown_that_is_started_again_was_started_last() -> None:
    clock = FakeClock()
    store, other = MemoryCooldowns(clock), KEY._replace(cert_id="other")
    await store.start(KEY, HOUR / 2)
    await store.start(other, HOUR)
    clock.advance(HOUR / 2)
    await store.start(KEY, HOUR)

    assert list(store.keys()) == [other, KEY]


async def test_it_tells_what_is_left_of_a_cooldown_and_nothing_of_a_claim() -> None:
    clock = FakeClock()
    store, claimed = MemoryCooldowns(clock), KEY._replace(cert_id="claimed")
    await store.start(KEY, HOUR)
    await claim(store, claimed)
    clock.advance(HOUR / 4)
    assert (store.left(KEY), store.left(claimed)) == (HOUR * 3 / 4, None)

    clock.advance(HOUR)
    assert store.left(KEY) is None
