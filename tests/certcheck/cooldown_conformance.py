"""What any store of cooldowns must do. A store's tests derive from this class and give it the store."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from exporter.certcheck.events import EventKind
from exporter.certcheck.ports import CooldownKey, CooldownStore
from exporter.certcheck.slot import Role
from tests.fakes import FakeClock

HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)
KEY = CooldownKey("orders", Role.UPSTREAM, "ab" * 32, EventKind.EXPIRING_SOON)


class CooldownConformance:
    """Derive, and override `store`; and `clock`, if the store has its own idea of time."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def store(self, clock: FakeClock) -> CooldownStore:
        raise NotImplementedError

    async def test_a_cooldown_starts_once(self, store: CooldownStore) -> None:
        assert await store.try_start(KEY, HOUR)
        assert not await store.try_start(KEY, HOUR)

    async def test_of_many_who_start_it_at_once_one_does(self, store: CooldownStore) -> None:
        started = await asyncio.gather(*(store.try_start(KEY, HOUR) for _ in range(100)))

        assert started.count(True) == 1

    @pytest.mark.parametrize("duration", [MILLISECOND * 2, HOUR, timedelta(days=1), timedelta(days=365)])
    async def test_it_runs_for_its_duration_and_not_a_moment_longer(
        self, store: CooldownStore, clock: FakeClock, duration: timedelta
    ) -> None:
        await store.try_start(KEY, duration)

        clock.advance(duration - MILLISECOND)
        assert not await store.try_start(KEY, duration)
        clock.advance(MILLISECOND)
        assert await store.try_start(KEY, duration)

    async def test_asking_does_not_prolong_it(self, store: CooldownStore, clock: FakeClock) -> None:
        await store.try_start(KEY, HOUR)
        for _ in range(3):
            clock.advance(HOUR / 4)
            assert not await store.try_start(KEY, 10 * HOUR)
        clock.advance(HOUR / 4)

        assert await store.try_start(KEY, HOUR)

    async def test_it_runs_again_after_it_was_started_again(self, store: CooldownStore, clock: FakeClock) -> None:
        for _ in range(3):
            assert await store.try_start(KEY, HOUR)
            assert not await store.try_start(KEY, HOUR)
            clock.advance(HOUR)

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
        assert await store.try_start(KEY, HOUR)
        assert await store.try_start(other, HOUR)

        await store.clear(other)
        assert not await store.try_start(KEY, HOUR)

    async def test_keys_that_look_alike_are_different(self, store: CooldownStore) -> None:
        alike = [
            KEY._replace(api_id=api_id, cert_id=cert_id)
            for api_id in (None, "None", "a", "a.upstream", "A")
            for cert_id in ("b", "b:c", "b c", "b\nc", "b/c", "ä", "upstream:b", "", "%", "*")
        ]

        assert [await store.try_start(key, HOUR) for key in alike] == [True] * len(alike)
        assert [await store.try_start(key, HOUR) for key in alike] == [False] * len(alike)

    async def test_a_cleared_cooldown_can_start_at_once(self, store: CooldownStore) -> None:
        await store.try_start(KEY, HOUR)
        await store.clear(KEY)

        assert await store.try_start(KEY, HOUR)

    async def test_clearing_what_does_not_run_is_nothing(self, store: CooldownStore) -> None:
        await store.clear(KEY)
        await store.clear(KEY)

        assert await store.try_start(KEY, HOUR)
