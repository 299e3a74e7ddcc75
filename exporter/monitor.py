"""One generation's monitoring: its slots, and the batcher that its first observation starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from exporter.certcheck.announcer import Announced, Announcer
from exporter.certcheck.batcher import LAST_FLUSH, ExpiryBatcher
from exporter.certcheck.certificate import Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import Entry, Inventory, entries_of
from exporter.certcheck.ports import Clock, CooldownStore, EventSink
from exporter.certcheck.sightings import Sightings
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.plan import MonitorPlan
from exporter.target import Target

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
        self._entries: dict[Observation, list[Entry]] = {}
        self._sightings: dict[Role, Sightings] = {}
        if plan is not None:
            self._entries = {each: entries_of(each, plan.policy, self._generation) for each in plan.observations}
            self._sightings = {
                role: Sightings(plan.policy, self._generation) for role in (Role.CLIENT, Role.UPSTREAM_SERVER)
            }
        self._batcher: ExpiryBatcher | None = None
        self._task: asyncio.Task[None] | None = None
        self._retired = False

    @property
    def running(self) -> bool:
        """Whether its batcher runs."""
        return self._task is not None and not self._task.done()

    def inherit(self, previous: Monitor, target: Target) -> None:
        """Go on knowing what the same target presented to the generation before: its series go on without a call."""
        if self._plan is not None and previous._plan is not None:
            place = (target.host, target.port)
            presented = previous._sightings[Role.UPSTREAM_SERVER].entries
            known = [each for each in presented if (each.slot.server_address, each.slot.server_port) == place]
            self._sightings[Role.UPSTREAM_SERVER].adopt(known)

    def publish(self) -> None:
        """Take the slots of what is configured and known: from now on they have series."""
        self._ports.inventory.put(self._all())

    def observe_loaded(self) -> None:
        """Loading is the first observation, unless `check_on_load` is off or there is nothing to observe."""
        if self._plan is not None and self._plan.policy.check_on_load:
            for observation in self.observations:
                self._note(observation)
            self.wake()

    def wake(self) -> None:
        """The first use on the request path starts the batcher, also of an API that presents nothing itself. O(1)."""
        if self._batcher is None and not self._retired and any(self._all()):
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
        if self._batcher is not None:
            # The next generation may have been made of what the files hold now.
            self._batcher.unfit = []

    async def stop(self) -> None:
        """Stop the batcher, if one was ever started, wait for its last flush, and end the series."""
        self.retire()
        if self._batcher is not None and self._task is not None:
            self._batcher.stop()
            await self._join(self._task)
        # After the last flush, which records; else the series would come back.
        self._ports.inventory.forget(self._all())

    def exchange(self, taken: Sequence[Observation], gone: Collection[Observation]) -> None:
        """Take in what is configured besides the plan, and let go what no longer is. What replaces takes over."""
        if self._plan is None or self._retired:
            return
        for each in taken:
            self._entries[each] = entries_of(each, self._plan.policy, self._generation, only_watched=True)
            self._ports.inventory.put(self._entries[each])
            # Nobody uses what is watched: taking it in is the only observation that there will be.
            self._note(each)
        for each in gone:
            entries = self._entries.pop(each, [])
            self._ports.inventory.forget(entries)
            for entry in entries:
                if not entry.gone:
                    # Nothing has taken over, so nothing can be its renewal.
                    self._announced.pop(entry.slot, None)

    def compare(self, on_disk: Sequence[Observation]) -> None:
        """What the files of its observations hold now and was not taken; empty: just what is in use.

        What cannot be used is announced until the next call.
        """
        assert self._plan is not None or not on_disk
        differing = {each.first_slot: each for each in on_disk}
        for observation in self.observations:
            other = differing.get(observation.first_slot)
            for entry in self._entries[observation]:
                if entry.file_in_use is not None:
                    entry.file_in_use = other is None or entry.reading == _at(other.chain, entry.slot.chain_index)
        policy = self._plan.policy if self._plan else ExpiryPolicy()
        unfit = [entry for each in on_disk for entry in entries_of(each, policy) if entry.reading.invalid is not None]
        if unfit and self._batcher is None and not self._retired:
            self._batcher = self._start()
        if self._batcher is not None:
            self._batcher.unfit = unfit

    def _all(self) -> Iterator[Entry]:
        for entries in self._entries.values():
            yield from entries
        for sightings in self._sightings.values():
            yield from sightings.entries

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
            self._sightings,
            announced=self._announced,
            announcer=Announcer(ports.cooldowns, ports.sink, ports.tally, ports.inventory),
            inventory=ports.inventory,
            tally=ports.tally,
            clock=ports.clock,
        )
        self._task = self._tasks.create_task(batcher.run(), name=f"batcher {self.api_id or 'gateway'}")
        return batcher


def _at(chain: tuple[Reading, ...], index: int) -> Reading | None:
    return chain[index] if index < len(chain) else None
