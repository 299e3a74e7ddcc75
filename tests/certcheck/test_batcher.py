from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from exporter.certcheck.announcer import Announced, Announcer
from exporter.certcheck.batcher import ExpiryBatcher
from exporter.certcheck.certificate import InvalidReason, Reading
from exporter.certcheck.cooldown import MemoryCooldowns
from exporter.certcheck.expiry import ExpiryPolicy, State
from exporter.certcheck.fail_open import FailOpenCooldowns
from exporter.certcheck.inventory import Inventory, entries_of
from exporter.certcheck.ports import CooldownKey, CooldownStore, EventDeliveryError, EventSink
from exporter.certcheck.sightings import FORGOTTEN_AFTER, MOST_OBSERVED, Sightings
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import COOLDOWN, ErrorReason, Outcome, Tally
from tests.certcheck import (
    DAY,
    MICROSECOND,
    HangingCooldowns,
    HangingSink,
    certificate,
    fine,
    no_cooldowns,
    seen,
    unusable,
)
from tests.fakes import NOON, FailingCooldowns, FakeClock, RecordingSink

HOUR = timedelta(hours=1)
TINY = timedelta(milliseconds=20)
LONG_CHECK = ExpiryPolicy(check_cooldown=400 * DAY, event_cooldown=DAY)
SOON, EXPIRED, RENEWED, INVALID = (
    "CertificateExpiringSoon",
    "CertificateExpired",
    "CertificateRenewed",
    "CertificateInvalid",
)


class Stage:
    """What batchers share."""

    def __init__(self, sink: EventSink | None = None) -> None:
        self.clock = FakeClock()
        self.cooldowns: CooldownStore = MemoryCooldowns(self.clock)
        self.sink = RecordingSink()
        self.sink_in_use: EventSink = sink or self.sink
        self.tally = Tally()
        self.inventory = Inventory(self.tally)
        self.announced: Announced = {}

    def batcher(
        self, *observations: Observation, policy: ExpiryPolicy | None = None, api_id: str | None = "orders"
    ) -> ExpiryBatcher:
        """A batcher with its configured slots in the inventory, as a loaded API has it."""
        policy = policy or ExpiryPolicy()
        generation = self.inventory.next_generation()
        configured = {each: entries_of(each, policy, generation) for each in observations}
        self.inventory.put(entry for entries in configured.values() for entry in entries)
        return ExpiryBatcher(
            api_id,
            policy,
            configured,
            {role: Sightings(policy, generation) for role in (Role.CLIENT, Role.UPSTREAM_SERVER)},
            announced=self.announced,
            announcer=Announcer(self.cooldowns, self.sink_in_use, self.tally, self.inventory),
            inventory=self.inventory,
            tally=self.tally,
            clock=self.clock,
        )

    def checks(self, outcome: State | str, api_id: str | None = "orders") -> int:
        return self.tally.checks[api_id, outcome]

    def observed(self, outcome: Outcome, role: Role = Role.UPSTREAM_SERVER) -> int:
        return self.tally.observations["orders", role, outcome]

    def served(self) -> list[str | None]:
        """The addresses in the inventory."""
        return [entry.slot.server_address for entry in self.inventory.entries()]


def presented(*chain: Reading, address: str = "orders.internal") -> Observation:
    """A chain that an upstream presented in a handshake."""
    return seen(*chain, role=Role.UPSTREAM_SERVER, ref=None, address=address)


@asynccontextmanager
async def running(batcher: ExpiryBatcher) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(batcher.run())
        try:
            yield
        finally:
            batcher.stop()


async def arrival(sink: RecordingSink) -> None:
    async with asyncio.timeout(10):
        await sink.arrived.wait()
    sink.arrived.clear()


# What is announced.


