"""What any store of cooldowns must do. A store's tests derive from one of these classes and give it the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import NamedTuple

import pytest

from exporter.certcheck.events import EventKind
from exporter.certcheck.ports import LONGEST, CooldownKey, CooldownStore
from exporter.certcheck.slot import Role
from tests.fakes import FakeClock

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
MILLISECOND = timedelta(milliseconds=1)
ZERO = timedelta(0)
KEY = CooldownKey("orders", Role.UPSTREAM, "ab" * 32, EventKind.EXPIRING_SOON)
JUMPS = [HOUR, -HOUR, 30 * DAY, -30 * DAY]
HOSTILE = (
    *("b", "b:c", "b c", "b\nc", "b/c", "ä", "upstream:b", "", "%", "*", "null", "\0", "a\0", "b\0c", "\r\n"),
    *('"', "\\", "'", "', '", "\ud800", "\udfff", "\u202e", "{}", "[[", "]]--", "$1", "; DROP TABLE", "x" * 5000),
)


class Two(NamedTuple):
    """Two owners, as two replicas are, of one memory."""

    one: CooldownStore
    other: CooldownStore


async def claim(
    store: CooldownStore,
    key: CooldownKey = KEY,
    event_id: str = "first",
    *,
    lease: timedelta = MINUTE,
    cooldown: timedelta = HOUR,
) -> str | None:
    return await store.claim(key, event_id, lease, cooldown)


async def tell(store: CooldownStore, key: CooldownKey = KEY, cooldown: timedelta = HOUR) -> bool:
    """Whether it was this one's to tell."""
    claimed = await claim(store, key, cooldown=cooldown) is not None
    if claimed:
        await store.start(key, cooldown)
    return claimed


