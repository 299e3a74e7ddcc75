"""Whatever is done to an outbox in whatever order, one in a file is the same as one in memory, also when restarted."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from exporter.certcheck.events import EventKind
from exporter.outbox import Outbox, Outcome
from exporter.state.ledger import Ledger
from exporter.state.memory_outbox import MemoryOutbox
from tests.fakes import NOON
from tests.state import NAME, Opened, Pragma, on_disk, record

HANDLERS = ("a", "b", "c")
handlers = st.sampled_from(HANDLERS)
event_ids = st.sampled_from([str(number) for number in range(12)])
waits = st.integers(0, 3).map(lambda seconds: timedelta(seconds=seconds))


def small() -> Ledger:
    return Ledger(most_pending=4, most_events=6, most_settled=3)


class OutboxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.file = Path(self.directory.name) / NAME
        self.model: Outbox = MemoryOutbox(small())
        self.open()

    def open(self) -> None:
        self.pragma = Pragma(self.file)
        self.state = Opened(self.pragma, small())
        self.runner.run(self.state.database.open())

    def teardown(self) -> None:
        self.runner.run(self.state.database.close())
        self.runner.close()
        self.directory.cleanup()

    def both(self, call: Callable[[Outbox], Awaitable[Any]]) -> Any:
        async def called() -> tuple[Any, Any]:
            return await call(self.model), await call(self.state.outbox)

        expected, found = self.runner.run(called())
        assert found == expected
        return found

    @rule(event_id=event_ids, kind=st.sampled_from(EventKind), names=st.sets(handlers))
    def put(self, event_id: str, kind: EventKind, names: set[str]) -> None:
        self.both(lambda outbox: outbox.put(record(event_id, kind), sorted(names)))

    @rule(handler=handlers, outcome=st.sampled_from([None, *Outcome]), wait=waits, data=st.data())
    def attempt(self, handler: str, outcome: Outcome | None, wait: timedelta, data: st.DataObject) -> None:
        found = self.both(lambda outbox: outbox.due(handler, NOON + timedelta(hours=1), 9))
        for each in data.draw(st.lists(st.sampled_from(found), max_size=2)) if found else ():
            after = replace(each, attempts=each.attempts + 1, outcome=outcome, next_at=each.next_at + wait)
            self.both(lambda outbox, after=after: outbox.attempted([after]))  # type: ignore[misc]

    @rule()
    def the_disk_fails(self) -> None:
        self.pragma.pragma = "PRAGMA query_only = ON"

    @rule()
    def the_disk_works(self) -> None:
        self.pragma.pragma = "PRAGMA query_only = OFF"
        self.runner.run(self.state.database.recover())
        assert not self.state.outbox.failing
        assert on_disk(self.file) == len(self.both(lambda outbox: outbox.recent(99)))

    @precondition(lambda self: self.pragma.pragma.endswith("OFF"))
    @rule()
    def restart(self) -> None:
        self.runner.run(self.state.database.close())
        self.open()

    @invariant()
    def same(self) -> None:
        assert self.model.backlog() == self.state.outbox.backlog()
        self.both(lambda outbox: outbox.pending())
        self.both(lambda outbox: outbox.recent(99))
        for handler in HANDLERS:
            self.both(lambda outbox, handler=handler: outbox.due(handler, NOON, 99))  # type: ignore[misc]
            self.both(lambda outbox, handler=handler: outbox.next_at(handler))  # type: ignore[misc]
        self.both(lambda outbox: outbox.settled([str(number) for number in range(12)]))


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
