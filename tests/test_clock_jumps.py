"""The wall clock is set, or the machine sleeps: no storm of events, and none that comes late."""

from __future__ import annotations

import asyncio
import selectors
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from exporter.attempts import Attempt, Delivered, Retry, RetryPolicy
from exporter.certcheck.announcer import Announcer
from exporter.certcheck.batcher import ExpiryBatcher
from exporter.certcheck.cooldown import MemoryCooldowns
from exporter.certcheck.events import EventKind
from exporter.certcheck.expiry import ExpiryPolicy, State, judge
from exporter.certcheck.fail_open import FailOpenCooldowns
from exporter.certcheck.inventory import Inventory, entries_of
from exporter.certcheck.slot import Observation
from exporter.certcheck.tally import Tally
from exporter.dispatcher import Dispatcher
from exporter.outbox import Delivery
from exporter.state.memory_outbox import MemoryOutbox
from tests.certcheck import DAY, fine, seen
from tests.fakes import NOON, RecordingSink

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
POLICY = ExpiryPolicy()
KIND_OF = {State.EXPIRING: EventKind.EXPIRING_SOON, State.EXPIRED: EventKind.EXPIRED}
LEFT = {
    "long over": -10 * DAY,
    "a moment": 10 * MINUTE,
    "an hour": HOUR + 7 * MINUTE,
    "today": 5 * HOUR,
    "soon": 10 * DAY,
    "soon in 20 minutes": 30 * DAY + 20 * MINUTE,
    "soon tomorrow": 31 * DAY,
    "in 40 days": 40 * DAY,
    "next year": 400 * DAY,
}
READINGS = {name: fine(left, name) for name, left in LEFT.items()}

STEP = 15
"""Seconds between the moments that are looked at."""

Key = tuple[str, EventKind]


class _Skipping(selectors.SelectSelector):
    """Does not wait: it is then."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += max(0.0, timeout or 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    """One whose time is the monotonic clock of a machine that is never busy."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


@dataclass
class Machine:
    """A wall clock that goes with the monotonic one, until it is set."""

    ahead: timedelta = timedelta(0)
    jumps: list[tuple[float, timedelta]] = field(default_factory=list)
    """By the monotonic clock."""

    def clock(self) -> datetime:
        return self.wall(asyncio.get_running_loop().time())

    def jump(self, by: timedelta) -> None:
        """Set the clock; or, forward, sleep."""
        self.jumps.append((asyncio.get_running_loop().time(), by))

    def wall(self, at: float) -> datetime:
        """What the wall clock said, and after a jump says, at a time of the monotonic one."""
        return NOON + timedelta(seconds=at) + sum((by for when, by in self.jumps if when <= at), timedelta(0))

    def jumped_between(self, one: float, other: float) -> bool:
        return any(one <= at <= other for at, _ in self.jumps)

    def set_back_between(self, one: float, other: float) -> int:
        return sum(1 for at, by in self.jumps if one <= at <= other and by < timedelta(0))


@dataclass
class Recorder:
    """A handler that keeps what it is given, with the monotonic time; it fails while it is told to."""

    told: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    attempts: list[float] = field(default_factory=list)
    failing: bool = False
    at_once: int = 1

    async def deliver(self, deliveries: Sequence[Delivery], at: datetime) -> Sequence[Attempt]:
        now = asyncio.get_running_loop().time()
        self.attempts.append(now)
        if self.failing:
            return [Retry(None, "no")] * len(deliveries)
        for each in deliveries:
            self.told[str(each.record.payload["cert_name"]), each.record.kind].append(now)
        return [Delivered()] * len(deliveries)

    async def close(self) -> None: ...


@dataclass
class World:
    machine: Machine
    recorder: Recorder
    logs: RecordingSink

    async def passes(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds())


