"""A deadline that moves, on a loop's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import Context
from typing import TypeVarTuple

import pytest

from exporter.proxy.alarm import Alarm

# A timer may be early by less than its resolution.
EARLY = 0.002
IN_TIME = 1.0

Ts = TypeVarTuple("Ts")


class Bell:
    """An alarm, and when it has rung."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.alarm = Alarm(self.loop, self._ring)
        self.rung_at: list[float] = []
        self._rung = asyncio.Event()

    def _ring(self) -> None:
        self.rung_at.append(self.loop.time())
        self._rung.set()

    async def rings(self) -> float:
        """Wait for it; when it was."""
        async with asyncio.timeout(IN_TIME):
            await self._rung.wait()
        self._rung.clear()
        return self.rung_at[-1]

    async def past(self, seconds: float) -> None:
        """Wait until the loop has called what is due in so many seconds."""
        passed = asyncio.Event()
        self.loop.call_later(seconds, passed.set)
        await passed.wait()


@pytest.fixture
async def bell() -> AsyncIterator[Bell]:
    bell = Bell()
    yield bell
    bell.alarm.close()


async def test_it_rings_once_after_so_many_seconds(bell: Bell) -> None:
    set_at = bell.loop.time()
    bell.alarm.set(0.01)
    assert await bell.rings() >= set_at + 0.01 - EARLY
    await bell.past(0.02)
    assert len(bell.rung_at) == 1


async def test_it_does_not_ring_before_a_deadline_that_was_moved_later(bell: Bell) -> None:
    bell.alarm.set(0.005)
    moved_at = bell.loop.time()
    bell.alarm.set(0.03)
    assert await bell.rings() >= moved_at + 0.03 - EARLY
    assert len(bell.rung_at) == 1


async def test_it_rings_in_time_for_a_deadline_that_was_moved_earlier(bell: Bell) -> None:
    bell.alarm.set(60)
    bell.alarm.set(0.01)
    await bell.rings()


async def test_it_rings_for_the_last_deadline_of_many(bell: Bell) -> None:
    for seconds in (0.02, 0.001, 60, 0.03):
        set_at = bell.loop.time()
        bell.alarm.set(seconds)
    assert await bell.rings() >= set_at + 0.03 - EARLY
    assert len(bell.rung_at) == 1


async def test_it_does_not_ring_when_it_was_cleared(bell: Bell) -> None:
    bell.alarm.set(0.005)
    bell.alarm.clear()
    await bell.past(0.02)
    assert bell.rung_at == []


async def test_it_can_be_set_again_after_it_was_cleared(bell: Bell) -> None:
    bell.alarm.set(0.005)
    bell.alarm.clear()
    set_at = bell.loop.time()
    bell.alarm.set(0.02)
    assert await bell.rings() >= set_at + 0.02 - EARLY
    assert len(bell.rung_at) == 1


async def test_it_can_be_set_again_after_a_timer_has_passed_in_vain(bell: Bell) -> None:
    bell.alarm.set(0.001)
    bell.alarm.clear()
    await bell.past(0.01)
    bell.alarm.set(0.01)
    await bell.rings()


async def test_it_can_be_set_again_after_it_has_rung(bell: Bell) -> None:
    bell.alarm.set(0.001)
    await bell.rings()
    bell.alarm.set(0.001)
    await bell.rings()
    assert len(bell.rung_at) == 2


async def test_it_does_not_ring_when_it_was_closed(bell: Bell) -> None:
    bell.alarm.set(0.005)
    bell.alarm.close()
    bell.alarm.close()
    await bell.past(0.02)
    assert bell.rung_at == []


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_a_deadline_that_has_passed_rings_but_not_at_once(bell: Bell, seconds: float) -> None:
    bell.alarm.set(seconds)
    assert bell.rung_at == []
    await bell.rings()


class Timers(asyncio.SelectorEventLoop):
    """A loop that counts the timers it is asked for."""

    made = 0

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.made += 1
        return super().call_at(when, callback, *args, context=context)


def test_a_deadline_that_moves_later_needs_no_other_timer() -> None:
    loop = Timers()
    alarm = Alarm(loop, lambda: None)
    for seconds in range(1, 100):
        alarm.set(seconds)
        alarm.clear()
    assert loop.made == 1
    loop.close()
