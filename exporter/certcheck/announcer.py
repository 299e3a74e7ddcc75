"""Which state of a slot is worth an event, and letting it out once."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import datetime, timedelta
from typing import TypeAlias

from exporter.certcheck.certificate import InvalidReason
from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.expiry import State
from exporter.certcheck.inventory import Entry, Inventory
from exporter.certcheck.ports import CooldownKey, CooldownStore, EventSink
from exporter.certcheck.slot import Slot
from exporter.certcheck.storm import StormLimit
from exporter.certcheck.tally import ErrorReason, Tally

log = logging.getLogger(__name__)

_EVENT_OF = {
    State.EXPIRING: EventKind.EXPIRING_SOON,
    State.EXPIRED: EventKind.EXPIRED,
    State.NOT_YET_VALID: EventKind.INVALID,
    State.UNREADABLE: EventKind.INVALID,
}

_SINK_TIMEOUT_SECONDS = 10.0

LEASE = timedelta(seconds=60)
"""Longer than a sink may take."""

_MOST_ATTEMPTED = 10_000


Announced: TypeAlias = dict[Slot, str | None]
"""The slots for which something was said and not yet taken back, with the `cert_id` it was said of, if that was known.

Outlives a generation: the next one says `CertificateRenewed` for what this one warned of.
"""


class Announcer:
    """Turns a state into an event, unless its cooldown is running."""

    def __init__(self, cooldowns: CooldownStore, sink: EventSink, tally: Tally, inventory: Inventory) -> None:
        self._cooldowns = cooldowns
        self._sink = sink
        self._tally = tally
        self._inventory = inventory
        self._attempted: dict[CooldownKey, str] = {}
        self._silent: dict[CooldownKey, datetime] = {}
        """Since when it is somebody else's to tell."""
        self._storms = StormLimit()

    async def announce(self, entries: list[Entry], state: State, announced: Announced, now: datetime) -> bool:
        """Say what there is to say of one certificate in all its slots of one API and role; the first one speaks.

        Returns False if the event was not taken and is to be tried again.
        """
        entry = entries[0]
        if state is State.SUPERSEDED:
            for each in entries:
                announced.pop(each.slot, None)
            return True
        kind = _EVENT_OF.get(state)
        if kind is not None:
            taken = await self._emit(entries, kind, now, reason=_reason(entry, state))
            for each in entries if taken else ():
                if kind is EventKind.INVALID:
                    # It replaced the one that was warned of, and may yet turn out to be the renewal.
                    announced.setdefault(each.slot, each.cert_id)
                else:
                    announced[each.slot] = each.cert_id
            return taken
        # Of a slot whose file holds something else, that something has been announced, and is not over.
        entries = [each for each in entries if each.file_in_use is not False]
        replaced = [announced[e.slot] for e in entries if announced.get(e.slot, e.cert_id) != e.cert_id]
        taken = not replaced or await self._emit(entries, EventKind.RENEWED, now, previous=replaced[0])
        if taken:
            for each in entries:
                announced.pop(each.slot, None)
        return taken

    async def _emit(
        self,
        entries: list[Entry],
        kind: EventKind,
        now: datetime,
        *,
        reason: InvalidReason | None = None,
        previous: str | None = None,
    ) -> bool:
        entry = entries[0]
        slot = entry.slot
        if not self._is_calm(slot, kind, now):
            return False
        key = CooldownKey(slot.api_id, slot.role, entry.identity, kind)
        cooldown = entry.policy.event_cooldown
        event_id = self._attempted.get(key, str(uuid.uuid4()))
        if cooldown:
            claimed = await self._cooldowns.claim(key, event_id, LEASE, cooldown)
            if claimed is None:
                return self._was_told(key, now)
            event_id = claimed
        self._silent.pop(key, None)
        self._remember(key, event_id)
        event = ExpiryEvent(
            kind,
            event_id,
            slot,
            now,
            entry.reading.certificate,
            reason,
            previous,
            self._inventory.users(entry.cert_id, now) if entry.cert_id else None,
            tuple(each.slot for each in entries),
            entry.identity,
            cooldown,
        )
        taken = told = False
        try:
            taken, told = await self._deliver(event)
        finally:
            # Also where this is cut midway: a claim of what nobody was told would hide the event until it lapses.
            if cooldown and not taken:
                await self._cooldowns.release(key)
        if taken:
            self._attempted.pop(key, None)
            if slot.cert_ref is None:
                self._storms.note(slot.api_id, kind, now)
            if cooldown and told:
                await self._cooldowns.start(key, cooldown)
        return taken

    def _is_calm(self, slot: Slot, kind: EventKind, now: datetime) -> bool:
        """Whether not too much has been said already of what others present. What is held back is said later."""
        if slot.cert_ref is not None or self._storms.allows(slot.api_id, kind, now):
            return True
        self._tally.error(ErrorReason.EVENT_HELD_BACK)
        return False

    def _was_told(self, key: CooldownKey, now: datetime) -> bool:
        """Whether somebody has told it. Until a lease is over, another may have claimed it and then died."""
        first_at = self._silent.setdefault(key, now)
        if len(self._silent) > _MOST_ATTEMPTED:
            del self._silent[next(iter(self._silent))]
        return not timedelta(0) <= now - first_at <= LEASE

    def _remember(self, key: CooldownKey, event_id: str) -> None:
        self._attempted[key] = event_id
        if len(self._attempted) > _MOST_ATTEMPTED:
            # Of what was let go since, and will not be tried again.
            del self._attempted[next(iter(self._attempted))]

    async def _deliver(self, event: ExpiryEvent) -> tuple[bool, bool]:
        """Whether it was taken, and whether everybody has been told."""
        try:
            async with asyncio.timeout(_SINK_TIMEOUT_SECONDS):
                told = await self._sink.emit(event)
        except Exception as exc:  # the next flush tries again
            self._tally.error(ErrorReason.EVENT_NOT_DELIVERED)
            log.error("event was not delivered", extra={"event": event.kind.value, "error": type(exc).__name__})
            return False, False
        self._tally.events[event.slot.api_id, event.slot.role, event.kind] += 1
        return True, told


def _reason(entry: Entry, state: State) -> InvalidReason | None:
    if state is State.NOT_YET_VALID:
        return InvalidReason.NOT_YET_VALID
    return entry.invalid if state is State.UNREADABLE else None
