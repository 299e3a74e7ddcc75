"""Every handler gets every event at least once, for a day, whatever the others do; and what follows from that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import repeat

import pytest

from exporter import dispatcher
from exporter.attempts import Attempt, Delivered, Failed, Retry, RetryPolicy
from exporter.certcheck.announcer import LEASE
from exporter.certcheck.certificate import Certificate
from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.ports import CooldownKey
from exporter.certcheck.slot import Role, Slot
from exporter.certcheck.tally import Tally
from exporter.delivery import Handler, Routes, record_of
from exporter.dispatcher import Dispatcher
from exporter.outbox import Delivery, Outbox, Outcome, Record
from exporter.state.ledger import Ledger
from exporter.state.memory_outbox import MemoryOutbox
from tests.fakes import NOON, FakeClock, RecordingSink

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
BUSY = Retry(None, "status 503")


def event(event_id: str, kind: EventKind = EventKind.EXPIRED, cooldown: timedelta = HOUR) -> ExpiryEvent:
    known = Certificate("ab" * 32, NOON - 300 * DAY, NOON - DAY, common_name="orders")
    slot = Slot("orders", Role.UPSTREAM, "orders-client", "orders.internal", 8443)
    return ExpiryEvent(kind, event_id, slot, NOON, known, identity=f"of {event_id}", cooldown=cooldown)


def key(event_id: str) -> CooldownKey:
    return CooldownKey("orders", Role.UPSTREAM, f"of {event_id}", EventKind.EXPIRED)


class Noted:
    """Keeps what happens, and lets it be waited for."""

    def __init__(self) -> None:
        self._happened = asyncio.Event()

    def happens(self) -> None:
        self._happened.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._happened.clear()
                await self._happened.wait()


class FakeHandler:
    """Answers with these attempts, then takes everything. Waits while `gate` is not set; `closed` counts."""

    def __init__(self, noted: Noted, *attempts: Attempt | Exception, at_once: int = 1) -> None:
        self.at_once = at_once
        self.attempts = list(attempts)
        self.calls: list[list[str]] = []
        self.times: list[datetime] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = 0
        self.busy = False
        self.cut = False
        self._noted = noted

    @property
    def got(self) -> list[str]:
        """Every attempt's event."""
        return [event_id for call in self.calls for event_id in call]

    async def deliver(self, deliveries: Sequence[Delivery], at: datetime) -> Sequence[Attempt]:
        assert len(deliveries) <= self.at_once
        assert not self.closed
        self.calls.append([each.record.event_id for each in deliveries])
        self.times.append(at)
        self._noted.happens()
        self.busy = True
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cut = True
            raise
        finally:
            self.busy = False
        attempt = self.attempts.pop(0) if self.attempts else Delivered()
        if isinstance(attempt, Exception):
            raise attempt
        return [attempt] * len(deliveries)

    async def close(self) -> None:
        assert not self.busy
        self.closed += 1
        self._noted.happens()


class NotedOutbox(MemoryOutbox):
    """Says when something was looked at or written down."""

    def __init__(self, noted: Noted, ledger: Ledger | None = None) -> None:
        super().__init__(ledger)
        self._noted = noted

    async def next_at(self, handler: str) -> datetime | None:
        try:
            return await super().next_at(handler)
        finally:
            self._noted.happens()


class FakeCooldowns:
    """Keeps what was asked for."""

    def __init__(self, noted: Noted) -> None:
        self.started: list[tuple[CooldownKey, timedelta]] = []
        self.renewed: list[set[CooldownKey]] = []
        self.failing: Exception | None = None
        self._noted = noted

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        raise NotImplementedError

    async def renew(self, keys: Collection[CooldownKey], lease: timedelta) -> None:
        assert lease == LEASE
        self.renewed.append(set(keys))
        self._noted.happens()
        if self.failing is not None:
            raise self.failing

    async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
        self.started.append((key, cooldown))
        self._noted.happens()

    async def release(self, key: CooldownKey) -> None:
        raise NotImplementedError

    async def close(self) -> None: ...


