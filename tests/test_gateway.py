"""The cases of SPEC section 4, through the gateway."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from exporter.certcheck.certificate import Reading
from exporter.certcheck.expiry import ExpiryPolicy, State, judge
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import ErrorReason, Outcome
from exporter.gateway import Gateway
from exporter.plan import MonitorPlan
from exporter.proxy.core import Failure, UpstreamError
from tests.fakes import FailingCooldowns
from tests.plans import QUICK, UNREADABLE, World, plan, reading, use

DAY = timedelta(days=1)
LAZY = ExpiryPolicy(flush_interval=timedelta(milliseconds=20), check_cooldown=timedelta(0), check_on_load=False)
SLOW = ExpiryPolicy(flush_interval=timedelta(hours=1))
LAZY_SLOW = ExpiryPolicy(flush_interval=timedelta(hours=1), check_on_load=False)

SOON, EXPIRED, RENEWED, INVALID = (
    "CertificateExpiringSoon",
    "CertificateExpired",
    "CertificateRenewed",
    "CertificateInvalid",
)


def batcher_tasks() -> list[str]:
    return sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("batcher"))


async def test_a_gauge_exists_from_load_and_ends_with_the_api() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY), policy=LAZY))
        assert [entry.slot.api_id for entry in world.inventory.entries()] == ["orders"]
        await gateway.unload("orders")
        assert world.inventory.entries() == []


async def test_loading_is_the_first_observation_and_starts_the_batcher() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY)))
        assert batcher_tasks() == ["batcher orders"]
        assert await world.events(1) == [SOON]


async def test_without_check_on_load_the_first_request_starts_the_batcher() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY), policy=LAZY))
        assert gateway.batchers == 0
        await use(gateway, "orders")
        assert gateway.batchers == 1
        assert await world.events(1) == [SOON]


async def test_an_api_without_certificates_starts_no_batcher() -> None:
    async with World().gateway() as gateway:
        await gateway.load(plan("plain"))
        await use(gateway, "plain")
        assert batcher_tasks() == []


@pytest.mark.parametrize("requests", [10, 100])
async def test_concurrent_first_requests_start_one_batcher(requests: int) -> None:
    async with World().gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY), policy=LAZY))
        await asyncio.gather(*(use(gateway, "orders") for _ in range(requests)))
        assert batcher_tasks() == ["batcher orders"]


async def test_two_apis_that_share_a_certificate_both_announce_it() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY)), plan("billing", reading(10 * DAY)))
        await world.events(2)
    assert {event.slot.api_id for event in world.sink.events} == {"orders", "billing"}


async def test_a_warning_does_not_silence_the_expiry() -> None:
    world = World()
    long_cooldowns = ExpiryPolicy(flush_interval=timedelta(milliseconds=20), check_cooldown=timedelta(hours=12))
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(timedelta(hours=2)), policy=long_cooldowns))
        await world.events(1)
        world.clock.advance(timedelta(hours=2, microseconds=1))
        assert await world.events(2) == [SOON, EXPIRED]


async def test_an_idle_api_warns_when_its_certificate_comes_within_the_threshold() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(40 * DAY)))
        world.clock.advance(10 * DAY)
        assert await world.events(1) == [SOON]


async def test_an_event_is_not_repeated_while_its_cooldown_runs_and_is_after_it() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY)))
        await world.events(1)
        world.clock.advance(DAY)
        assert await world.events(2) == [SOON, SOON]
    # The last flush came within the second cooldown.
    assert world.sink.kinds == [SOON, SOON]


async def test_a_request_in_flight_across_an_unload_starts_no_batcher() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY), policy=LAZY))
        api = gateway.apis["orders"]
        observation = api.plan.upstream.observation
        await gateway.unload("orders")
        gateway.observe(observation)
        assert batcher_tasks() == []
        assert world.inventory.entries() == []
    assert world.tally.observations["orders", Role.UPSTREAM, Outcome.AFTER_UNLOAD] == 1


async def test_an_unload_waits_for_requests_in_flight() -> None:
    world = World()
    async with world.gateway() as gateway, asyncio.TaskGroup() as tasks:
        await gateway.load(plan("orders", reading(10 * DAY)))
        world.core.gated = True
        request = tasks.create_task(use(gateway, "orders"))
        await world.core.entered.wait()
        unload = await gateway.change(unload=["orders"])
        assert gateway.match(b"/orders/") is None
        assert not unload.done()
        assert world.core.upstreams
        world.core.open()
        await request
        await unload
        assert not world.core.upstreams


async def test_a_drain_is_bounded() -> None:
    world = World(drain_timeout_seconds=0.05)
    async with world.gateway() as gateway, asyncio.TaskGroup() as tasks:
        await gateway.load(plan("orders", reading(10 * DAY)))
        world.core.gated = True
        tasks.create_task(use(gateway, "orders"))
        await world.core.entered.wait()
        await gateway.unload("orders")
        assert world.tally.errors[ErrorReason.DRAIN_TIMEOUT] == 1
        assert world.inventory.entries() == []
        world.core.open()


async def test_unloading_before_any_use_and_twice_and_what_is_unknown_is_safe() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY), policy=LAZY))
        await gateway.unload("orders")
        await gateway.unload("orders", "never-there")
    assert world.sink.events == []


async def test_a_batcher_flushes_a_last_time_when_it_is_stopped() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY), policy=SLOW))
        await world.events(1)
        world.clock.advance(11 * DAY)
        await gateway.unload("orders")
        assert world.sink.kinds == [SOON, EXPIRED]


async def test_an_observation_just_before_the_unload_is_still_announced() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(-5 * DAY), policy=LAZY_SLOW))
        await use(gateway, "orders")
        await gateway.unload("orders")
    assert world.sink.kinds == [EXPIRED]


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (None, ErrorReason.NIL_CERTIFICATE),
        (Observation("orders", Role.UPSTREAM_SERVER, ()), ErrorReason.NO_LEAF),
    ],
)
async def test_a_nil_or_leafless_certificate_is_an_error_and_nothing_else(
    observation: Observation | None, reason: ErrorReason
) -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(40 * DAY), policy=LAZY))
        gateway.observe(observation)
        assert gateway.batchers == 0
    assert world.tally.errors[reason] == 1


async def test_an_unreadable_certificate_is_an_error_and_is_announced() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", UNREADABLE, unusable="orders.pem: empty"))
        assert await world.events(1) == [INVALID]
        [entry] = world.inventory.entries()
        assert judge(entry.reading, entry.policy, world.clock()) is State.UNREADABLE
    assert world.tally.errors[ErrorReason.UNREADABLE_CERTIFICATE] == 1
    assert world.sink.events[0].payload()["reason"] == "unreadable"
    assert "cert_id" not in world.sink.events[0].payload()


async def test_an_unreadable_certificate_seen_in_a_handshake_is_an_error_and_is_announced() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders"))
        gateway.observe(Observation("orders", Role.UPSTREAM_SERVER, (UNREADABLE,), None, "orders.internal", 8443))
        assert await world.events(1) == [INVALID]
    assert world.tally.errors[ErrorReason.UNREADABLE_CERTIFICATE] == 1


async def test_what_a_handshake_showed_gets_a_series_and_an_event_and_goes_with_the_api() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders"))
        gateway.observe(Observation("orders", Role.UPSTREAM_SERVER, (reading(DAY),), None, "orders.internal", 8443))
        assert await world.events(1) == [SOON]
        [entry] = world.inventory.entries()
        assert entry.slot.server_address == "orders.internal"
        assert entry.usage.last_observed_at == world.clock()
        await gateway.unload("orders")
        assert world.inventory.entries() == []


async def test_an_api_whose_certificate_is_unusable_fails_and_the_others_serve() -> None:
    async with World().gateway() as gateway:
        await gateway.load(plan("orders", UNREADABLE, unusable="orders.pem: empty"), plan("billing", reading(40 * DAY)))
        with pytest.raises(UpstreamError) as caught:
            await use(gateway, "orders")
        assert caught.value.failure is Failure.CERTIFICATE_UNUSABLE
        await use(gateway, "billing")


async def test_the_first_use_of_an_unusable_certificate_is_noticed_without_check_on_load() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", UNREADABLE, unusable="orders.pem: empty", policy=LAZY))
        with pytest.raises(UpstreamError):
            await use(gateway, "orders")
        assert await world.events(1) == [INVALID]


async def test_a_failing_cooldown_store_lets_the_event_out_once() -> None:
    store = FailingCooldowns()
    world = World(cooldowns=store)
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY)))
        await store.asked_often.wait()
    assert world.sink.kinds == [SOON]
    assert world.tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] >= 4


async def test_an_event_that_was_not_taken_is_offered_again() -> None:
    world = World()
    world.sink.failing = ConnectionError("down")
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY)))
        await world.sink.refused.wait()
        world.sink.failing = None
        assert await world.events(1) == [SOON]
    assert world.tally.errors[ErrorReason.EVENT_NOT_DELIVERED] == 1


async def test_a_renewed_certificate_takes_over_its_slot_and_is_announced() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY, "a" * 64)))
        await world.events(1)
        await gateway.load(plan("orders", reading(300 * DAY, "b" * 64)))
        assert await world.events(2) == [SOON, RENEWED]
        assert [entry.cert_id for entry in world.inventory.entries()] == ["b" * 64]
    assert world.sink.events[1].payload()["previous_cert_id"] == "a" * 64
    assert world.sink.kinds == [SOON, RENEWED]


async def test_a_renewal_that_nobody_was_warned_of_is_not_announced() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY, "a" * 64)))
        await gateway.load(plan("orders", reading(300 * DAY, "b" * 64)))
    assert world.sink.kinds == []


async def test_reloading_an_api_does_not_repeat_what_was_announced() -> None:
    world = World()
    async with world.gateway() as gateway:
        for _ in range(3):
            await gateway.load(plan("orders", reading(10 * DAY)))
            await world.events(1)
    assert world.sink.kinds == [SOON]


async def test_a_replaced_generation_leaves_one_batcher() -> None:
    async with World().gateway() as gateway:
        for _ in range(5):
            finishing = await gateway.change(load=[plan("orders", reading(10 * DAY))])
            await finishing
        assert batcher_tasks() == ["batcher orders"]


async def test_a_late_observation_of_a_replaced_generation_does_not_bring_its_certificate_back() -> None:
    world = World()
    async with world.gateway() as gateway:
        first = plan("orders", reading(10 * DAY, "a" * 64))
        await gateway.load(first)
        await gateway.load(plan("orders", reading(300 * DAY, "b" * 64)))
        gateway.observe(first.upstream.observation)
        await gateway.unload("orders")
    assert world.tally.observations["orders", Role.UPSTREAM, Outcome.AFTER_UNLOAD] == 1


async def test_with_monitoring_disabled_there_is_no_observation_no_batcher_and_no_series() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(-DAY), policy=None))
        await use(gateway, "orders")
        assert gateway.batchers == 0
        assert world.inventory.entries() == []
    assert not world.tally.observations
    assert not world.sink.events


async def test_the_gateways_own_certificates_have_a_batcher_of_their_own() -> None:
    world = World()
    async with world.gateway() as gateway:
        own = Observation(None, Role.SERVER, (reading(10 * DAY),), "gateway")
        await gateway.monitor_own(MonitorPlan(QUICK, (own,)))
        assert await world.events(1) == [SOON]
        assert batcher_tasks() == ["batcher gateway"]
        assert gateway.batchers == 1
        assert "api_id" not in world.sink.events[0].payload()
        await gateway.monitor_own(None)
        assert gateway.batchers == 0
        assert world.inventory.entries() == []


async def test_beyond_the_limit_there_is_an_error_and_still_an_event() -> None:
    world = World(limit=1)
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(40 * DAY)), plan("billing", reading(-DAY)))
        assert await world.events(1) == [EXPIRED]
        assert len(world.inventory.entries()) == 1
    assert world.tally.errors[ErrorReason.INVENTORY_FULL] == 1


async def test_every_request_and_each_loading_is_one_observation() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(40 * DAY)))
        for _ in range(3):
            await use(gateway, "orders")
        assert world.tally.observations == {("orders", Role.UPSTREAM, Outcome.ACCEPTED): 4}


async def test_only_traffic_sets_the_time_of_the_last_observation() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(40 * DAY)))
        [entry] = world.inventory.entries()
        assert entry.usage.last_observed_at is None
        await use(gateway, "orders")
        assert entry.usage.last_observed_at == world.clock()


async def test_leaving_the_gateway_flushes_and_ends_everything() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY), policy=SLOW))
    assert world.sink.kinds == [SOON]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not world.core.upstreams


def _counted(world: World, gateway: Gateway) -> dict[str, object]:
    """Everything that could leak, exactly."""
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "slots": len(world.inventory.entries()),
        "observations": len(world.tally.observations),
        "checks": len(world.tally.checks),
        "events": len(world.tally.events),
        "announced": len(gateway._announced),
        "configured": len(gateway._configured),
        "upstreams": len(gateway._upstreams),
    }


@pytest.mark.parametrize("cycles", [5, 1000])
async def test_loading_and_unloading_leaks_nothing(cycles: int) -> None:
    world = World()
    async with world.gateway() as gateway:
        before = _counted(world, gateway)
        for number in range(cycles):
            await gateway.load(plan(f"api-{number}", reading(10 * DAY, f"{number:064x}")))
            await use(gateway, f"api-{number}")
            await gateway.unload(f"api-{number}")
        assert _counted(world, gateway) == before
    assert len(world.sink.events) == cycles


async def test_late_observations_leave_a_bounded_number_of_series() -> None:
    world = World()
    async with world.gateway() as gateway:
        for number in range(150):
            each = plan(f"api-{number}", reading(40 * DAY), policy=LAZY)
            await gateway.load(each)
            await gateway.unload(each.api_id)
            gateway.observe(each.upstream.observation)
        assert len(world.tally.observations) == 100
        assert ("api-149", Role.UPSTREAM, Outcome.AFTER_UNLOAD) in world.tally.observations


def test_a_reading_without_certificate_or_reason_is_unreadable() -> None:
    assert judge(Reading(), QUICK, World().clock()) is State.UNREADABLE


async def test_an_api_that_presents_nothing_itself_is_judged_from_its_first_request_on() -> None:
    world = World()
    trusted = Observation("orders", Role.CA, (reading(-DAY),), "internal-ca")
    each = replace(plan("orders"), monitor=MonitorPlan(LAZY, (trusted,)))
    async with world.gateway() as gateway:
        await gateway.load(each)
        assert gateway.batchers == 0
        gateway.match(b"/orders/x")
        assert await world.events(1) == [EXPIRED]


async def test_a_batcher_counts_as_running_until_it_has_stopped() -> None:
    world = World()
    async with world.gateway() as gateway, asyncio.TaskGroup() as tasks:
        await gateway.load(plan("orders", reading(10 * DAY)))
        world.core.gated = True
        tasks.create_task(use(gateway, "orders"))
        await world.core.entered.wait()
        unload = await gateway.change(unload=["orders"])
        assert gateway.batchers == 1
        world.core.open()
        await unload
        assert gateway.batchers == 0
