from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from exporter.certcheck.certificate import InvalidReason, Reading
from exporter.certcheck.chain import ChainPosition
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import Entry, Inventory, entries_of
from exporter.certcheck.slot import Observation, Role, Slot
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.certcheck.usage import Usage
from tests.certcheck import DAY, certificate, fine, seen, unusable
from tests.fakes import NOON

POLICY, SECOND = ExpiryPolicy(), timedelta(seconds=1)


def entry(reading: Reading, ref: str = "orders-client", observed_at: datetime | None = None, index: int = 0) -> Entry:
    return Entry(Slot("orders", Role.UPSTREAM, ref, chain_index=index), reading, POLICY, Usage(observed_at))


def chain(*readings: Reading, observed_at: datetime | None = None) -> list[Entry]:
    observation = Observation("orders", Role.UPSTREAM, readings, "orders-client", usage=Usage(observed_at))
    return entries_of(observation, POLICY)


def held(inventory: Inventory) -> set[Entry]:
    return set(inventory.entries())


def test_there_is_one_entry_for_each_certificate_of_a_chain_with_one_usage() -> None:
    issuer = Reading(replace(certificate(name="intermediate"), is_ca=True))
    observation = seen(fine(), issuer, address="orders.internal")
    leaf, intermediate = entries_of(observation, POLICY)

    assert (leaf.slot, intermediate.slot) == observation.slots()
    assert (leaf.position, intermediate.position) == (ChainPosition.LEAF, ChainPosition.INTERMEDIATE)
    assert (leaf.chain_length, intermediate.chain_length) == (2, 2)
    assert leaf.usage is intermediate.usage is observation.usage


@pytest.mark.parametrize(
    ("reading", "ref", "identity"),
    [
        (fine(), "orders-client", certificate().cert_id),
        (unusable(InvalidReason.KEY_MISMATCH, certificate()), "orders-client", certificate().cert_id),
        (unusable(InvalidReason.MISSING), "orders-client", "orders-client"),
        (unusable(InvalidReason.UNREADABLE), None, "orders.internal:8443"),
    ],
)
def test_cooldowns_know_a_certificate_by_its_id_or_else_its_reference_or_address(
    reading: Reading, ref: str | None, identity: str
) -> None:
    slot = Slot("orders", Role.UPSTREAM_SERVER, ref, "orders.internal", 8443)

    assert Entry(slot, reading, POLICY, Usage()).identity == identity


def test_a_later_entry_takes_over_the_slot() -> None:
    inventory = Inventory(Tally())
    old, other, new = entry(fine(DAY)), entry(fine(DAY), "other"), entry(fine(365 * DAY))
    inventory.put([old, other])
    inventory.put([new])

    assert held(inventory) == {other, new}
    assert (old.gone, other.gone, new.gone) == (True, False, False)


def test_putting_the_same_entry_again_changes_nothing() -> None:
    inventory = Inventory(Tally())
    once = entry(fine())
    inventory.put([once])
    inventory.put([once])

    assert held(inventory) == {once}
    assert not once.gone


def test_only_what_still_holds_its_slot_is_forgotten() -> None:
    inventory = Inventory(Tally())
    old, gone, new = entry(fine(DAY)), entry(fine(DAY), "gone"), entry(fine(365 * DAY))
    inventory.put([old, gone])
    inventory.put([new])
    inventory.forget([old, gone])
    inventory.forget([old, gone])

    assert held(inventory) == {new}


def test_forgetting_what_was_never_put_changes_nothing() -> None:
    inventory = Inventory(Tally())
    inventory.put([there := entry(fine())])
    inventory.forget([entry(fine()), entry(fine(), "other")])

    assert held(inventory) == {there}


def test_what_is_beyond_the_limit_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    inventory = Inventory(tally, limit=2)
    inventory.put([entry(fine(), str(number)) for number in range(5)])

    assert [each.slot.cert_ref for each in inventory.entries()] == ["0", "1"]
    assert tally.errors[ErrorReason.INVENTORY_FULL] == 3
    assert [(vars(record)["refused"], vars(record)["limit"]) for record in caplog.records] == [(3, 2)]


def test_up_to_the_limit_nothing_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    Inventory(tally, limit=2).put([entry(fine(), "0"), entry(fine(), "1")])

    assert tally.errors[ErrorReason.INVENTORY_FULL] == 0
    assert caplog.records == []


