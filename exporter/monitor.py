"""One generation's monitoring: its slots, and the batcher that its first observation starts."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta

from exporter.certcheck.announcer import Announced, Announcer
from exporter.certcheck.batcher import LAST_FLUSH, ExpiryBatcher
from exporter.certcheck.inventory import Entry, Inventory, entries_of
from exporter.certcheck.ports import Clock, CooldownStore, EventSink
from exporter.certcheck.slot import Observation
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.plan import MonitorPlan

log = logging.getLogger(__name__)

# The flush that is under way when a batcher is stopped, and then the last one.
_STOP_TIMEOUT = 2 * LAST_FLUSH + timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class MonitorPorts:
    """What all monitors share."""

    clock: Clock
    cooldowns: CooldownStore
    sink: EventSink
    tally: Tally
    inventory: Inventory


class Monitor:
    """Watches what one generation of an API (or of the gateway, `api_id` None) was configured with and uses.

    Starting lazily and closing are decided under one flag on one loop: once retired, nothing can start a batcher.
    """

    def __init__(
        self,
        api_id: str | None,
        plan: MonitorPlan | None,
        *,
        announced: Announced,
        ports: MonitorPorts,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.api_id = api_id
        self.observations = plan.observations if plan else ()
        self._plan = plan
        self._announced = announced
        self._ports = ports
        self._clock = ports.clock
        self._tasks = tasks
        self._generation = ports.inventory.next_generation()
        self._entries: list[Entry] = []
        if plan is not None:
            for each in plan.observations:
                self._entries += entries_of(each, plan.policy, self._generation)
        self._batcher: ExpiryBatcher | None = None
        self._task: asyncio.Task[None] | None = None
        self._retired = False

    @property
    def running(self) -> bool:
        """Whether its batcher runs."""
        return self._task is not None and not self._task.done()

    def publish(self) -> None:
        """Take the configured slots: from now on they have series."""
        self._ports.inventory.put(self._entries)

    def observe_loaded(self) -> None:
        """Loading is the first observation, unless `check_on_load` is off or there is nothing to observe."""
        if self._plan is not None and self._plan.policy.check_on_load:
            for observation in self.observations:
                self._note(observation)

    def wake(self) -> None:
        """The first use on the request path starts the batcher, also of an API that presents nothing itself. O(1)."""
        if self._batcher is None and self._entries and not self._retired:
            self._batcher = self._start()

    def observe(self, observation: Observation) -> None:
        """Note a chain seen on the wire. After `retire()` a counted no-op."""
        if self._plan is None:
            return
        if self._retired:
            self._ports.tally.after_unload(self.api_id, observation.role)
            return
        observation.usage.last_observed_at = self._clock()
        if self._batcher is None:
            self._batcher = self._start()
        self._batcher.observe(observation)

    def retire(self) -> None:
        """Take no more observations, and start nothing any more."""
        self._retired = True

    async def stop(self) -> None:
        """Stop the batcher, if one was ever started, wait for its last flush, and end the series."""
        self.retire()
        entries: list[Entry] = self._entries
        if self._batcher is not None and self._task is not None:
            self._batcher.stop()
            await self._join(self._task)
            entries = entries + self._batcher.entries
        # After the last flush, which records; else the series would come back.
        self._ports.inventory.forget(entries)

    async def _join(self, task: asyncio.Task[None]) -> None:
        _, late = await asyncio.wait({task}, timeout=_STOP_TIMEOUT.total_seconds())
        if late:
            self._ports.tally.error(ErrorReason.FLUSH_TIMEOUT)
            log.error("batcher did not stop and was cancelled", extra={"api_id": self.api_id})
            task.cancel()
            await asyncio.wait({task})

    def _note(self, observation: Observation) -> None:
        if self._batcher is None:
            self._batcher = self._start()
        self._batcher.observe(observation)

    def _start(self) -> ExpiryBatcher:
        assert self._plan is not None
        ports = self._ports
        batcher = ExpiryBatcher(
            self.api_id,
            self._plan.policy,
            self._entries,
            generation=self._generation,
            announced=self._announced,
            announcer=Announcer(ports.cooldowns, ports.sink, ports.tally),
            inventory=ports.inventory,
            tally=ports.tally,
            clock=ports.clock,
        )
        self._task = self._tasks.create_task(batcher.run(), name=f"batcher {self.api_id or 'gateway'}")
        return batcher
