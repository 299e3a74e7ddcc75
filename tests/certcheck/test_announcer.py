from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from exporter.certcheck.announcer import _MOST_ATTEMPTED, Announced, Announcer
from exporter.certcheck.certificate import InvalidReason, Reading
from exporter.certcheck.cooldown import MemoryCooldowns
from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.expiry import ExpiryPolicy, State
from exporter.certcheck.inventory import Entry, Inventory, entries_of
from exporter.certcheck.ports import CooldownKey, CooldownStore, EventDeliveryError
from exporter.certcheck.slot import Role
from exporter.certcheck.storm import MOST, WINDOW
from exporter.certcheck.tally import ErrorReason, Tally
from tests.certcheck import DAY, HangingSink, certificate, fine, seen, unusable
from tests.fakes import FakeClock, RecordingSink

POLICY = ExpiryPolicy(event_cooldown=DAY)
NO_COOLDOWN = ExpiryPolicy(event_cooldown=timedelta(0))
SOON, PAST, NEW = fine(10 * DAY), fine(-2 * DAY), fine(365 * DAY)


class Stage:
    """An announcer with its ports, and what was announced."""

    def __init__(self, cooldowns: CooldownStore | None = None) -> None:
        self.clock = FakeClock()
        self.cooldowns = cooldowns or MemoryCooldowns(self.clock)
        self.sink = RecordingSink()
        self.tally = Tally()
        self.announced: Announced = {}
        self.inventory = Inventory(self.tally)
        self.announcer = Announcer(self.cooldowns, self.sink, self.tally, self.inventory)

    async def announce(self, entries: list[Entry], state: State) -> bool:
        return await self.announcer.announce(entries, state, self.announced, self.clock())


def entries(reading: Reading, *refs: str, api_id: str | None = "orders", policy: ExpiryPolicy = POLICY) -> list[Entry]:
    """The same certificate in one slot for each reference."""
    return [e for ref in refs or ("orders-client",) for e in entries_of(seen(reading, api_id=api_id, ref=ref), policy)]


@pytest.mark.parametrize(
    ("reading", "state", "kind", "reason"),
    [
        (SOON, State.EXPIRING, EventKind.EXPIRING_SOON, None),
        (PAST, State.EXPIRED, EventKind.EXPIRED, None),
        (
            unusable(InvalidReason.KEY_MISMATCH, certificate(-DAY)),
            State.EXPIRED,
            EventKind.EXPIRED,
            None,
        ),
        (fine(400 * DAY), State.NOT_YET_VALID, EventKind.INVALID, InvalidReason.NOT_YET_VALID),
        *(
            (unusable(reason), State.UNREADABLE, EventKind.INVALID, reason)
            for reason in InvalidReason
            if reason is not InvalidReason.NOT_YET_VALID
        ),
    ],
)
async def test_a_state_that_is_not_fine_is_announced(
    reading: Reading, state: State, kind: EventKind, reason: InvalidReason | None
) -> None:
    stage = Stage()
    [entry] = entries(reading)

    assert await stage.announce([entry], state)
    [event] = stage.sink.events
    assert (event.kind, event.reason, event.slot) == (kind, reason, entry.slot)
    assert (event.certificate, event.timestamp) == (reading.certificate, stage.clock.now)
    assert stage.announced == {entry.slot: entry.cert_id}
    assert stage.tally.events == {("orders", Role.UPSTREAM, kind): 1}


async def test_what_is_fine_and_was_never_announced_is_not_worth_an_event() -> None:
    stage = Stage()

    assert await stage.announce(entries(NEW), State.VALID)
    assert stage.sink.events == []
    assert stage.announced == {}


async def test_one_certificate_in_several_slots_is_announced_once() -> None:
    stage = Stage()
    several = entries(SOON, "a", "b", "c")

    await stage.announce(several, State.EXPIRING)
    assert [event.slot for event in stage.sink.events] == [several[0].slot]
    assert stage.announced == {entry.slot: entry.cert_id for entry in several}


async def test_the_event_cooldown_suppresses_a_repetition_and_then_lets_it_out() -> None:
    stage = Stage()
    await stage.announce(entries(PAST), State.EXPIRED)
    stage.clock.advance(timedelta(hours=1))
    # Until a lease is over, somebody else may only have claimed it.
    assert not await stage.announce(entries(PAST), State.EXPIRED)
    stage.clock.advance(DAY - timedelta(hours=1, microseconds=1))
    assert await stage.announce(entries(PAST), State.EXPIRED)
    assert len(stage.sink.events) == 1

    stage.clock.advance(timedelta(microseconds=1))
    assert await stage.announce(entries(PAST), State.EXPIRED)
    assert len(stage.sink.events) == 2


