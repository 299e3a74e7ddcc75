"""What the gateway knows besides its plans: files that were not taken, what is watched, what was presented before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from time import perf_counter
from typing import Any

import pytest

from exporter.certcheck.certificate import InvalidReason, Reading
from exporter.certcheck.expiry import ExpiryPolicy, State
from exporter.certcheck.inventory import Entry
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import Outcome
from exporter.gateway import Gateway
from exporter.plan import ApiPlan, MonitorPlan
from exporter.target import Target
from tests.plans import QUICK, World, certificate, plan, reading, use

DAY = timedelta(days=1)
SLOW = ExpiryPolicy(flush_interval=timedelta(hours=1))
SOON, RENEWED, INVALID = "CertificateExpiringSoon", "CertificateRenewed", "CertificateInvalid"
MISMATCH = Reading(certificate(200 * DAY, "b" * 64), InvalidReason.KEY_MISMATCH)


def on_disk(*chain: Reading, api_id: str | None = "orders") -> tuple[Observation, ...]:
    return (Observation(api_id, Role.UPSTREAM, chain, "orders-client", "orders.internal", 8443),)


def only(world: World) -> Entry:
    [entry] = world.inventory.entries()
    return entry


# Files.


async def test_what_was_not_taken_is_announced_and_the_old_one_is_shown_as_not_what_its_file_holds() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY)))
        assert only(world).file_in_use is True
        gateway.compare({"orders": on_disk(MISMATCH)})
        assert only(world).file_in_use is False
        assert only(world).state(world.clock()) is State.VALID
        assert await world.events(1) == [INVALID]
        event = world.sink.events[0].payload()
        assert (event["reason"], event["cert_id"]) == ("key_mismatch", "b" * 64)


async def test_a_file_that_is_as_it_was_is_in_use_again_and_nothing_more_is_said() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY), policy=SLOW))
        gateway.compare({"orders": on_disk(MISMATCH)})
        gateway.compare({})
        assert only(world).file_in_use is True
        await gateway.unload("orders")
        assert world.sink.kinds == []


async def test_a_good_file_after_a_bad_one_renews_what_was_warned_of() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(10 * DAY)))
        await world.events(1)
        gateway.compare({"orders": on_disk(MISMATCH)})
        await world.events(2)
        await gateway.load(plan("orders", reading(300 * DAY, "c" * 64)))
        gateway.compare({})
        assert await world.events(3) == [SOON, INVALID, RENEWED]
        assert world.sink.events[2].payload()["previous_cert_id"] == "a" * 64
        assert only(world).file_in_use is True


async def test_a_good_file_after_a_bad_one_is_a_renewal_and_the_old_one_meanwhile_is_not() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY)))
        gateway.compare({"orders": on_disk(MISMATCH)})
        await world.events(1)
        checks = world.tally.checks["orders", State.VALID]
        await until(lambda: world.tally.checks["orders", State.VALID] > checks + 1)
        await gateway.load(plan("orders", reading(300 * DAY, "c" * 64)))
        gateway.compare({})
        assert await world.events(2) == [INVALID, RENEWED]
        event = world.sink.events[1].payload()
        assert (event["cert_id"], event["previous_cert_id"]) == ("c" * 64, "a" * 64)


async def test_what_was_not_taken_is_not_announced_again_by_the_generation_that_ends() -> None:
    world = World()
    always = replace(QUICK, event_cooldown=timedelta(0))
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY), policy=always))
        gateway.compare({"orders": on_disk(MISMATCH)})
        await world.events(1)
        finishing = await gateway.change(load=[plan("orders", reading(300 * DAY, "c" * 64), policy=always)])
        gateway.compare({})
        begun = len(world.sink.kinds)
        await asyncio.shield(finishing)
        await gateway.unload("orders")
        assert world.sink.kinds[begun:] == [RENEWED]


async def test_an_old_file_that_is_put_back_is_no_renewal() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY)))
        gateway.compare({"orders": on_disk(MISMATCH)})
        await world.events(1)
        gateway.compare({})
        checks = world.tally.checks["orders", State.VALID]
        await until(lambda: world.tally.checks["orders", State.VALID] > checks + 1)
        await gateway.load(plan("orders", reading(300 * DAY, "c" * 64)))
        await gateway.unload("orders")
        assert world.sink.kinds == [INVALID]


async def test_a_bad_file_is_announced_also_where_nothing_had_started_a_batcher() -> None:
    world = World()
    lazy = ExpiryPolicy(flush_interval=timedelta(milliseconds=20), check_on_load=False)
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY), policy=lazy))
        gateway.compare({"orders": on_disk(MISMATCH)})
        assert await world.events(1) == [INVALID]


async def test_a_chain_that_is_shorter_on_disk_is_not_what_is_in_use() -> None:
    world = World()
    leaf, issuer = reading(100 * DAY), reading(900 * DAY, "d" * 64)
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", leaf, issuer))
        gateway.compare({"orders": on_disk(leaf)})
        assert [entry.file_in_use for entry in world.inventory.entries()] == [True, False]


# What is watched.


def watched(*chain: Reading, ref: str = "files/a.pem") -> Observation:
    return Observation(None, Role.SERVER, chain, ref)


def refs(world: World) -> dict[str | None, str | None]:
    return {entry.slot.cert_ref: entry.cert_id for entry in world.inventory.entries()}


async def test_what_is_watched_has_series_and_events_of_the_gateways_own() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.monitor_own(MonitorPlan(QUICK, ()))
        gateway.exchange_own([watched(reading(10 * DAY))], ())
        assert await world.events(1) == [SOON]
        assert "api_id" not in world.sink.events[0].payload()
        assert only(world).requests(world.clock()) is None
        assert gateway.batchers == 1


async def test_a_watched_file_that_is_replaced_keeps_its_slot_and_is_renewed() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.monitor_own(MonitorPlan(QUICK, ()))
        old, new = watched(reading(10 * DAY)), watched(reading(300 * DAY, "b" * 64))
        gateway.exchange_own([old], ())
        await world.events(1)
        gateway.exchange_own([new], [old])
        assert await world.events(2) == [SOON, RENEWED]
        assert refs(world) == {"files/a.pem": "b" * 64}
        gateway.exchange_own([], [new])
        assert refs(world) == {}


async def test_what_is_watched_outlives_a_change_of_the_listeners() -> None:
    world = World()
    own = Observation(None, Role.SERVER, (reading(50 * DAY, "e" * 64),), "gateway")
    async with world.gateway() as gateway:
        await gateway.monitor_own(MonitorPlan(QUICK, ()))
        gateway.exchange_own([watched(reading(100 * DAY), ref=str(number)) for number in range(500)], ())
        await gateway.monitor_own(MonitorPlan(QUICK, (own,)))
        assert refs(world) == {"gateway": "e" * 64, **{str(number): "a" * 64 for number in range(500)}}
        await gateway.monitor_own(MonitorPlan(QUICK, ()))
        assert "gateway" not in refs(world)
        assert len(refs(world)) == 500


async def test_what_goes_while_the_listeners_change_does_not_come_back() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.monitor_own(MonitorPlan(QUICK, ()))
        many = [watched(reading(100 * DAY), ref=str(number)) for number in range(500)]
        gateway.exchange_own(many, ())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gateway.monitor_own(MonitorPlan(QUICK, ())))
            await asyncio.sleep(0)
            gateway.exchange_own((), many[400:])
        assert len(refs(world)) == 400


async def test_without_monitoring_nothing_is_watched() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.monitor_own(None)
        gateway.exchange_own([watched(reading(10 * DAY))], ())
        assert refs(world) == {}
        await gateway.monitor_own(MonitorPlan(QUICK, ()))
        assert refs(world) == {"files/a.pem": "a" * 64}


async def test_flushing_twenty_thousand_gives_way_to_others() -> None:
    world = World(limit=30_000)
    async with world.gateway() as gateway:
        await gateway.monitor_own(MonitorPlan(SLOW, ()))
        gateway.exchange_own(
            [watched(reading(100 * DAY, f"{number:064}"), ref=str(number)) for number in range(20_000)], ()
        )
        turns = 0
        while world.tally.checks[None, State.VALID] < 20_000:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100


# What was presented before.


def presented(*chain: Reading, peer: str = "10.0.0.1") -> Observation:
    return Observation("orders", Role.UPSTREAM_SERVER, chain, None, "orders.internal", 8443, peer)


def nodes(world: World) -> dict[str | None, State]:
    entries = [entry for entry in world.inventory.entries() if entry.slot.role is Role.UPSTREAM_SERVER]
    return {entry.slot.peer_address: entry.state(world.clock()) for entry in entries}


async def sighted(gateway: Gateway, world: World, *observations: Observation) -> None:
    """Observe, and wait for the flush that follows."""
    for each in observations:
        gateway.observe(each)
    await until(lambda: {each.peer_address for each in observations} <= nodes(world).keys())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (nothing tells of a flush)
            await asyncio.sleep(0)


async def test_what_an_upstream_presented_outlives_a_reload_of_its_api() -> None:
    world = World()
    wrong = Reading(certificate(100 * DAY), InvalidReason.UNKNOWN_ISSUER)
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY)))
        await sighted(gateway, world, presented(reading(10 * DAY)), presented(wrong, peer="10.0.0.2"))
        assert nodes(world) == {"10.0.0.1": State.EXPIRING, "10.0.0.2": State.UNREADABLE}
        await gateway.load(plan("orders", reading(300 * DAY, "c" * 64)))
        # What verification found belonged to the trust of the generation before.
        assert nodes(world) == {"10.0.0.1": State.EXPIRING, "10.0.0.2": State.VALID}
        await gateway.unload("orders")
        assert nodes(world) == {}


def elsewhere() -> ApiPlan:
    """The same API with another target."""
    before = plan("orders", reading(100 * DAY))
    return replace(before, upstream=replace(before.upstream, target=Target("https", "orders.internal", 9999, "/")))


async def test_what_another_target_presented_ends_with_its_generation() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY)))
        await sighted(gateway, world, presented(reading(10 * DAY)))
        finishing = await gateway.change(load=[elsewhere()])
        await asyncio.shield(finishing)
        assert nodes(world) == {}


async def test_a_handshake_that_ends_when_its_target_is_replaced_is_not_taken_for_one_with_the_new_target() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY)))
        await gateway.load(elsewhere())
        gateway.observe(presented(reading(-DAY)))
        await gateway.unload("orders")
        assert world.sink.kinds == []
        assert world.tally.observations["orders", Role.UPSTREAM_SERVER, Outcome.AFTER_UNLOAD] == 1


async def test_a_node_is_forgotten_when_others_have_been_used_for_seven_days_without_it() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY)))
        await sighted(gateway, world, presented(reading(50 * DAY)), presented(reading(50 * DAY), peer="10.0.0.2"))
        world.clock.advance(8 * DAY)
        kept = presented(reading(50 * DAY), peer="10.0.0.2")
        gateway.observe(kept)
        await until(lambda: "10.0.0.1" not in nodes(world))
        world.clock.advance(30 * DAY)
        await use(gateway, "orders")
        await sighted(gateway, world, presented(reading(50 * DAY), peer="10.0.0.3"))
        assert "10.0.0.3" in nodes(world)


# Who depends on it.


async def test_a_thousand_apis_announce_what_they_share_without_holding_up_everything() -> None:
    world = World()
    async with world.gateway() as gateway:
        began_at = perf_counter()
        await gateway.load(*(plan(f"api-{number}", reading(10 * DAY), policy=SLOW) for number in range(1000)))
        await world.events(1000)
        assert perf_counter() - began_at < 1


async def test_an_event_tells_who_uses_the_certificate_busiest_first() -> None:
    world = World()
    async with world.gateway() as gateway:
        left = 30 * DAY + timedelta(minutes=1)
        await gateway.load(plan("billing", reading(left)), plan("orders", reading(left)))
        for api_id, requests in (("billing", 1), ("orders", 3)):
            for _ in range(requests):
                await use(gateway, api_id)
        world.clock.advance(timedelta(minutes=2))
        await world.events(2)
        payload: dict[str, Any] = world.sink.events[0].payload()
        at = {"last_observed_at": "2026-01-27T12:00:00Z"}
        users = [{**user, **at} for user in payload["used_by"]]
        assert users == [
            {"api_id": "orders", "requests_last_hour": 3, **at},
            {"api_id": "billing", "requests_last_hour": 1, **at},
        ]
        assert payload["requests_last_hour"] == 4


async def test_requests_of_the_last_hour_outlive_reload_and_renewal() -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(100 * DAY)))
        await use(gateway, "orders")
        await gateway.load(plan("orders", reading(300 * DAY, "c" * 64)))
        await use(gateway, "orders")
        assert only(world).requests(world.clock()) == 2


@pytest.mark.parametrize(("left", "state"), [(100 * DAY, State.UNREADABLE), (-DAY, State.EXPIRED)])
async def test_a_certificate_that_is_refused_is_not_usable_unless_it_has_expired(left: timedelta, state: State) -> None:
    world = World()
    async with world.gateway() as gateway:
        await gateway.load(plan("orders", reading(left), policy=SLOW))
        entry = only(world)
        entry.usage.refused = True
        assert (entry.state(world.clock()), entry.invalid) == (state, InvalidReason.REFUSED_BY_UPSTREAM)
        entry.usage.refused = False
        assert entry.invalid is None