@pytest.mark.parametrize(
    ("reading", "state", "kinds", "reason"),
    [
        (fine(31 * DAY), State.VALID, [], None),
        (fine(30 * DAY), State.EXPIRING, [SOON], None),
        (fine(timedelta(0)), State.EXPIRING, [SOON], None),
        (fine(-MICROSECOND), State.EXPIRED, [EXPIRED], None),
        (fine(366 * DAY), State.NOT_YET_VALID, [INVALID], InvalidReason.NOT_YET_VALID),
        (unusable(InvalidReason.MISSING), State.UNREADABLE, [INVALID], InvalidReason.MISSING),
        (
            unusable(InvalidReason.KEY_MISMATCH, certificate(DAY)),
            State.UNREADABLE,
            [INVALID],
            InvalidReason.KEY_MISMATCH,
        ),
        (unusable(InvalidReason.KEY_MISMATCH, certificate(-DAY)), State.EXPIRED, [EXPIRED], None),
    ],
)
async def test_a_flush_judges_and_announces_what_is_configured(
    reading: Reading, state: State, kinds: list[str], reason: InvalidReason | None
) -> None:
    stage = Stage()
    await stage.batcher(seen(reading)).flush()

    assert stage.sink.kinds == kinds
    assert {event.reason for event in stage.sink.events} <= {reason}
    assert stage.tally.checks == {("orders", state): 1}


async def test_a_batcher_with_nothing_to_judge_is_quiet() -> None:
    stage = Stage()
    await stage.batcher().flush()

    assert (stage.sink.events, +stage.tally.checks, +stage.tally.errors) == ([], {}, {})


@pytest.mark.parametrize("policy", [LONG_CHECK, no_cooldowns(), ExpiryPolicy()])
async def test_a_warning_does_not_silence_the_expiry(policy: ExpiryPolicy) -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine(10 * DAY)), policy=policy)
    await batcher.flush()
    stage.clock.advance(10 * DAY)
    await batcher.flush()
    assert EXPIRED not in stage.sink.kinds

    stage.clock.advance(MICROSECOND)
    await batcher.flush()
    assert stage.sink.kinds[0] == SOON
    assert stage.sink.kinds[-1] == EXPIRED


async def test_the_first_warning_comes_with_the_threshold_however_long_the_check_cooldown() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine(31 * DAY)), policy=LONG_CHECK)
    await batcher.flush()
    stage.clock.advance(DAY - MICROSECOND)
    await batcher.flush()
    assert stage.sink.kinds == []

    stage.clock.advance(MICROSECOND)
    await batcher.flush()
    assert stage.sink.kinds == [SOON]


async def test_two_apis_that_share_a_certificate_both_announce_it() -> None:
    stage = Stage()
    shared = fine(10 * DAY)
    for api_id in ("orders", "payments"):
        await stage.batcher(seen(shared, api_id=api_id), api_id=api_id).flush()

    assert [(event.slot.api_id, event.kind.value) for event in stage.sink.events] == [
        ("orders", SOON),
        ("payments", SOON),
    ]


async def test_one_certificate_in_two_roles_is_announced_for_both() -> None:
    stage = Stage()
    await stage.batcher(seen(fine(DAY)), seen(fine(DAY), role=Role.CLIENT)).flush()

    assert {event.slot.role for event in stage.sink.events} == {Role.UPSTREAM, Role.CLIENT}


async def test_one_certificate_under_two_references_is_judged_and_announced_once() -> None:
    stage = Stage()
    await stage.batcher(seen(fine(DAY), ref="a"), seen(fine(DAY), ref="b")).flush()

    assert stage.sink.kinds == [SOON]
    assert stage.checks(State.EXPIRING) == 1


@pytest.mark.parametrize("order", [1, -1])
async def test_a_reference_that_cannot_be_used_is_announced_though_another_one_of_its_certificate_can(
    order: int,
) -> None:
    stage = Stage()
    mismatched = unusable(InvalidReason.KEY_MISMATCH, certificate())
    configured = [seen(fine(), ref="good"), seen(mismatched, ref="bad")]
    await stage.batcher(*configured[::order]).flush()

    assert [(event.kind.value, event.slot.cert_ref) for event in stage.sink.events] == [(INVALID, "bad")]


async def test_every_certificate_of_a_chain_is_judged() -> None:
    stage = Stage()
    await stage.batcher(seen(fine(), fine(DAY, name="intermediate"), fine(-DAY, name="root"))).flush()

    assert [(event.kind.value, event.slot.chain_index) for event in stage.sink.events] == [(SOON, 1), (EXPIRED, 2)]


async def test_a_renewed_certificate_is_announced_by_the_next_generation() -> None:
    stage = Stage()
    await stage.batcher(seen(fine(-DAY))).flush()
    await stage.batcher(seen(fine(364 * DAY))).flush()

    assert stage.sink.kinds == [EXPIRED, RENEWED]
    assert stage.sink.events[-1].previous_cert_id == certificate(-DAY).cert_id
    assert stage.sink.events[-1].message == "Upstream certificate was renewed and is valid for 364 days"


