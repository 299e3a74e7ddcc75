"""Every sink gets every event, whatever happens to the others."""

from __future__ import annotations

import pytest

from exporter.certcheck.events import EventKind
from exporter.certcheck.ports import EventDeliveryError
from exporter.sinks.fan_out import FanOut
from tests.fakes import RecordingSink
from tests.telemetry.test_event_log import certificate, event

EVENT = event(EventKind.EXPIRED, known=certificate())


async def test_every_sink_gets_the_event() -> None:
    sinks = [RecordingSink(), RecordingSink()]
    await FanOut(sinks).emit(EVENT)
    assert [sink.events for sink in sinks] == [[EVENT], [EVENT]]


async def test_a_sink_that_fails_keeps_the_event_from_no_other_and_is_told() -> None:
    first, second, third = RecordingSink(), RecordingSink(), RecordingSink()
    second.failing = EventDeliveryError("down")
    with pytest.raises(EventDeliveryError, match="down"):
        await FanOut([first, second, third]).emit(EVENT)
    assert (first.events, third.events) == ([EVENT], [EVENT])


async def test_of_several_failures_the_first_is_told() -> None:
    first, second = RecordingSink(), RecordingSink()
    first.failing, second.failing = EventDeliveryError("first"), OSError("second")
    with pytest.raises(EventDeliveryError, match="first"):
        await FanOut([first, second]).emit(EVENT)


async def test_a_sink_that_is_added_later_gets_what_comes_later() -> None:
    sinks = [RecordingSink()]
    fan_out = FanOut(sinks)
    sinks.append(RecordingSink())
    await fan_out.emit(EVENT)
    assert [len(sink.events) for sink in sinks] == [1, 1]


async def test_no_sink_is_no_failure() -> None:
    await FanOut([]).emit(EVENT)
