"""What any outbox must do. An outbox's tests derive from this class and make one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from exporter.certcheck.events import EventKind
from exporter.outbox import Delivery, Outbox, Outcome
from tests.fakes import NOON
from tests.state import DAY, HOUR, SECOND, record

MOST_PENDING, MOST_EVENTS, MOST_SETTLED = 5, 8, 3


async def due(outbox: Outbox, handler: str, now: datetime = NOON) -> list[str]:
    return [each.record.event_id for each in await outbox.due(handler, now, 100)]


async def settle(outbox: Outbox, event_id: str, handler: str, outcome: Outcome = Outcome.DELIVERED) -> list[str]:
    found = next(each for each in await outbox.due(handler, NOON, 100) if each.record.event_id == event_id)
    settled = await outbox.attempted([replace(found, attempts=found.attempts + 1, outcome=outcome, settled_at=NOON)])
    return [each.event_id for each in settled]


def names(deliveries: list[Delivery]) -> list[tuple[str, str]]:
    return [(each.record.event_id, each.handler) for each in deliveries]


class OutboxConformance:
    """Derive, and override `outbox`: one with room for what the constants say."""

    @pytest.fixture
    def outbox(self) -> Outbox:
        raise NotImplementedError

    async def test_an_event_is_due_at_once_for_each_handler(self, outbox: Outbox) -> None:
        assert await outbox.put(record("1"), ["otlp", "orders/ops"]) == []

        for handler in ("otlp", "orders/ops"):
            assert await outbox.due(handler, NOON, 1) == [Delivery(record("1"), handler, 0, NOON)]
            assert await outbox.next_at(handler) == NOON
        assert await outbox.due("/ops", NOON, 1) == []
        assert await outbox.next_at("/ops") is None

    async def test_an_event_that_is_put_again_stays_what_it_is(self, outbox: Outbox) -> None:
        await outbox.put(record("1"), ["otlp"])
        await settle(outbox, "1", "otlp")
        await outbox.put(replace(record("1"), payload={}), ["otlp"])

        assert await due(outbox, "otlp") == []
        assert [each.payload for each, _ in await outbox.recent(9)] == [record("1").payload]

    async def test_an_event_that_is_put_again_is_also_for_handlers_it_did_not_have(self, outbox: Outbox) -> None:
        await outbox.put(record("1"), ["a"])
        await settle(outbox, "1", "a")
        await outbox.put(record("1"), ["a", "b"])

        assert (await due(outbox, "a"), await due(outbox, "b")) == ([], ["1"])
        assert await outbox.settled(["1"]) == []

    async def test_of_many_that_put_the_same_at_once_one_does(self, outbox: Outbox) -> None:
        await asyncio.gather(*(outbox.put(record("1"), ["a"]) for _ in range(50)))

        assert await due(outbox, "a") == ["1"]

    async def test_an_event_for_nobody_is_settled(self, outbox: Outbox) -> None:
        await outbox.put(record("1"), [])

        assert await outbox.pending() == []
        assert await outbox.settled(["1", "unknown"]) == [record("1")]

    async def test_the_longest_due_comes_first_and_no_more_than_asked_for(self, outbox: Outbox) -> None:
        for name in "123":
            await outbox.put(record(name), ["a"])
        first, *_ = await outbox.due("a", NOON, 9)
        await outbox.attempted([replace(first, attempts=1, next_at=NOON + SECOND)])

        assert await due(outbox, "a", NOON + SECOND) == ["2", "3", "1"]
        assert names(await outbox.due("a", NOON + SECOND, 2)) == [("2", "a"), ("3", "a")]

    @pytest.mark.parametrize(("wait", "found"), [(SECOND, []), (DAY, []), (DAY + SECOND, ["1"]), (400 * DAY, ["1"])])
    async def test_what_waits_is_due_later_and_what_a_wrong_clock_put_off_for_longer_than_a_day_is_due(
        self, outbox: Outbox, wait: timedelta, found: list[str]
    ) -> None:
        await outbox.put(record("1"), ["a"])
        (first,) = await outbox.due("a", NOON, 9)
        await outbox.attempted([replace(first, attempts=1, next_at=NOON + wait, error="timed out")])

        assert await due(outbox, "a", NOON) == found
        assert await due(outbox, "a", NOON + wait) == ["1"]
        assert await outbox.next_at("a") == NOON + wait
        assert await outbox.due("a", NOON + wait, 1) == [Delivery(record("1"), "a", 1, NOON + wait, "timed out")]

    async def test_an_event_is_settled_when_its_last_handler_is(self, outbox: Outbox) -> None:
        await outbox.put(record("1"), ["a", "b"])

        assert await settle(outbox, "1", "a") == []
        assert await outbox.settled(["1"]) == []
        assert await outbox.pending() == [record("1")]
        assert await settle(outbox, "1", "b", Outcome.FAILED) == ["1"]
        assert await outbox.pending() == []
        assert await outbox.settled(["1"]) == [record("1")]

    async def test_what_is_settled_stays_as_it_is(self, outbox: Outbox) -> None:
        await outbox.put(record("1"), ["a"])
        (pending,) = await outbox.due("a", NOON, 9)
        await settle(outbox, "1", "a", Outcome.FAILED)

        assert await outbox.attempted([pending, replace(pending, outcome=Outcome.DELIVERED)]) == []
        assert await due(outbox, "a") == []
        ((_, (delivery,)),) = await outbox.recent(9)
        assert delivery.outcome is Outcome.FAILED

    async def test_an_attempt_of_what_is_not_known_is_nothing(self, outbox: Outbox) -> None:
        await outbox.put(record("1"), ["a"])
        unknown = [Delivery(record("2"), "a", 1, NOON), Delivery(record("1"), "b", 1, NOON)]

        assert await outbox.attempted(unknown) == []
        assert outbox.backlog() == {"a": 1}

    async def test_the_backlog_has_the_handlers_with_something_pending(self, outbox: Outbox) -> None:
        await outbox.put(record("1"), ["a", "b"])
        await outbox.put(record("2"), ["a"])
        await settle(outbox, "1", "b")

        assert outbox.backlog() == {"a": 2}

    async def test_recent_events_are_the_newest_with_how_they_went(self, outbox: Outbox) -> None:
        for name, api_id in (("1", "orders"), ("2", None), ("3", "orders")):
            await outbox.put(record(name, api_id=api_id), ["a", "b"])
        await settle(outbox, "3", "a")

        recent = await outbox.recent(2)
        assert [each.event_id for each, _ in recent] == ["3", "2"]
        assert [each.outcome for each in recent[0][1]] == [Outcome.DELIVERED, None]
        assert [each.event_id for each, _ in await outbox.recent(9, "orders")] == ["3", "1"]
        assert await outbox.recent(9, "payments") == []

    async def test_only_the_last_settled_are_kept(self, outbox: Outbox) -> None:
        await outbox.put(record("pending"), ["a"])
        for number in range(MOST_SETTLED + 2):
            await outbox.put(record(str(number)), ["b"])
            await settle(outbox, str(number), "b")

        assert [each.event_id for each, _ in await outbox.recent(99)] == ["4", "3", "2", "pending"]
        assert await outbox.settled(["0", "1", "4"]) == [record("4")]

    async def test_where_a_handler_has_no_room_the_oldest_of_the_least_important_is_dropped(
        self, outbox: Outbox
    ) -> None:
        kinds = [EventKind.EXPIRED, EventKind.INVALID, EventKind.EXPIRING_SOON, EventKind.RENEWED, EventKind.RENEWED]
        for name, kind in zip("12345", kinds, strict=True):
            assert await outbox.put(record(name, kind), ["a"]) == []
        dropped = [
            names(await outbox.put(record(name, kind), ["a", "b"]))
            for name, kind in zip(
                "6789", [EventKind.EXPIRED, EventKind.EXPIRED, EventKind.EXPIRED, EventKind.EXPIRING_SOON], strict=True
            )
        ]

        assert dropped == [[("4", "a")], [("5", "a")], [("3", "a")], [("9", "a")]]
        assert await due(outbox, "a") == ["1", "2", "6", "7", "8"]
        assert await due(outbox, "b") == ["6", "7", "8", "9"]
        assert await outbox.settled(["4", "5", "3", "9"]) == [record(n, kinds[int(n) - 1]) for n in "453"]

    async def test_the_oldest_is_the_event_that_was_put_first_whenever_its_handlers_were_added(
        self, outbox: Outbox
    ) -> None:
        await outbox.put(record("first"), [])
        for number in range(MOST_PENDING - 1):
            await outbox.put(record(str(number)), ["a"])
        await outbox.put(record("first"), ["a"])

        assert names(await outbox.put(record("new"), ["a"])) == [("first", "a")]

    async def test_what_is_dropped_is_said_once_and_not_pending_again(self, outbox: Outbox) -> None:
        for number in range(MOST_PENDING):
            await outbox.put(record(str(number)), ["a"])
        (dropped,) = await outbox.put(record("new"), ["a"])

        assert dropped == replace(Delivery(record("0"), "a", 0, NOON), outcome=Outcome.DROPPED, settled_at=NOON)
        assert await outbox.put(record("0"), ["a"]) == []
        assert "0" not in await due(outbox, "a")

    async def test_where_there_is_no_room_for_more_events_one_is_dropped_for_all_its_handlers(
        self, outbox: Outbox
    ) -> None:
        await outbox.put(record("least", EventKind.RENEWED), ["a", "b"])
        for number in range(MOST_EVENTS - 1):
            assert await outbox.put(record(str(number)), [f"handler {number}"]) == []

        assert names(await outbox.put(record("new"), ["c"])) == [("least", "a"), ("least", "b")]
        assert names(await outbox.put(record("newer"), ["c"])) == [("0", "handler 0")]
        assert len(await outbox.pending()) == MOST_EVENTS

    async def test_what_was_given_to_many_handlers_is_pending_once(self, outbox: Outbox) -> None:
        for name in "123":
            await outbox.put(record(name), ["a", "b", "c"])
        await settle(outbox, "2", "a")

        assert await outbox.pending() == [record(name) for name in "123"]

    async def test_text_of_any_kind_comes_back_as_it_was(self, outbox: Outbox) -> None:
        odd = "\"'\n\0<b>\u202e\ud800é%_;--"
        await outbox.put(replace(record("1"), event_id=odd, payload={"cert_name": odd}), ["a"])

        assert [each.record.payload for each in await outbox.due("a", NOON + HOUR, 9)] == [{"cert_name": odd}]