class CooldownConformance:
    """What one owner sees. Derive, and override `store`; and `clock`, if the store has its own idea of time."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def store(self, clock: FakeClock) -> CooldownStore:
        raise NotImplementedError

    # Cooldowns.

    async def test_an_event_is_told_once(self, store: CooldownStore) -> None:
        assert await tell(store)
        assert not await tell(store)

    @pytest.mark.parametrize("duration", [MILLISECOND * 2, HOUR, DAY, 365 * DAY])
    async def test_a_cooldown_runs_for_its_duration_and_not_a_moment_longer(
        self, store: CooldownStore, clock: FakeClock, duration: timedelta
    ) -> None:
        await tell(store, cooldown=duration)

        clock.advance(duration - MILLISECOND)
        assert not await tell(store, cooldown=duration)
        clock.advance(MILLISECOND)
        assert await tell(store, cooldown=duration)

    async def test_asking_does_not_prolong_a_cooldown(self, store: CooldownStore, clock: FakeClock) -> None:
        await tell(store)
        for _ in range(3):
            clock.advance(HOUR / 4)
            assert not await tell(store, cooldown=10 * HOUR)
        clock.advance(HOUR / 4)

        assert await tell(store)

    async def test_it_runs_again_after_it_was_started_again(self, store: CooldownStore, clock: FakeClock) -> None:
        for _ in range(3):
            assert await tell(store)
            assert not await tell(store)
            clock.advance(HOUR)

    async def test_a_cooldown_starts_without_a_claim(self, store: CooldownStore, clock: FakeClock) -> None:
        await store.start(KEY, HOUR)
        assert await claim(store) is None

        clock.advance(HOUR)
        assert await claim(store) == "first"

    async def test_a_cooldown_that_is_started_again_runs_from_then(
        self, store: CooldownStore, clock: FakeClock
    ) -> None:
        await store.start(KEY, HOUR)
        clock.advance(HOUR / 2)
        await store.start(KEY, HOUR)
        clock.advance(HOUR - MILLISECOND)
        assert await claim(store) is None

        clock.advance(MILLISECOND)
        assert await claim(store) == "first"

    async def test_a_cooldown_of_zero_is_none_and_ends_the_claim(self, store: CooldownStore) -> None:
        for number in range(3):
            assert await claim(store, event_id=str(number), cooldown=ZERO) == str(number)
            await store.start(KEY, ZERO)

    @pytest.mark.parametrize("huge", [LONGEST, 10 * LONGEST, timedelta.max])
    async def test_a_huge_cooldown_runs_for_at_most_ten_years(
        self, store: CooldownStore, clock: FakeClock, huge: timedelta
    ) -> None:
        assert await tell(store, cooldown=huge)
        clock.advance(LONGEST - MILLISECOND)
        assert await claim(store, lease=huge, cooldown=huge) is None

        clock.advance(MILLISECOND)
        assert await claim(store, lease=huge, cooldown=huge) == "first"

    async def test_a_cooldown_that_is_longer_than_is_configured_now_does_not_run(
        self, store: CooldownStore, clock: FakeClock
    ) -> None:
        await store.start(KEY, 10 * HOUR)
        assert await claim(store, cooldown=HOUR) == "first"

    @pytest.mark.parametrize("jump", JUMPS)
    @pytest.mark.parametrize("elapsed", [ZERO, DAY / 2])
    async def test_after_no_jump_of_the_clock_a_cooldown_runs_for_longer_than_its_length(
        self, store: CooldownStore, clock: FakeClock, elapsed: timedelta, jump: timedelta
    ) -> None:
        await store.start(KEY, DAY)
        clock.advance(elapsed)
        clock.advance(jump)

        if await claim(store, cooldown=DAY) is None:
            clock.advance(DAY)
            assert await claim(store, cooldown=DAY) == "first"

    @pytest.mark.parametrize("back", [MILLISECOND, HOUR, 400 * DAY])
    async def test_a_clock_set_back_to_before_its_start_ends_a_cooldown(
        self, store: CooldownStore, clock: FakeClock, back: timedelta
    ) -> None:
        await store.start(KEY, HOUR)
        clock.advance(-back)

        assert await tell(store)
        clock.advance(HOUR)
        assert await tell(store)

    async def test_what_has_begun_in_the_future_counts_for_nothing_whatever_may_run_now(
        self, store: CooldownStore, clock: FakeClock
    ) -> None:
        await store.start(KEY, HOUR)
        clock.advance(-MILLISECOND)
        assert await claim(store, cooldown=10 * HOUR) == "first"

        clock.advance(-MILLISECOND)
        assert await claim(store, event_id="second", lease=HOUR) == "first"

    # Claims.

    async def test_what_is_claimed_cannot_be_claimed_again(self, store: CooldownStore) -> None:
        assert await claim(store) == "first"
        assert await claim(store, event_id="second") is None

    async def test_of_many_who_claim_it_at_once_one_does(self, store: CooldownStore) -> None:
        claimed = await asyncio.gather(*(claim(store, event_id=str(number)) for number in range(100)))

        assert claimed.count(None) == 99

    @pytest.mark.parametrize("lease", [2 * MILLISECOND, MINUTE, DAY])
    async def test_a_claim_is_held_for_its_lease_and_then_taken_over_under_its_id(
        self, store: CooldownStore, clock: FakeClock, lease: timedelta
    ) -> None:
        await claim(store, lease=lease)
        clock.advance(lease - MILLISECOND)
        assert await claim(store, event_id="second", lease=lease) is None

        clock.advance(MILLISECOND)
        assert await claim(store, event_id="second", lease=lease) == "first"
        assert await claim(store, event_id="third", lease=lease) is None

    async def test_the_id_of_a_claim_that_lapsed_is_remembered_for_as_long_as_a_cooldown(
        self, store: CooldownStore, clock: FakeClock
    ) -> None:
        await claim(store, cooldown=DAY)
        clock.advance(MINUTE + DAY - MILLISECOND)

        assert await claim(store, event_id="second", cooldown=DAY) == "first"

    async def test_the_id_is_forgotten_once_it_was_told(self, store: CooldownStore, clock: FakeClock) -> None:
        await tell(store)
        clock.advance(HOUR)

        assert await claim(store, event_id="second") == "second"

    async def test_a_lease_of_zero_is_none(self, store: CooldownStore) -> None:
        assert await claim(store, lease=ZERO) == "first"
        assert await claim(store, event_id="second", lease=ZERO) == "first"

    async def test_a_claim_that_is_released_can_be_claimed_at_once_under_another_id(self, store: CooldownStore) -> None:
        await claim(store)
        await store.release(KEY)

        assert await claim(store, event_id="second") == "second"

    async def test_releasing_what_is_not_claimed_is_nothing(self, store: CooldownStore) -> None:
        await store.release(KEY)
        await store.start(KEY, HOUR)
        await store.release(KEY)

        assert await claim(store) is None

    async def test_a_claim_that_is_renewed_is_held_from_then(self, store: CooldownStore, clock: FakeClock) -> None:
        await claim(store)
        for _ in range(3):
            clock.advance(MINUTE - MILLISECOND)
            await store.renew([KEY], MINUTE)
        clock.advance(MINUTE - MILLISECOND)
        assert await claim(store, event_id="second") is None

        clock.advance(MILLISECOND)
        assert await claim(store, event_id="second") == "first"

    async def test_a_claim_that_was_renewed_for_long_is_remembered_as_long_as_any(
        self, store: CooldownStore, clock: FakeClock
    ) -> None:
        await claim(store)
        for _ in range(100):
            clock.advance(MINUTE - MILLISECOND)
            await store.renew([KEY], MINUTE)
        clock.advance(MINUTE + HOUR - MILLISECOND)

        assert await claim(store, event_id="second") == "first"

    async def test_a_claim_that_has_lapsed_is_not_held_again_by_renewing(
        self, store: CooldownStore, clock: FakeClock
    ) -> None:
        await claim(store)
        clock.advance(MINUTE)
        await store.renew([KEY], MINUTE)

        assert await claim(store, event_id="second") == "first"

    async def test_renewing_what_is_not_claimed_is_nothing(self, store: CooldownStore, clock: FakeClock) -> None:
        await store.renew([], MINUTE)
        await store.renew([KEY], MINUTE)
        assert await tell(store)
        await store.renew([KEY], 10 * HOUR)
        clock.advance(HOUR)

        assert await tell(store)

    async def test_many_claims_are_renewed_at_once(self, store: CooldownStore, clock: FakeClock) -> None:
        keys = [KEY._replace(cert_id=str(number)) for number in range(1000)]
        for key in keys:
            await claim(store, key)
        clock.advance(MINUTE / 2)
        await store.renew(keys, MINUTE)
        clock.advance(MINUTE / 2)

        assert [await claim(store, key) for key in keys] == [None] * 1000

    @pytest.mark.parametrize("jump", JUMPS)
    @pytest.mark.parametrize("elapsed", [ZERO, DAY / 2])
    async def test_after_no_jump_of_the_clock_a_claim_is_held_for_longer_than_its_lease(
        self, store: CooldownStore, clock: FakeClock, elapsed: timedelta, jump: timedelta
    ) -> None:
        await claim(store, lease=DAY)
        clock.advance(elapsed)
        clock.advance(jump)

        if await claim(store, event_id="second", lease=DAY) is None:
            clock.advance(DAY)
            assert await claim(store, event_id="second", lease=DAY) is not None

    @pytest.mark.parametrize("back", [MILLISECOND, HOUR, 30 * DAY])
    async def test_a_clock_set_back_to_before_its_start_ends_a_claim_and_keeps_its_id(
        self, store: CooldownStore, clock: FakeClock, back: timedelta
    ) -> None:
        await claim(store)
        clock.advance(-back)

        assert await claim(store, event_id="second") == "first"

    # Keys.

    @pytest.mark.parametrize(
        "other",
        [
            KEY._replace(api_id="payments"),
            KEY._replace(api_id=None),
            KEY._replace(role=Role.UPSTREAM_SERVER),
            KEY._replace(cert_id="cd" * 32),
            KEY._replace(event=EventKind.EXPIRED),
        ],
    )
    async def test_no_api_role_certificate_or_event_silences_another(
        self, store: CooldownStore, other: CooldownKey
    ) -> None:
        assert await tell(store)
        assert await claim(store, other) == "first"

        await store.release(other)
        assert not await tell(store)

    async def test_keys_that_look_alike_are_different(self, store: CooldownStore) -> None:
        alike = [
            KEY._replace(api_id=api_id, cert_id=cert_id)
            for api_id in (None, "None", "null", "", "a", "a.upstream", "A", "a\0")
            for cert_id in HOSTILE
        ]

        assert [await tell(store, key) for key in alike] == [True] * len(alike)
        assert [await tell(store, key) for key in alike] == [False] * len(alike)

    async def test_a_store_can_be_closed_twice(self, store: CooldownStore) -> None:
        await tell(store)
        await store.close()
        await store.close()


class SharedCooldownConformance(CooldownConformance):
    """What two owners of one memory see. Derive, and override `two`; and `clock`."""

    @pytest.fixture
    def two(self, clock: FakeClock) -> Two:
        raise NotImplementedError

    @pytest.fixture
    def store(self, two: Two) -> CooldownStore:
        return two.one

    @pytest.fixture(autouse=True)
    async def _closed(self, two: Two) -> AsyncIterator[None]:
        yield
        for each in two:
            await each.close()

    async def test_what_one_has_told_the_other_does_not_tell(self, two: Two) -> None:
        assert await tell(two.one)
        assert not await tell(two.other)

    async def test_what_one_has_claimed_the_other_does_not_get(self, two: Two) -> None:
        assert await claim(two.one) == "first"
        assert await claim(two.other, event_id="second") is None

    async def test_of_two_who_race_for_500_events_each_is_told_by_one(self, two: Two) -> None:
        keys = [KEY._replace(cert_id=str(number)) for number in range(500)]

        async def race(store: CooldownStore, name: str) -> list[str | None]:
            return await asyncio.gather(*(claim(store, key, name) for key in keys))

        won = zip(*await asyncio.gather(race(two.one, "one"), race(two.other, "other")), strict=True)
        assert {frozenset(each) for each in won} <= {frozenset({"one", None}), frozenset({"other", None})}

    async def test_what_one_let_lapse_the_other_tells_under_its_id(self, two: Two, clock: FakeClock) -> None:
        await claim(two.one)
        clock.advance(MINUTE)
        assert await claim(two.other, event_id="second") == "first"

        # The first one was slow, not dead: it holds nothing any more.
        await two.one.renew([KEY], HOUR)
        await two.one.release(KEY)
        assert await claim(two.one, event_id="third") is None
        clock.advance(MINUTE)
        assert await claim(two.one, event_id="third") == "first"

    async def test_what_was_told_after_it_was_taken_over_is_told(self, two: Two, clock: FakeClock) -> None:
        await claim(two.one)
        clock.advance(MINUTE)
        await claim(two.other, event_id="second")
        await two.one.start(KEY, HOUR)

        await two.other.release(KEY)
        assert await claim(two.other) is None

    async def test_nobody_renews_or_releases_what_another_has_claimed(self, two: Two, clock: FakeClock) -> None:
        await claim(two.one)
        await two.other.release(KEY)
        assert await claim(two.other, event_id="second") is None
        await two.other.renew([KEY], HOUR)

        clock.advance(MINUTE)
        assert await claim(two.other, event_id="second") == "first"