def test_a_full_inventory_takes_what_renews_and_what_comes_for_what_went() -> None:
    tally = Tally()
    inventory = Inventory(tally, limit=1)
    inventory.put([entry(fine(DAY))])
    inventory.put([renewed := entry(fine())])
    inventory.forget([renewed])
    inventory.put([other := entry(fine(), "other")])

    assert held(inventory) == {other}
    assert tally.errors[ErrorReason.INVENTORY_FULL] == 0


def test_what_holds_no_certificate_is_counted() -> None:
    tally = Tally()
    Inventory(tally).put([entry(fine()), entry(unusable(InvalidReason.MISSING), "other")])

    assert tally.errors[ErrorReason.UNREADABLE_CERTIFICATE] == 1


def observed_at(entries: Iterable[Entry]) -> set[datetime | None]:
    return {each.usage.last_observed_at for each in entries}


def test_the_last_use_of_the_same_certificate_is_kept() -> None:
    inventory = Inventory(Tally())
    inventory.put([entry(fine(), observed_at=NOON)])
    inventory.put([entry(fine())])

    assert observed_at(inventory.entries()) == {NOON}


def test_a_newer_use_is_not_overwritten_by_an_older_one() -> None:
    inventory = Inventory(Tally())
    inventory.put([entry(fine(), observed_at=NOON)])
    inventory.put([entry(fine(), observed_at=NOON + DAY)])

    assert observed_at(inventory.entries()) == {NOON + DAY}


def test_a_new_certificate_was_not_used_yet() -> None:
    inventory = Inventory(Tally())
    inventory.put([entry(fine(DAY), observed_at=NOON)])
    inventory.put([entry(fine(365 * DAY))])

    assert observed_at(inventory.entries()) == {None}


def test_a_new_leaf_was_not_used_yet_though_its_intermediate_was() -> None:
    inventory = Inventory(Tally())
    intermediate = fine(1000 * DAY, name="intermediate")
    inventory.put(chain(fine(DAY), intermediate, observed_at=NOON))
    inventory.put(renewed := chain(fine(365 * DAY), intermediate))

    assert held(inventory) == set(renewed)
    assert observed_at(renewed) == {None}


def test_entries_can_be_read_from_another_thread_while_they_change() -> None:
    inventory = Inventory(Tally())
    many = [entry(fine(), str(number)) for number in range(500)]
    with ThreadPoolExecutor(1) as pool:
        sizes = [pool.submit(lambda: len(inventory.entries())) for _ in range(50)]
        for each in many:
            inventory.put([each])
        inventory.forget(many)
        read = [size.result(timeout=10) for size in sizes]

    assert all(0 <= size <= 500 for size in read)
    assert inventory.entries() == []


def test_every_generation_is_above_all_before_it() -> None:
    inventory = Inventory(Tally())
    generations = [inventory.next_generation() for _ in range(10)]

    assert generations == sorted(set(generations))


def test_an_older_generation_does_not_take_a_slot_back() -> None:
    inventory = Inventory(Tally())
    [new] = entries_of(seen(fine(365 * DAY)), POLICY, generation=2)
    [late] = entries_of(seen(fine(DAY)), POLICY, generation=1)
    inventory.put([new])
    inventory.put([late])
    inventory.forget([late])

    assert held(inventory) == {new}
    assert (late.gone, new.gone) == (True, False)


def test_what_was_beyond_the_limit_gets_the_room_that_is_made() -> None:
    inventory = Inventory(Tally(), limit=1)
    first, waiting, gone = (entry(fine(), ref) for ref in ("first", "waiting", "gone"))
    inventory.put([first, gone, waiting])
    inventory.forget([gone])
    inventory.forget([first])
    assert held(inventory) == {waiting}


def test_who_uses_a_certificate_is_found_out_once_a_second_and_when_others_come_or_go() -> None:
    inventory = Inventory(Tally())
    one, other = entry(fine()), entry(fine(), "another")
    inventory.put([one])
    cert_id, before = one.cert_id or "", inventory.users(one.cert_id or "", NOON)
    one.usage.requests = 7
    assert inventory.users(cert_id, NOON + SECOND - timedelta.resolution) is before
    assert inventory.users(cert_id, NOON + SECOND).requests_last_hour == 7
    other.usage.requests = 9
    inventory.put([other])
    assert inventory.users(cert_id, NOON + SECOND).requests_last_hour == 9
    inventory.forget([other])
    assert inventory.users(cert_id, NOON + SECOND).requests_last_hour == 7