def lived(story: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    """One API, from its load, through a story, to its end."""
    world = World(Machine(), Recorder(), RecordingSink())
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(_live(world, story))
    return world


async def _live(world: World, story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    clock, tally = world.machine.clock, Tally()
    cooldowns = FailOpenCooldowns(MemoryCooldowns(clock), clock, tally)
    # Half of what a wait may be.
    policy = RetryPolicy(lambda: 0.5)
    async with Dispatcher(MemoryOutbox(), cooldowns, world.logs, tally=tally, clock=clock, policy=policy) as dispatcher:
        dispatcher.tell_all("recorder", world.recorder)
        inventory = Inventory(tally)
        observations = [seen(reading, ref=name) for name, reading in READINGS.items()]
        batcher = _batcher(observations, Announcer(cooldowns, dispatcher, tally, inventory), inventory, tally, clock)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(batcher.run())
            await story(world)
            batcher.stop()
    assert not any(tally.errors.values())


def _batcher(
    observations: list[Observation],
    announcer: Announcer,
    inventory: Inventory,
    tally: Tally,
    clock: Callable[[], datetime],
) -> ExpiryBatcher:
    configured = {each: entries_of(each, POLICY, 1) for each in observations}
    inventory.put(entry for entries in configured.values() for entry in entries)
    return ExpiryBatcher(
        "orders",
        POLICY,
        configured,
        {},
        announced={},
        announcer=announcer,
        inventory=inventory,
        tally=tally,
        clock=clock,
    )


def late(world: World, until: timedelta) -> Iterator[str]:
    """What has been true for more than a flush interval, and was told neither since nor within its cooldown before.

    Repetitions come with the check that follows the end of the cooldown.
    """
    interval = POLICY.flush_interval.total_seconds()
    repeated_within = POLICY.event_cooldown + POLICY.check_cooldown
    for name, reading in READINGS.items():
        kind, since = None, 0
        for at in range(0, int(until.total_seconds()), STEP):
            now = KIND_OF.get(judge(reading, POLICY, world.machine.wall(at)))
            if now is not kind:
                kind, since = now, at
            if kind is None or at - since <= interval or world.machine.jumped_between(at - interval - 1, at):
                continue
            last = max((each for each in world.recorder.told[name, kind] if each <= at), default=None)
            if last is None or world.machine.wall(at - interval) - world.machine.wall(last) > repeated_within:
                yield f"{name}: {kind} at {timedelta(seconds=at)}"
                break


def too_often(world: World) -> Iterator[str]:
    """What was told twice within a cooldown, by the wall clock; once for each time that it was set back is allowed."""
    for key, times in world.recorder.told.items():
        for one, other in pairwise(times):
            apart = world.machine.wall(other) - world.machine.wall(one)
            if apart < POLICY.event_cooldown and not world.machine.set_back_between(one, other):
                yield f"{key}: {timedelta(seconds=one)} and {timedelta(seconds=other)}"


JUMPS = {
    "an hour ahead": (HOUR,),
    "an hour back": (-HOUR,),
    "an hour ahead and back": (HOUR, -HOUR),
    "an hour back and ahead": (-HOUR, HOUR),
    "thirty days ahead": (30 * DAY,),
    "a machine that slept for the night": (9 * HOUR,),
    "a machine that slept for an hour, twice": (HOUR, HOUR),
}
LATER = 51 * HOUR


@pytest.mark.parametrize("after", [SECOND, 15 * MINUTE, 3 * HOUR], ids=["at once", "soon", "later"])
@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS)
def test_a_clock_that_jumps_makes_no_storm_and_nothing_late(jumps: tuple[timedelta, ...], after: timedelta) -> None:
    async def story(world: World) -> None:
        for by in jumps:
            await world.passes(after)
            world.machine.jump(by)
        await world.passes(LATER)

    world = lived(story)
    assert list(late(world, LATER)) == []
    assert list(too_often(world)) == []
    backward = sum(1 for by in jumps if by < timedelta(0))
    logged = len(world.logs.events)
    assert logged == sum(map(len, world.recorder.told.values()))
    days = (LATER + after * len(jumps) + sum(jumps, timedelta(0))) // DAY + 1
    for key, times in world.recorder.told.items():
        assert len(times) <= min(days, 4) + backward, key


def test_a_clock_that_stands_still_changes_nothing_of_what_is_told() -> None:
    async def story(world: World) -> None:
        await world.passes(LATER)

    world = lived(story)
    assert list(late(world, LATER)) == []
    assert list(too_often(world)) == []
    assert len(world.recorder.told["soon", EventKind.EXPIRING_SOON]) == 3


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 9 * HOUR], ids=["ahead", "back", "asleep"])
def test_what_waits_to_be_tried_again_is_tried_as_soon_after_a_jump_as_without(jump: timedelta) -> None:
    async def story(world: World) -> None:
        world.recorder.failing = True
        await world.passes(2 * MINUTE)
        world.machine.jump(jump)
        await world.passes(RetryPolicy(lambda: 0.5).longest)
        world.recorder.failing = False
        await world.passes(2 * HOUR)

    world = lived(story)
    jumped_at = 120.0
    waited = min(each for each in world.recorder.attempts if each > jumped_at) - jumped_at
    assert timedelta(seconds=waited) <= RetryPolicy(lambda: 0.5).longest
    assert world.recorder.told["soon", EventKind.EXPIRING_SOON]
    first = min(world.recorder.told["soon", EventKind.EXPIRING_SOON])
    assert timedelta(seconds=first - jumped_at) <= 2 * RetryPolicy(lambda: 0.5).longest
    assert list(too_often(world)) == []


def test_what_waits_while_the_machine_sleeps_for_longer_than_its_claim_is_told_once_and_logged_under_one_id() -> None:
    async def story(world: World) -> None:
        world.recorder.failing = True
        await world.passes(2 * MINUTE)
        world.machine.jump(9 * HOUR)
        await world.passes(10 * MINUTE)
        world.recorder.failing = False
        await world.passes(HOUR)

    world = lived(story)
    assert len(world.recorder.told["soon", EventKind.EXPIRING_SOON]) == 1
    soon = [each for each in world.logs.events if each.kind is EventKind.EXPIRING_SOON and each.slot.cert_ref == "soon"]
    assert len({each.event_id for each in soon}) == 1
    assert len(soon) <= 2