async def test_a_renewal_of_what_was_never_announced_is_no_event() -> None:
    stage = Stage()
    await stage.batcher(seen(fine(100 * DAY))).flush()
    await stage.batcher(seen(fine(364 * DAY))).flush()

    assert stage.sink.events == []


async def test_a_slot_that_a_later_generation_has_taken_over_is_no_longer_judged() -> None:
    stage = Stage()
    old = stage.batcher(seen(fine(-DAY)))
    stage.batcher(seen(fine(364 * DAY)))
    await old.flush()

    assert stage.sink.events == []
    assert +stage.tally.checks == {}


async def test_an_expired_certificate_is_announced_again_when_its_event_cooldown_is_over() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine(-DAY)))
    for _ in range(49):
        await batcher.flush()
        stage.clock.advance(HOUR)

    assert stage.sink.kinds == [EXPIRED] * 3


async def test_an_event_cooldown_of_zero_repeats_at_every_check() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine(-DAY)), policy=no_cooldowns())
    for _ in range(3):
        await batcher.flush()

    assert stage.sink.kinds == [EXPIRED] * 3


# The check cooldown.


async def test_a_check_within_the_cooldown_is_counted_as_one_that_was_not_made() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine()), policy=ExpiryPolicy(check_cooldown=HOUR))
    await batcher.flush()
    await batcher.flush()
    stage.clock.advance(HOUR - MICROSECOND)
    await batcher.flush()
    assert (stage.checks(State.VALID), stage.checks(COOLDOWN)) == (1, 2)

    stage.clock.advance(MICROSECOND)
    await batcher.flush()
    assert (stage.checks(State.VALID), stage.checks(COOLDOWN)) == (2, 2)


async def test_a_check_cooldown_of_zero_is_none() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine()), policy=no_cooldowns())
    await batcher.flush()
    await batcher.flush()

    assert (stage.checks(State.VALID), stage.checks(COOLDOWN)) == (2, 0)


async def test_a_clock_set_back_does_not_prolong_the_check_cooldown() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine()), policy=ExpiryPolicy(check_cooldown=HOUR))
    await batcher.flush()
    stage.clock.advance(-DAY)
    await batcher.flush()
    stage.clock.advance(HOUR)
    await batcher.flush()

    assert (stage.checks(State.VALID), stage.checks(COOLDOWN)) == (3, 0)


# When things fail.


async def test_an_event_that_a_sink_refuses_is_announced_by_the_next_flush() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine(DAY)), policy=LONG_CHECK)
    stage.sink.failing = EventDeliveryError()
    await batcher.flush()
    await batcher.flush()
    assert stage.tally.errors[ErrorReason.EVENT_NOT_DELIVERED] == 2
    stage.sink.failing = None
    await batcher.flush()
    await batcher.flush()

    assert stage.sink.kinds == [SOON]
    assert (stage.checks(State.EXPIRING), stage.checks(COOLDOWN)) == (3, 1)


class ForOneOnly(MemoryCooldowns):
    """Fails for one certificate."""

    def __init__(self, clock: FakeClock, failing_for: str) -> None:
        super().__init__(clock)
        self._failing_for = failing_for

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        if key.cert_id == self._failing_for:
            raise OSError
        return await super().claim(key, event_id, lease, cooldown)


async def test_a_failure_for_one_certificate_does_not_keep_the_others_from_being_judged() -> None:
    stage = Stage()
    stage.cooldowns = ForOneOnly(stage.clock, certificate(DAY, name="b").cert_id)
    await stage.batcher(*(seen(fine(DAY, name=name), ref=name) for name in "abc")).flush()

    assert [event.slot.cert_ref for event in stage.sink.events] == ["a", "c"]
    assert stage.tally.errors[ErrorReason.FLUSH_FAILED] == 1


@pytest.mark.parametrize("store", [FailingCooldowns, HangingCooldowns])
async def test_a_cooldown_store_that_fails_lets_every_event_out_once(store: type[CooldownStore]) -> None:
    stage = Stage()
    stage.cooldowns = FailOpenCooldowns(store(), stage.clock, stage.tally, timeout=TINY)
    policy = ExpiryPolicy(check_cooldown=timedelta(0))
    batcher = stage.batcher(seen(fine(DAY)), seen(fine(-DAY), ref="past"), policy=policy)
    await batcher.flush()
    await batcher.flush()

    assert stage.sink.kinds == [SOON, EXPIRED]
    assert stage.tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 6
    assert stage.tally.errors[ErrorReason.FLUSH_FAILED] == 0