async def test_a_repetition_is_another_announcement_with_another_id() -> None:
    stage = Stage()
    for _ in range(3):
        await stage.announce(entries(PAST, policy=NO_COOLDOWN), State.EXPIRED)

    assert len({event.event_id for event in stage.sink.events}) == 3


async def test_a_cooldown_of_zero_is_none_and_asks_no_store() -> None:
    class NeverAsked(MemoryCooldowns):
        async def claim(self, *args: object) -> str | None:
            raise AssertionError

    stage = Stage(NeverAsked(FakeClock()))
    for _ in range(2):
        assert await stage.announce(entries(SOON, policy=NO_COOLDOWN), State.EXPIRING)

    assert stage.sink.kinds == ["CertificateExpiringSoon"] * 2


async def test_what_another_process_claimed_and_let_lapse_is_announced_under_its_id() -> None:
    stage = Stage()
    key = CooldownKey("orders", Role.UPSTREAM, certificate(10 * DAY).cert_id, EventKind.EXPIRING_SOON)
    await stage.cooldowns.claim(key, "theirs", timedelta(seconds=60), DAY)
    # Not settled: whoever claimed it may have died, so it is asked again at the next flush.
    assert not await stage.announce(entries(SOON), State.EXPIRING)
    assert stage.sink.events == []

    stage.clock.advance(timedelta(seconds=60))
    stage.sink.failing = EventDeliveryError()
    assert not await stage.announce(entries(SOON), State.EXPIRING)
    stage.sink.failing = None
    assert await stage.announce(entries(SOON), State.EXPIRING)
    assert [event.event_id for event in stage.sink.events] == ["theirs"]


async def test_a_warning_does_not_silence_the_expiry() -> None:
    stage = Stage()
    await stage.announce(entries(SOON), State.EXPIRING)
    await stage.announce(entries(SOON), State.EXPIRED)

    assert stage.sink.kinds == ["CertificateExpiringSoon", "CertificateExpired"]


async def test_one_api_does_not_silence_another_nor_the_gateway() -> None:
    stage = Stage()
    for api_id in ("orders", "payments", None):
        await stage.announce(entries(SOON, api_id=api_id), State.EXPIRING)

    assert [event.slot.api_id for event in stage.sink.events] == ["orders", "payments", None]


async def test_an_event_that_a_sink_refuses_is_offered_again_with_the_same_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    ids: list[str] = []

    class Refusing(RecordingSink):
        async def emit(self, event: ExpiryEvent) -> bool:
            ids.append(event.event_id)
            return await super().emit(event)

    sink = Refusing()
    sink.failing = EventDeliveryError("https://user:canary@hooks")
    announcer = Announcer(stage.cooldowns, sink, stage.tally, stage.inventory)
    now = stage.clock()
    assert not await announcer.announce(entries(SOON), State.EXPIRING, stage.announced, now)
    assert not await announcer.announce(entries(SOON), State.EXPIRING, stage.announced, now)
    assert stage.announced == {}
    assert not stage.tally.events
    sink.failing = None

    assert await announcer.announce(entries(SOON), State.EXPIRING, stage.announced, now)
    assert len(ids) == 3
    assert set(ids) == {sink.events[0].event_id}
    assert stage.tally.errors[ErrorReason.EVENT_NOT_DELIVERED] == 2
    assert "canary" not in str([vars(record) for record in caplog.records])


async def test_many_slots_of_one_certificate_make_one_event_that_lists_them() -> None:
    stage = Stage()
    await stage.announce(entries(SOON, "one", "two", "three"), State.EXPIRING)
    await stage.announce(entries(PAST, "alone"), State.EXPIRED)

    several, alone = (event.payload() for event in stage.sink.events)
    assert [slot["cert_ref"] for slot in several["slots"]] == ["one", "two", "three"]
    assert several["cert_ref"] == "one"
    assert "slots" not in alone


async def test_an_upstream_that_presents_another_certificate_each_time_makes_no_storm() -> None:
    stage = Stage()

    def presented(number: int) -> list[Entry]:
        wrong = unusable(InvalidReason.SELF_SIGNED, certificate(100 * DAY, name=str(number)))
        chain = seen(wrong, role=Role.UPSTREAM_SERVER, ref=None, address="orders.internal")
        return entries_of(chain, POLICY)

    taken = [await stage.announce(presented(number), State.UNREADABLE) for number in range(MOST + 10)]
    assert taken == [True] * MOST + [False] * 10
    assert len(stage.sink.events) == MOST
    assert stage.tally.errors[ErrorReason.EVENT_HELD_BACK] == 10

    # Nothing that is configured is held back, and what was is said later.
    assert await stage.announce(entries(SOON), State.EXPIRING)
    stage.clock.advance(WINDOW)
    assert await stage.announce(presented(MOST + 1), State.UNREADABLE)