@dataclass
class World:
    """A dispatcher, and all that it was given."""

    noted: Noted = field(default_factory=Noted)
    clock: FakeClock = field(default_factory=FakeClock)
    tally: Tally = field(default_factory=Tally)
    logs: RecordingSink = field(default_factory=RecordingSink)
    ledger: Ledger = field(default_factory=Ledger)
    handlers: dict[str, FakeHandler] = field(default_factory=dict)
    told: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By API: who is told of what has expired, in these tests."""
    draws: Iterator[float] = field(default_factory=lambda: repeat(0.0))
    """How much of the longest wait it waits: nothing, so that it tries again at once unless it is told to wait."""
    outbox: Outbox = field(init=False)
    cooldowns: FakeCooldowns = field(init=False)
    dispatcher: Dispatcher = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = NotedOutbox(self.noted, self.ledger)
        self.cooldowns = FakeCooldowns(self.noted)

    def handler(self, name: str, *attempts: Attempt | Exception, at_once: int = 1) -> FakeHandler:
        """Have the events of the API told to one more."""
        made = self.handlers[name] = FakeHandler(self.noted, *attempts, at_once=at_once)
        self.told["orders"] = (*self.told.get("orders", ()), name)
        return made

    @asynccontextmanager
    async def running(self, **everywhere: Handler) -> AsyncIterator[Dispatcher]:
        tasks = asyncio.all_tasks()
        made = Dispatcher(
            self.outbox,
            self.cooldowns,
            self.logs,
            tally=self.tally,
            clock=self.clock,
            policy=RetryPolicy(lambda: next(self.draws)),
        )
        for name, handler in everywhere.items():
            made.tell_all(name, handler)
        async with made:
            self.dispatcher = made
            await self.use()
            yield made
        assert asyncio.all_tasks() == tasks

    async def use(self) -> None:
        routes: Routes = {api_id: {EventKind.EXPIRED: names} for api_id, names in self.told.items()}
        await self.dispatcher.use(self.handlers, routes)

    async def pass_by(self, time: timedelta) -> None:
        """Let time pass, and have everything that waits look at the clock."""
        self.clock.advance(time)
        await self.use()

    async def settled(self) -> None:
        """Wait until nothing is pending."""
        await self.noted.until(lambda: not self.ledger.backlog())

    def is_next_at(self, handler: str, at: datetime) -> bool:
        return self.ledger.next_at(handler) == at

    def counted(self) -> Mapping[tuple[str, str], int]:
        return {(handler, outcome): count for (_, handler, outcome), count in self.tally.deliveries.items()}

    def outcomes(self, event_id: str) -> dict[str, Outcome | None]:
        """By handler."""
        [found] = [each for record, each in self.ledger.recent(1000, None) if record.event_id == event_id]
        return {each.handler: each.outcome for each in found}


@pytest.fixture
def world() -> World:
    return World()


async def test_every_handler_and_the_log_get_every_event(world: World) -> None:
    handlers = [world.handler("orders/ops"), world.handler("/pager")]
    everything = FakeHandler(world.noted, at_once=100)
    async with world.running(otlp=everything) as runs:
        assert [await runs.emit(event(each)) for each in ("1", "2", "3")] == [False] * 3
        assert [each.event_id for each in world.logs.events] == ["1", "2", "3"]
        await world.settled()
    assert [sorted(each.got) for each in (*handlers, everything)] == [["1", "2", "3"]] * 3
    assert world.counted() == {("ops", "delivered"): 3, ("pager", "delivered"): 3, ("otlp", "delivered"): 3}


async def test_what_nobody_is_told_is_shown_and_starts_its_cooldown(world: World) -> None:
    handler = world.handler("orders/ops")
    async with world.running() as runs:
        assert not await runs.emit(event("1", EventKind.RENEWED))
        [(shown, deliveries)] = await world.outbox.recent(10)
    assert (len(world.logs.events), handler.calls) == (1, [])
    assert (shown.event_id, deliveries) == ("1", [])
    assert world.cooldowns.started == [(shown.key, HOUR)]


async def test_several_go_in_one_attempt_where_a_handler_takes_them(world: World) -> None:
    handler = world.handler("orders/ops", at_once=3)
    handler.gate.clear()
    async with world.running() as runs:
        for number in range(5):
            await runs.emit(event(str(number)))
        await world.noted.until(lambda: handler.calls)
        handler.gate.set()
        await world.settled()
    assert sorted(handler.got) == list("01234")
    assert max(map(len, handler.calls)) == 3


async def test_what_was_not_taken_is_tried_again_and_said_to_no_other(world: World) -> None:
    busy, other = world.handler("orders/ops", BUSY, BUSY), world.handler("/pager")
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.settled()
    assert (busy.got, other.got) == (["1"] * 3, ["1"])
    assert world.counted() == {("ops", "retried"): 2, ("ops", "delivered"): 1, ("pager", "delivered"): 1}


async def test_what_was_refused_together_is_tried_again_together(world: World) -> None:
    handler = world.handler("orders/ops", BUSY, at_once=3)
    world.draws = iter((0.25, 0.5, 0.75))
    async with world.running() as runs:
        for number in range(3):
            await runs.emit(event(str(number)))
        await world.noted.until(lambda: world.is_next_at("orders/ops", NOON + 0.25 * SECOND))
        await world.pass_by(0.25 * SECOND)
        await world.settled()
    assert [sorted(each) for each in handler.calls] == [["0", "1", "2"], ["0", "1", "2"]]


async def test_no_attempt_is_made_before_a_receiver_wants_one(world: World) -> None:
    handler = world.handler("orders/ops", Retry(10 * SECOND, "status 429"))
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.noted.until(lambda: world.ledger.next_at("orders/ops") == NOON + 10 * SECOND)
        for time_passed in (SECOND, 8 * SECOND, SECOND):
            assert handler.times == [NOON]
            await world.pass_by(time_passed)
        await world.settled()
    assert handler.times == [NOON, NOON + 10 * SECOND]


async def test_what_waits_is_counted_for_every_handler_that_is_named(world: World) -> None:
    world.handler("orders/slow", Retry(HOUR, "status 503"))
    world.handler("orders/ops")
    async with world.running() as dispatcher:
        assert dispatcher.pending() == {"orders/slow": 0, "orders/ops": 0}
        await dispatcher.emit(event("1"))
        await world.noted.until(lambda: dispatcher.pending() == {"orders/slow": 1, "orders/ops": 0})


async def test_a_handler_that_never_takes_it_has_failed_after_a_day(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    handler = world.handler("orders/ops", *[Retry(HOUR, "status 503")] * 30)
    async with world.running() as runs:
        await runs.emit(event("1"))
        for hour in range(24):
            await world.noted.until(partial(world.is_next_at, "orders/ops", NOON + (hour + 1) * HOUR))
            await world.pass_by(HOUR)
        await world.settled()
    # The last attempt was exactly a day later.
    assert handler.times == [NOON + number * HOUR for number in range(25)]
    assert world.outcomes("1") == {"orders/ops": Outcome.EXPIRED}
    assert world.counted() == {("ops", "retried"): 24, ("ops", "failed"): 1}
    [line] = [vars(each) for each in caplog.records if each.levelname == "ERROR"]
    assert (line["event_id"], line["handler"], line["error"]) == ("1", "orders/ops", "status 503")


async def test_what_is_refused_for_good_is_not_tried_again(world: World) -> None:
    handler = world.handler("orders/ops", Failed("status 400"))
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.settled()
    assert (handler.got, world.outcomes("1")) == (["1"], {"orders/ops": Outcome.FAILED})
    assert world.counted() == {("ops", "failed"): 1}


async def test_a_handler_that_is_slow_delays_no_other(world: World) -> None:
    slow, quick = world.handler("orders/slow"), world.handler("orders/quick")
    slow.gate.clear()
    async with world.running() as runs:
        for number in range(20):
            await runs.emit(event(str(number)))
        await world.noted.until(lambda: len(quick.got) == 20)
        assert len(slow.got) == 1
        slow.gate.set()
        await world.settled()
    assert len(slow.got) == 20


async def test_what_is_dropped_is_counted_and_the_most_important_stays(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.ledger = Ledger(most_pending=2)
    world.outbox = NotedOutbox(world.noted, world.ledger)
    handler = FakeHandler(world.noted)
    handler.gate.clear()
    async with world.running(otlp=handler) as runs:
        await runs.emit(event("1"))
        await world.noted.until(lambda: handler.calls)
        await runs.emit(event("2", EventKind.RENEWED))
        await runs.emit(event("3"))
        handler.gate.set()
        await world.settled()
    assert handler.got == ["1", "3"]
    assert world.counted() == {("otlp", "delivered"): 2, ("otlp", "dropped"): 1}
    # Nobody waits for it any more, so it may be announced again when its cooldown is over.
    assert {each.cert_id for each, _ in world.cooldowns.started} == {"of 1", "of 2", "of 3"}
    assert "events were dropped: too many wait to be delivered" in caplog.messages


async def test_a_cooldown_starts_when_every_handler_has_settled(world: World) -> None:
    slow, failing = world.handler("orders/slow"), world.handler("orders/failing", Failed("status 400"))
    slow.gate.clear()
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.noted.until(lambda: slow.got and world.counted().get(("failing", "failed")))
        assert (failing.got, world.cooldowns.started) == (["1"], [])
        slow.gate.set()
        await world.noted.until(lambda: world.cooldowns.started)
    assert world.cooldowns.started == [(key("1"), HOUR)]


async def test_without_a_cooldown_none_is_started(world: World) -> None:
    world.handler("orders/ops")
    async with world.running() as runs:
        await runs.emit(event("1", cooldown=timedelta(0)))
        await world.settled()
    assert world.cooldowns.started == []


async def test_an_event_that_is_announced_again_after_it_was_delivered_starts_its_cooldown(world: World) -> None:
    # As after the end of a process that has delivered it, and did not get so far as to start its cooldown.
    handler = world.handler("orders/ops")
    world.ledger.put(record_of(event("1")), ["orders/ops"])
    [delivery] = world.ledger.due("orders/ops", NOON, 1)
    delivered = Delivery(delivery.record, "orders/ops", 1, NOON, outcome=Outcome.DELIVERED, settled_at=NOON)
    world.ledger.attempted([delivered])
    async with world.running() as runs:
        await runs.emit(event("1"))
    assert (handler.calls, world.cooldowns.started) == ([], [(key("1"), HOUR)])


async def test_claims_are_renewed_until_an_event_has_settled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_RENEWAL", timedelta(milliseconds=5))
    handler = world.handler("orders/ops")
    handler.gate.clear()
    async with world.running() as runs:
        await runs.emit(event("1"))
        await runs.emit(event("2", cooldown=timedelta(0)))
        world.cooldowns.failing = ConnectionError("down")
        await world.noted.until(lambda: len(world.cooldowns.renewed) > 3)
        handler.gate.set()
        await world.settled()
        await world.noted.until(lambda: world.cooldowns.started)
        world.cooldowns.renewed.clear()
    # Asked all the same, for a store that is back is noticed by that.
    assert not any(world.cooldowns.renewed)


async def test_claims_that_are_renewed_are_those_of_what_is_pending(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "_RENEWAL", timedelta(milliseconds=5))
    handler = world.handler("orders/ops")
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.settled()
        handler.gate.clear()
        await runs.emit(event("2"))
        await world.noted.until(lambda: len(world.cooldowns.renewed) > 2)
        handler.gate.set()
    assert {key("2")} in world.cooldowns.renewed
    assert all(each <= {key("1"), key("2")} for each in world.cooldowns.renewed)
    assert world.cooldowns.renewed[1] == {key("2")}


async def test_a_handler_that_goes_away_gets_what_was_meant_for_it_and_is_closed_once(world: World) -> None:
    handler = world.handler("orders/ops", BUSY)
    handler.gate.clear()
    async with world.running() as runs:
        await runs.emit(event("1"))
        await runs.emit(event("2"))
        await world.noted.until(lambda: handler.calls)
        world.handlers.clear()
        world.told.clear()
        await world.use()
        assert not runs.told("orders", EventKind.EXPIRED)
        await runs.emit(event("3"))
        assert handler.closed == 0
        handler.gate.set()
        await world.noted.until(lambda: handler.closed)
        assert not world.ledger.backlog()
        await world.use()
    assert (sorted(handler.got), handler.closed) == (["1", "1", "2"], 1)
    assert world.counted() == {("ops", "retried"): 1, ("ops", "delivered"): 2}


async def test_a_handler_that_goes_away_with_nothing_to_do_is_closed_once(world: World) -> None:
    handler = world.handler("orders/ops")
    async with world.running():
        world.handlers.clear()
        world.told.clear()
        await world.use()
        await world.noted.until(lambda: handler.closed)
    assert handler.closed == 1


async def test_a_handler_that_comes_back_is_used(world: World) -> None:
    first = world.handler("orders/ops")
    async with world.running() as runs:
        world.handlers.clear()
        world.told.clear()
        await world.use()
        await world.noted.until(lambda: first.closed)
        second = world.handler("orders/ops")
        await world.use()
        await runs.emit(event("1"))
        await world.settled()
    assert (first.got, second.got, first.closed, second.closed) == ([], ["1"], 1, 1)


async def test_a_handler_that_is_replaced_ends_its_attempt_and_the_new_one_goes_on(world: World) -> None:
    first = world.handler("orders/ops", BUSY)
    first.gate.clear()
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.noted.until(lambda: first.calls)
        second = world.handlers["orders/ops"] = FakeHandler(world.noted)
        await world.use()
        assert first.closed == 0
        first.gate.set()
        await world.settled()
        assert first.closed == 1
    assert (first.got, second.got, first.closed, second.closed) == (["1"], ["1"], 1, 1)


async def test_what_is_meant_for_a_handler_that_cannot_be_used_waits_until_it_can(world: World) -> None:
    first = world.handler("orders/ops")
    world.draws = repeat(0.5)
    async with world.running() as runs:
        world.handlers.clear()
        await world.use()
        await world.noted.until(lambda: first.closed)
        second = FakeHandler(world.noted)
        await runs.emit(event("1"))
        await world.noted.until(lambda: world.counted().get(("ops", "retried")))
        world.handlers["orders/ops"] = second
        await world.pass_by(SECOND)
        await world.settled()
    assert (first.got, second.got, first.closed) == ([], ["1"], 1)
    assert world.outcomes("1") == {"orders/ops": Outcome.DELIVERED}


async def test_what_was_pending_at_a_restart_is_delivered_by_the_handler_of_that_name(world: World) -> None:
    world.ledger.put(record_of(event("1")), ["orders/ops", "otlp"])
    handler, everything = world.handler("orders/ops"), FakeHandler(world.noted)
    async with world.running(otlp=everything):
        await world.settled()
    assert (handler.got, everything.got) == (["1"], ["1"])
    assert world.cooldowns.started == [(key("1"), HOUR)]


async def test_what_was_pending_for_one_that_nobody_names_any_more_has_failed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.ledger.put(record_of(event("1")), ["orders/gone"])
    async with world.running():
        await world.settled()
    assert world.outcomes("1") == {"orders/gone": Outcome.FAILED}
    assert world.counted() == {("gone", "failed"): 1}
    assert world.cooldowns.started == [(key("1"), HOUR)]
    assert "the handler is not configured any more" in [vars(each).get("error") for each in caplog.records]


async def test_what_is_older_than_a_day_at_a_restart_has_one_more_attempt(world: World) -> None:
    world.ledger.put(record_of(event("1")), ["orders/ops"])
    handler = world.handler("orders/ops", BUSY)
    world.clock.advance(2 * DAY)
    async with world.running():
        await world.settled()
    assert (handler.got, world.outcomes("1")) == (["1"], {"orders/ops": Outcome.EXPIRED})


class LastMoment(NotedOutbox):
    """Lets an event come in each moment that a worker looks for the next and finds none."""

    def __init__(self, world: World, *events: ExpiryEvent) -> None:
        super().__init__(world.noted, world.ledger)
        self._world = world
        self._events = list(events)

    async def next_at(self, handler: str) -> datetime | None:
        found = await super().next_at(handler)
        if found is None and self._events:
            await self._world.dispatcher.emit(self._events.pop(0))
        return found


async def test_what_comes_while_a_worker_finds_nothing_more_is_not_forgotten(world: World) -> None:
    world.outbox = LastMoment(world, event("2"), event("3"))
    handler = world.handler("orders/ops")
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.noted.until(lambda: sorted(handler.got) == ["1", "2", "3"])


async def test_what_comes_when_a_worker_is_about_to_end_is_not_forgotten(world: World) -> None:
    handler = world.handler("orders/ops")
    async with world.running() as runs:
        for number in range(200):
            await runs.emit(event(str(number)))
            # Anywhere in what the worker does.
            for _ in range(number % 20):
                await asyncio.sleep(0)
        await world.noted.until(lambda: len(handler.got) == 200)
        await world.settled()


class Closing(FakeHandler):
    """Comes back while it is closed."""

    def __init__(self, world: World) -> None:
        super().__init__(world.noted)
        self.next = FakeHandler(world.noted)
        self._world = world

    async def close(self) -> None:
        await super().close()
        if self.closed == 1:
            self._world.told["orders"] = ("orders/ops",)
            self._world.handlers["orders/ops"] = self.next
            await self._world.use()
            await self._world.dispatcher.emit(event("1"))


async def test_what_comes_while_a_handler_is_closed_goes_to_the_next(world: World) -> None:
    handler = world.handlers["orders/ops"] = Closing(world)
    world.told["orders"] = ("orders/ops",)
    async with world.running():
        world.handlers.clear()
        world.told.clear()
        await world.use()
        await world.noted.until(lambda: handler.next.got)
    assert (handler.got, handler.closed, handler.next.got, handler.next.closed) == ([], 1, ["1"], 1)


async def test_a_handler_with_a_bug_ends_no_other_and_loses_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    broken, other = world.handler("orders/broken", ValueError("canary")), world.handler("orders/ops")
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.noted.until(lambda: "delivering failed" in caplog.messages)
        assert world.ledger.backlog() == {"orders/broken": 1}
        # It is looked at again in a while, or when there is news.
        await runs.emit(event("2"))
        await world.settled()
    assert (sorted(broken.got), other.got) == (["1", "1", "2"], ["1", "2"])


async def test_a_handler_that_hangs_holds_the_end_up_for_three_seconds_and_what_it_was_about_stays(
    world: World,
) -> None:
    hanging, other = world.handler("orders/hanging"), world.handler("orders/ops")
    hanging.gate.clear()
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.noted.until(lambda: hanging.calls and other.calls)
        ends_at = time.monotonic()
    assert 2.9 < time.monotonic() - ends_at < 4
    assert hanging.cut
    assert (hanging.closed, other.closed) == (1, 1)
    assert world.outcomes("1") == {"orders/hanging": None, "orders/ops": Outcome.DELIVERED}


async def test_the_end_waits_for_what_is_due_and_not_for_what_is_to_be_tried_later(world: World) -> None:
    waiting, last = world.handler("orders/waiting", Retry(HOUR, "status 429")), world.handler("orders/ops")
    async with world.running() as runs:
        await runs.emit(event("1"))
        await world.noted.until(lambda: world.ledger.next_at("orders/waiting") == NOON + HOUR)
        await runs.emit(event("2"))
        ends_at = time.monotonic()
    assert time.monotonic() - ends_at < 1
    assert (last.got, waiting.got) == (["1", "2"], ["1", "2"])


async def test_what_is_announced_at_the_end_is_written_down(world: World) -> None:
    world.handler("orders/ops")
    async with world.running() as runs:
        pass
    assert not await runs.emit(event("1"))
    assert world.ledger.backlog() == {"orders/ops": 1}


def test_a_record_is_the_event_and_what_its_cooldown_is_known_by() -> None:
    told = event("1")
    assert record_of(told) == Record(
        "1", "orders", EventKind.EXPIRED, NOON, told.payload(), told.semantic(), key("1"), HOUR
    )
    assert record_of(event("1", cooldown=timedelta(0))).key is None