# What is seen in handshakes.


async def test_a_configured_chain_that_is_seen_in_use_is_counted_and_judged_once() -> None:
    stage = Stage()
    own = seen(fine(DAY))
    batcher = stage.batcher(own, policy=no_cooldowns())
    for _ in range(1000):
        batcher.observe(own)
    await batcher.flush()

    assert stage.observed(Outcome.ACCEPTED, Role.UPSTREAM) == 1000
    assert stage.sink.kinds == [SOON]
    assert len(stage.inventory.entries()) == 1


async def test_a_chain_that_is_seen_gets_its_slots_with_the_next_flush_and_keeps_them() -> None:
    stage = Stage()
    batcher = stage.batcher(policy=no_cooldowns())
    batcher.observe(presented(fine(DAY), fine(name="intermediate")))
    assert stage.inventory.entries() == []
    await batcher.flush()
    await batcher.flush()

    assert [entry.slot.chain_index for entry in stage.inventory.entries()] == [0, 1]
    assert stage.sink.kinds == [SOON, SOON]
    assert stage.checks(State.VALID) == 2


async def test_an_upstream_that_presents_a_new_certificate_is_renewed() -> None:
    stage = Stage()
    batcher = stage.batcher(policy=LONG_CHECK)
    batcher.observe(presented(fine(DAY)))
    await batcher.flush()
    batcher.observe(presented(fine(364 * DAY)))
    await batcher.flush()

    assert stage.sink.kinds == [SOON, RENEWED]
    assert len(stage.inventory.entries()) == 1


@pytest.mark.parametrize("bad", [fine(-DAY), fine(DAY), unusable(InvalidReason.UNKNOWN_ISSUER, certificate(400 * DAY))])
async def test_a_node_that_was_bad_between_two_flushes_is_told_of_whatever_came_behind_it(bad: Reading) -> None:
    stage = Stage()
    batcher = stage.batcher(policy=no_cooldowns())
    good = presented(fine(200 * DAY))
    for each in (good, presented(bad), good):
        batcher.observe(each)
    await batcher.flush()
    assert len(stage.sink.kinds) == 1
    await batcher.flush()

    assert [entry.cert_id for entry in stage.inventory.entries()] == [certificate(200 * DAY).cert_id]
    assert stage.sink.kinds[1:] == [RENEWED]


async def test_a_chain_that_got_shorter_leaves_no_slot_behind() -> None:
    stage = Stage()
    batcher = stage.batcher(policy=no_cooldowns())
    batcher.observe(presented(fine(), fine(DAY, name="intermediate")))
    await batcher.flush()
    batcher.observe(presented(fine(200 * DAY)))
    await batcher.flush()

    assert [entry.slot.chain_index for entry in stage.inventory.entries()] == [0]
    assert stage.sink.kinds == [SOON]


async def test_an_older_generation_does_not_take_a_slot_back() -> None:
    stage = Stage()
    old, new = stage.batcher(), stage.batcher()
    old.observe(presented(fine(-DAY)))
    new.observe(presented(fine(364 * DAY)))
    await new.flush()
    # The old one's last flush, after its drain.
    await old.flush()
    stage.inventory.forget(old.entries)

    assert [entry.cert_id for entry in stage.inventory.entries()] == [certificate(364 * DAY).cert_id]


async def test_chains_beyond_the_bound_are_dropped_and_counted() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine()))
    for number in range(MOST_OBSERVED + 5):
        batcher.observe(presented(fine(), address=f"host-{number}"))
    assert (stage.observed(Outcome.ACCEPTED), stage.observed(Outcome.DROPPED)) == (MOST_OBSERVED, 5)
    await batcher.flush()

    assert len(stage.inventory.entries()) == MOST_OBSERVED + 1


async def test_what_was_seen_longest_ago_goes_for_what_is_new_and_is_counted() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine()))
    for number in range(MOST_OBSERVED):
        batcher.observe(presented(fine(), address=f"host-{number}"))
    await batcher.flush()
    batcher.observe(presented(fine(), address="host-0"))
    batcher.observe(presented(fine(), address="one-more"))
    await batcher.flush()

    assert stage.observed(Outcome.DROPPED) == 1
    assert {"host-0", "host-1", "one-more"} & set(stage.served()) == {"host-0", "one-more"}
    assert len(stage.inventory.entries()) == len(batcher.entries) == MOST_OBSERVED + 1


