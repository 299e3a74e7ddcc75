"""What an API is seen to use besides what it is configured with: bounded, whatever others present."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from exporter.certcheck.certificate import Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import Entry, entries_of
from exporter.certcheck.slot import Observation, Role, Slot

MOST_OBSERVED = 1000
"""Certificates of one API that are known from handshakes alone."""

FORGOTTEN_AFTER = timedelta(days=7)
"""A client or a node that has stayed away for so long is not expected any more: it must not alert for ever."""

_Place: TypeAlias = Slot | tuple[Role, str | None, int | None, str | None]
"""Where a chain is used: its slots without their position. What clients present has a place for each certificate."""

_NEVER = datetime.max.replace(tzinfo=UTC)


class Settled(NamedTuple):
    """What has changed: entries that take their slots, that leave them, and for which there was no room."""

    taken: list[Entry]
    gone: list[Entry]
    excess: list[Entry]


class Sightings:
    """Collects observations of one role; each `settle()` makes entries of them."""

    def __init__(self, policy: ExpiryPolicy, generation: int) -> None:
        self.entries: list[Entry] = []
        """In the order in which they were last seen, at most `MOST_OBSERVED`."""
        self._policy = policy
        self._generation = generation
        self._pending: dict[_Place, Observation] = {}
        """Of what was seen in each place, what will be missed first, or is missed already."""
        self._latest: dict[_Place, Observation] = {}
        """What a node has presented after that: it is settled the next time."""
        self._known: set[_Place] = set()

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Go on with what an earlier generation knew, but for its verdicts."""
        self.entries = [
            replace(each, reading=Reading(each.reading.certificate), policy=self._policy, generation=self._generation)
            for each in entries
            if each.reading.certificate is not None and not each.gone
        ]
        self._known = {_place(entry.slot) for entry in self.entries}

    def note(self, observation: Observation) -> bool:
        """Note a chain in use. O(1). False: too many new ones have come since the last `settle()`.

        Several servers may be behind one address: none that is fine hides one that is not.
        """
        place = _place(observation.first_slot)
        before = self._pending.get(place)
        if before is None and place not in self._known and len(self._pending) >= MOST_OBSERVED:
            return False
        if before is None or _first_missed(observation) <= _first_missed(before):
            self._pending[place] = observation
            self._latest.pop(place, None)
        elif not observation.is_named:
            self._latest[place] = observation
        return True

    def settle(self, now: datetime) -> Settled:
        """Give what was noted its place. Where there is too much, what was seen longest ago goes."""
        pending, self._pending, self._latest = self._pending, self._latest, {}
        every = (entry for one in pending.values() for entry in entries_of(one, self._policy, self._generation))
        # Clients share their issuers: of one slot, one entry.
        seen = {entry.slot: entry for entry in every}
        replaced = {entry.slot: entry for entry in self.entries if entry.slot in seen or _place(entry.slot) in pending}
        others = [entry for entry in self.entries if entry.slot not in replaced]
        latest = max(filter(None, (entry.usage.used_at() for entry in (*self.entries, *seen.values()))), default=now)
        away = {entry for entry in others if _is_away(entry, latest if entry.slot.cert_name is None else now)}
        # The known ones last: whoever comes under a new name each time pushes out nobody who comes regularly.
        new, again = _split(seen, replaced)
        ranked = [*(entry for entry in others if entry not in away), *new, *again]
        excess, self.entries = ranked[:-MOST_OBSERVED], ranked[-MOST_OBSERVED:]
        self._known = {_place(entry.slot) for entry in self.entries}
        no_room = set(excess)
        taken = [entry for entry in (*new, *again) if entry not in no_room]
        # Also what a shorter chain no longer has.
        return Settled(taken, [*replaced.values(), *away, *excess], excess)


def _split(seen: dict[Slot, Entry], replaced: dict[Slot, Entry]) -> tuple[list[Entry], list[Entry]]:
    new = [entry for slot, entry in seen.items() if slot not in replaced]
    return new, [entry for slot, entry in seen.items() if slot in replaced]


def _place(slot: Slot) -> _Place:
    if slot.cert_name is not None:
        return slot
    return slot.role, slot.server_address, slot.server_port, slot.peer_address


def _first_missed(observation: Observation) -> tuple[bool, datetime]:
    """A sort key: what has failed verification before the rest, then what expires first."""
    leaf = observation.chain[0]
    return leaf.invalid is None, leaf.certificate.not_after if leaf.certificate else _NEVER


def _is_away(entry: Entry, now: datetime) -> bool:
    """For a node, `now` is when any was seen last: of an upstream that nobody calls, the last ones stay known."""
    at = entry.usage.used_at()
    return at is not None and now - at > FORGOTTEN_AFTER
