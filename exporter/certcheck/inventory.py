"""Which certificate is in which slot, now. Read by the gauges on another thread, whenever they are collected."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from threading import Lock

from exporter.certcheck.certificate import Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.slot import ChainPosition, Observation, Slot, Usage, chain_position
from exporter.certcheck.tally import ErrorReason, Tally

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Entry:
    """The certificate in one slot, under the generation of the API that put it there."""

    slot: Slot
    reading: Reading
    policy: ExpiryPolicy
    usage: Usage
    chain_length: int = 1
    generation: int = 0
    superseded: bool = False
    """A later generation has taken over the slot."""

    @property
    def cert_id(self) -> str | None:
        """Of the certificate, if one could be read."""
        return self.reading.certificate.cert_id if self.reading.certificate else None

    @property
    def identity(self) -> str:
        """What cooldowns know it by: `cert_id`; where there is none, the reference or the address."""
        return self.cert_id or self.slot.cert_ref or f"{self.slot.server_address}:{self.slot.server_port}"

    @property
    def position(self) -> ChainPosition | None:
        """Leaf, intermediate or root, if known."""
        return chain_position(self.slot.role, self.slot.chain_index, self.reading.certificate)


def entries_of(observation: Observation, policy: ExpiryPolicy, generation: int = 0) -> list[Entry]:
    """One entry for each certificate of the chain, sharing the observation's usage."""
    return [
        Entry(slot, reading, policy, observation.usage, len(observation.chain), generation)
        for slot, reading in zip(observation.slots(), observation.chain, strict=True)
    ]


class Inventory:
    """The slots of everything that is loaded, at most `limit` of them.

    Changed on the event loop only; `entries()` may be called from any thread.
    """

    def __init__(self, tally: Tally, limit: int = 20_000) -> None:
        self.limit = limit
        self._tally = tally
        self._entries: dict[Slot, Entry] = {}
        self._waiting: dict[Slot, Entry] = {}
        self._generations = count(1)
        self._lock = Lock()

    def next_generation(self) -> int:
        """A number above all before it: what has it replaces what has a lower one, and never the other way round."""
        return next(self._generations)

    def put(self, entries: Iterable[Entry]) -> None:
        """Let the entries take their slots. Of one certificate in the same slot as before, the last use is kept.

        What holds no readable certificate is counted. What is beyond the limit is counted and logged, never silently
        missing; it is judged and announced all the same.
        """
        refused = 0
        with self._lock:
            for entry in entries:
                if entry.reading.certificate is None:
                    self._tally.error(ErrorReason.UNREADABLE_CERTIFICATE)
                previous = self._entries.get(entry.slot)
                if previous is not None and previous.generation > entry.generation:
                    entry.superseded = True
                    continue
                if previous is None and len(self._entries) >= self.limit:
                    self._waiting[entry.slot] = entry
                    refused += 1
                    continue
                if previous is not None and previous is not entry:
                    _take_over(previous, entry)
                self._entries[entry.slot] = entry
        if refused:
            self._tally.errors[ErrorReason.INVENTORY_FULL] += refused
            log.error("inventory is full: certificates have no series", extra={"refused": refused, "limit": self.limit})

    def forget(self, entries: Iterable[Entry]) -> None:
        """Empty the slots that these entries still hold; what a later generation has taken over stays.

        What waited for room gets it.
        """
        with self._lock:
            for entry in entries:
                for held in (self._entries, self._waiting):
                    if held.get(entry.slot) is entry:
                        del held[entry.slot]
            while self._waiting and len(self._entries) < self.limit:
                slot = next(iter(self._waiting))
                self._entries[slot] = self._waiting.pop(slot)

    def entries(self) -> list[Entry]:
        """All entries at this instant."""
        with self._lock:
            return list(self._entries.values())


def _take_over(previous: Entry, entry: Entry) -> None:
    previous.superseded = True
    # A chain was used if its first certificate was: an intermediate may serve many.
    same = entry.slot.chain_index == 0 and previous.identity == entry.identity
    if same and entry.usage.last_observed_at is None:
        entry.usage.last_observed_at = previous.usage.last_observed_at