async def test_an_announcement_that_is_cut_midway_leaves_no_cooldown() -> None:
    stage = Stage()
    hanging = HangingSink()
    cut = Announcer(stage.cooldowns, hanging, stage.tally, stage.inventory)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(cut.announce(entries(SOON), State.EXPIRING, stage.announced, stage.clock()))
        await hanging.reached.wait()
        task.cancel()

    # The next generation has the same store, and nobody got the event.
    await stage.announce(entries(SOON), State.EXPIRING)
    assert stage.sink.kinds == ["CertificateExpiringSoon"]


@pytest.mark.parametrize(
    ("reading", "state", "previous"),
    [
        (SOON, State.EXPIRING, certificate(10 * DAY).cert_id),
        (PAST, State.EXPIRED, certificate(-2 * DAY).cert_id),
        (
            unusable(InvalidReason.KEY_MISMATCH, certificate(DAY)),
            State.UNREADABLE,
            certificate(DAY).cert_id,
        ),
        (unusable(InvalidReason.MISSING), State.UNREADABLE, None),
    ],
)
async def test_a_fine_certificate_in_a_slot_that_was_announced_is_a_renewal(
    reading: Reading, state: State, previous: str | None
) -> None:
    stage = Stage()
    await stage.announce(entries(reading), state)
    await stage.announce(entries(NEW), State.VALID)

    renewal = stage.sink.events[-1]
    assert (renewal.kind, renewal.certificate) == (EventKind.RENEWED, NEW.certificate)
    assert renewal.previous_cert_id == previous
    assert stage.announced == {}


async def test_a_renewal_is_announced_once() -> None:
    stage = Stage()
    await stage.announce(entries(PAST, policy=NO_COOLDOWN), State.EXPIRED)
    for _ in range(3):
        await stage.announce(entries(NEW, policy=NO_COOLDOWN), State.VALID)

    assert stage.sink.kinds == ["CertificateExpired", "CertificateRenewed"]


async def test_the_same_certificate_that_is_fine_again_is_not_a_renewal() -> None:
    stage = Stage()
    await stage.announce(entries(SOON), State.EXPIRING)
    # As when the threshold was lowered.
    await stage.announce(entries(SOON), State.VALID)

    assert stage.sink.kinds == ["CertificateExpiringSoon"]
    assert stage.announced == {}


async def test_a_new_certificate_that_is_not_fine_is_announced_and_no_renewal() -> None:
    stage = Stage()
    await stage.announce(entries(PAST), State.EXPIRED)
    await stage.announce(entries(SOON), State.EXPIRING)

    assert stage.sink.kinds == ["CertificateExpired", "CertificateExpiringSoon"]
    assert set(stage.announced.values()) == {certificate(10 * DAY).cert_id}


@pytest.mark.parametrize(
    ("at_first", "state"),
    [
        (NEW, State.NOT_YET_VALID),
        (unusable(InvalidReason.KEY_MISMATCH, NEW.certificate), State.UNREADABLE),
    ],
)
async def test_a_new_certificate_that_is_fine_only_later_is_a_renewal_then(at_first: Reading, state: State) -> None:
    stage = Stage()
    await stage.announce(entries(PAST), State.EXPIRED)
    await stage.announce(entries(at_first), state)
    await stage.announce(entries(NEW), State.VALID)

    assert stage.sink.kinds == ["CertificateExpired", "CertificateInvalid", "CertificateRenewed"]
    assert stage.sink.events[-1].previous_cert_id == certificate(-2 * DAY).cert_id


async def test_a_renewal_that_a_sink_refuses_is_offered_again() -> None:
    stage = Stage()
    await stage.announce(entries(PAST), State.EXPIRED)
    stage.sink.failing = EventDeliveryError()
    assert not await stage.announce(entries(NEW), State.VALID)
    stage.sink.failing = None

    assert await stage.announce(entries(NEW), State.VALID)
    assert stage.sink.kinds == ["CertificateExpired", "CertificateRenewed"]
    assert stage.announced == {}


async def test_one_renewal_is_announced_for_all_the_slots_of_a_certificate() -> None:
    stage = Stage()
    await stage.announce(entries(PAST, "a", "b"), State.EXPIRED)
    await stage.announce(entries(NEW, "a", "b", "c"), State.VALID)

    assert stage.sink.kinds == ["CertificateExpired", "CertificateRenewed"]
    assert stage.announced == {}


async def test_what_is_never_taken_is_not_remembered_for_ever() -> None:
    stage = Stage()
    stage.sink.failing = EventDeliveryError()
    logging.disable()
    try:
        for number in range(_MOST_ATTEMPTED + 10):
            await stage.announce(entries(fine(DAY, str(number))), State.EXPIRING)
    finally:
        logging.disable(logging.NOTSET)

    assert len(stage.announcer._attempted) == _MOST_ATTEMPTED