async def test_at_the_bound_what_is_known_is_still_followed() -> None:
    stage = Stage()
    batcher = stage.batcher()
    for number in range(MOST_OBSERVED):
        batcher.observe(presented(fine(), address=f"host-{number}"))
    await batcher.flush()
    batcher.observe(presented(fine(364 * DAY), address="host-0"))
    await batcher.flush()

    assert stage.observed(Outcome.DROPPED) == 0
    known = {entry.slot.server_address: entry.cert_id for entry in stage.inventory.entries()}
    assert known["host-0"] == certificate(364 * DAY).cert_id


async def test_the_same_chain_seen_often_between_two_flushes_counts_once_for_the_bound() -> None:
    stage = Stage()
    batcher = stage.batcher()
    for _ in range(2 * MOST_OBSERVED):
        batcher.observe(presented(fine(), address="host"))
    batcher.observe(presented(fine(), address="another"))
    await batcher.flush()

    assert stage.observed(Outcome.DROPPED) == 0
    assert stage.served() == ["host", "another"]


# What clients present.


def client(*chain: Reading, at: datetime | None = None) -> Observation:
    """A chain that a client presented; it has neither reference nor address."""
    observation = seen(*chain, role=Role.CLIENT, ref=None)
    observation.usage.last_observed_at = at
    return observation


def names(stage: Stage) -> list[tuple[str | None, int]]:
    return sorted((entry.slot.cert_name or "", entry.slot.chain_index) for entry in stage.inventory.entries())


async def test_every_client_has_a_slot_of_its_own_and_a_renewed_certificate_takes_it_over() -> None:
    stage = Stage()
    batcher = stage.batcher()
    batcher.observe(client(fine(DAY, "a")))
    batcher.observe(client(fine(DAY, "b")))
    await batcher.flush()
    batcher.observe(client(fine(364 * DAY, "a")))
    await batcher.flush()

    assert names(stage) == [("a", 0), ("b", 0)]
    assert stage.sink.kinds == [SOON, SOON, RENEWED]
    assert stage.sink.events[-1].payload()["cert_name"] == "a"


async def test_clients_share_the_slot_of_their_issuer_and_neither_takes_it_along() -> None:
    stage = Stage()
    batcher, issuer = stage.batcher(policy=no_cooldowns()), fine(DAY, "issuer")
    batcher.observe(client(fine(name="a"), issuer, at=NOON))
    batcher.observe(client(fine(name="b"), issuer, at=NOON))
    await batcher.flush()
    assert names(stage) == [("a", 0), ("b", 0), ("issuer", 1)]
    assert stage.sink.kinds == [SOON]

    stage.clock.advance(FORGOTTEN_AFTER)
    batcher.observe(client(fine(name="b"), issuer, at=stage.clock()))
    await batcher.flush()
    stage.clock.advance(DAY)
    await batcher.flush()
    assert names(stage) == [("b", 0), ("issuer", 1)]


async def test_of_several_certificates_under_one_name_the_one_that_expires_first_is_shown() -> None:
    stage = Stage()
    batcher = stage.batcher()
    for left in (200, 100, 300):
        batcher.observe(client(fine(left * DAY, "pod")))
    await batcher.flush()

    assert [entry.cert_id for entry in stage.inventory.entries()] == [certificate(100 * DAY, name="pod").cert_id]


@pytest.mark.parametrize(("away", "known"), [(FORGOTTEN_AFTER, 1), (FORGOTTEN_AFTER + MICROSECOND, 0)])
async def test_a_client_that_stays_away_is_forgotten(away: timedelta, known: int) -> None:
    stage = Stage()
    batcher = stage.batcher()
    batcher.observe(client(fine(name="a"), at=stage.clock()))
    await batcher.flush()
    stage.clock.advance(away)
    await batcher.flush()

    assert len(stage.inventory.entries()) == len(batcher.entries) == known
    assert stage.observed(Outcome.DROPPED, Role.CLIENT) == 0


async def test_an_upstream_that_is_not_used_is_not_forgotten() -> None:
    stage = Stage()
    batcher, upstream = stage.batcher(), presented(fine(name="upstream"))
    upstream.usage.last_observed_at = stage.clock()
    batcher.observe(upstream)
    await batcher.flush()
    stage.clock.advance(50 * DAY)
    await batcher.flush()

    assert len(stage.inventory.entries()) == 1


async def test_a_client_that_comes_back_renewed_is_announced() -> None:
    stage = Stage()
    batcher = stage.batcher(policy=LONG_CHECK)
    batcher.observe(client(fine(DAY, "a"), at=stage.clock()))
    await batcher.flush()
    stage.clock.advance(2 * FORGOTTEN_AFTER)
    await batcher.flush()
    batcher.observe(client(fine(364 * DAY, "a"), at=stage.clock()))
    await batcher.flush()

    assert (stage.sink.kinds[0], stage.sink.kinds[-1]) == (SOON, RENEWED)


async def test_a_new_certificate_for_every_request_stays_within_bounds() -> None:
    stage = Stage()
    batcher = stage.batcher(policy=no_cooldowns())
    regular = [client(fine(name=f"regular-{number}")) for number in range(10)]
    for each in regular:
        batcher.observe(each)
    await batcher.flush()
    for flush in range(3):
        for number in range(2 * MOST_OBSERVED):
            batcher.observe(client(fine(DAY, f"{flush}-{number}")))
        # Those who come regularly are known, and stay, though they come last.
        for each in regular:
            batcher.observe(each)
        await batcher.flush()

    assert len(stage.inventory.entries()) == len(batcher.entries) == MOST_OBSERVED
    assert {name for name, _ in names(stage)} >= {f"regular-{number}" for number in range(10)}
    assert stage.observed(Outcome.DROPPED, Role.CLIENT) >= 3 * MOST_OBSERVED
    assert len(stage.announced) <= 2 * MOST_OBSERVED


# Running.


async def test_it_flushes_at_once_when_it_runs() -> None:
    stage = Stage()
    async with running(stage.batcher(seen(fine(DAY)), policy=ExpiryPolicy(flush_interval=HOUR))):
        await arrival(stage.sink)

    assert stage.sink.kinds == [SOON]


async def test_it_flushes_again_at_every_interval() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine(DAY)), policy=ExpiryPolicy(flush_interval=TINY))
    async with running(batcher):
        await arrival(stage.sink)
        stage.clock.advance(2 * DAY)
        await arrival(stage.sink)
        batcher.observe(presented(fine(DAY)))
        await arrival(stage.sink)

    assert stage.sink.kinds[:2] == [SOON, EXPIRED]
    assert stage.sink.events[2].slot.role is Role.UPSTREAM_SERVER


async def test_it_flushes_a_last_time_when_it_is_stopped() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine(DAY)), policy=ExpiryPolicy(flush_interval=HOUR))
    async with running(batcher):
        await arrival(stage.sink)
        stage.clock.advance(2 * DAY)
        batcher.observe(presented(fine(-10 * DAY)))

    assert stage.sink.kinds == [SOON, EXPIRED, EXPIRED]


async def test_stopped_before_it_ran_it_flushes_once() -> None:
    stage = Stage()
    batcher = stage.batcher(seen(fine(DAY)), policy=no_cooldowns())
    batcher.stop()
    batcher.stop()
    await batcher.run()

    assert stage.sink.kinds == [SOON]


async def test_it_goes_on_after_a_flush_that_failed() -> None:
    stage = Stage()
    stage.cooldowns = ForOneOnly(stage.clock, certificate(DAY).cert_id)
    batcher = stage.batcher(seen(fine(DAY)), policy=ExpiryPolicy(flush_interval=TINY))
    async with running(batcher):
        batcher.observe(presented(fine(-DAY)))
        await arrival(stage.sink)

    assert stage.sink.kinds == [EXPIRED]
    assert stage.tally.errors[ErrorReason.FLUSH_FAILED] >= 2


async def test_a_last_flush_that_hangs_is_ended_and_counted() -> None:
    stage = Stage(HangingSink())
    batcher = stage.batcher(seen(fine(DAY)))
    batcher.stop()
    async with asyncio.timeout(10):
        await batcher.run()

    assert stage.tally.errors[ErrorReason.FLUSH_TIMEOUT] == 1
    # Nobody got the event, so the next generation tells it.
    stage.sink_in_use = stage.sink
    await stage.batcher(seen(fine(DAY))).flush()
    assert stage.sink.kinds == [SOON]
