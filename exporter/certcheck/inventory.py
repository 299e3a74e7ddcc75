"""Which certificate is in which slot, now. Read by the gauges on another thread, whenever they are collected."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from threading import Lock

from exporter.certcheck.certificate import InvalidReason, Reading
from exporter.certcheck.chain import ChainPosition, links
from exporter.certcheck.expiry import ExpiryPolicy, State, judge, time_to_change
from exporter.certcheck.slot import Observation, Role, Slot
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.certcheck.usage import Usage
from exporter.certcheck.users import Users, users_of

log = logging.getLogger(__name__)

_SECOND = timedelta(seconds=1)
_COUNTED = frozenset({Role.UPSTREAM, Role.UPSTREAM_SERVER, Role.CLIENT})


@dataclass(slots=True, eq=False)
class Entry:
    """The certificate in one slot, under the generation of the API that put it there."""

    slot: Slot
    reading: Reading
    policy: ExpiryPolicy
    usage: Usage
    chain_length: int = 1
    generation: int = 0
    position: ChainPosition | None = None
    """Leaf, intermediate or root, if known."""
    superseded_at: datetime | None = None
    """From when on a newer one of the same chain stands in for it."""
    file_in_use: bool | None = None
    """Whether it is what its file holds now. None: it is from no file, or only watched."""
    gone: bool = False
    """A later generation has taken over the slot."""
    judged_as: tuple[object, ...] = field(init=False, repr=False)
    """The same for two entries of one role that are the same to a judgement. Made of what is quick to compare."""

    def __post_init__(self) -> None:
        thresholds = (self.policy.warning_threshold, self.policy.warning_lifetime_fraction)
        self.judged_as = (self.slot.role.value, self.identity, *thresholds, self.superseded_at)

    @property
    def cert_id(self) -> str | None:
        """Of the certificate, if one could be read."""
        return self.reading.certificate.cert_id if self.reading.certificate else None

    @property
    def is_only_watched(self) -> bool:
        """Whether nothing here uses it."""
        return self.slot.cert_ref is not None and self.file_in_use is None

    @property
    def identity(self) -> str:
        """What cooldowns know it by: `cert_id`; where there is none, the reference or the address."""
        slot = self.slot
        return self.cert_id or slot.cert_ref or f"{slot.peer_address or slot.server_address}:{slot.server_port}"

    @property
    def invalid(self) -> InvalidReason | None:
        """Why it cannot be used."""
        if self.usage.refused and self.slot.role is Role.UPSTREAM and self.slot.chain_index == 0:
            return self.reading.invalid or InvalidReason.REFUSED_BY_UPSTREAM
        return self.reading.invalid

    def state(self, now: datetime) -> State:
        """What it is at `now` (aware): superseded beats the rest, then expired does."""
        if self.superseded_at is not None and now >= self.superseded_at:
            return State.SUPERSEDED
        state = judge(self.reading, self.policy, now)
        by_date = state in {State.EXPIRED, State.NOT_YET_VALID}
        return State.UNREADABLE if self.invalid is not None and not by_date else state

    def requests(self, now: datetime) -> int | None:
        """Those of the last hour. None: nobody counts them, as with what is only watched."""
        counted = self.slot.api_id is not None and self.slot.role in _COUNTED
        return self.usage.requests_last_hour(now) if counted or self.usage.requests else None

    def time_to_change(self, now: datetime) -> timedelta | None:
        """How long its state holds if nothing but time passes; None: for ever. Always positive."""
        changes = [time_to_change(self.reading, self.policy, now)]
        if self.superseded_at is not None:
            changes.append(self.superseded_at - now)
        return min((each for each in changes if each is not None and each > timedelta(0)), default=None)


def entries_of(
    observation: Observation, policy: ExpiryPolicy, generation: int = 0, *, only_watched: bool = False
) -> list[Entry]:
    """One entry for each certificate of the chain, sharing the observation's usage."""
    chain = observation.chain
    return [
        Entry(
            slot,
            reading,
            observation.policy or policy,
            observation.usage,
            len(chain),
            generation,
            *link,
            file_in_use=None if only_watched or observation.cert_ref is None else True,
        )
        for slot, reading, link in zip(
            observation.slots(),
            chain,
            links(observation.role, chain, first_is_leaf=observation.first_is_leaf),
            strict=True,
        )
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
        self._by_cert_id: dict[str, dict[Slot, Entry]] = {}
        self._users: dict[str, tuple[datetime, Users]] = {}
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
                    entry.gone = True
                    continue
                if previous is None and len(self._entries) >= self.limit:
                    self._waiting[entry.slot] = entry
                    refused += 1
                    continue
                if previous is not None and previous is not entry:
                    _take_over(previous, entry)
                    self._drop(previous)
                self._keep(entry)
        if refused:
            self._tally.errors[ErrorReason.INVENTORY_FULL] += refused
            log.error("inventory is full: certificates have no series", extra={"refused": refused, "limit": self.limit})

    def forget(self, entries: Iterable[Entry]) -> None:
        """Empty the slots that these entries still hold; what a later generation has taken over stays.

        What waited for room gets it.
        """
        with self._lock:
            for entry in entries:
                if self._entries.get(entry.slot) is entry:
                    self._drop(entry)
                elif self._waiting.get(entry.slot) is entry:
                    del self._waiting[entry.slot]
            while self._waiting and len(self._entries) < self.limit:
                self._keep(self._waiting.pop(next(iter(self._waiting))))

    def entries(self) -> list[Entry]:
        """All entries at this instant."""
        with self._lock:
            return list(self._entries.values())

    def users(self, cert_id: str, now: datetime) -> Users:
        """Who uses a certificate, as it was a second ago at most: thousands of APIs may announce one they share."""
        known = self._users.get(cert_id)
        if known is None or not timedelta(0) <= now - known[0] < _SECOND:
            with self._lock:
                entries = list(self._by_cert_id.get(cert_id, {}).values())
            users = Users.of(users_of(((entry.slot.api_id, entry.usage) for entry in entries), now))
            known = self._users[cert_id] = now, users
        return known[1]

    def _keep(self, entry: Entry) -> None:
        self._entries[entry.slot] = entry
        if entry.cert_id is not None:
            self._users.pop(entry.cert_id, None)
            self._by_cert_id.setdefault(entry.cert_id, {})[entry.slot] = entry

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.slot]
        if entry.cert_id is not None:
            self._users.pop(entry.cert_id, None)
            users = self._by_cert_id[entry.cert_id]
            del users[entry.slot]
            if not users:
                del self._by_cert_id[entry.cert_id]


def _take_over(previous: Entry, entry: Entry) -> None:
    previous.gone = True
    if entry.slot.chain_index != 0:
        # A chain was used if its first certificate was: an intermediate may serve many.
        return
    entry.usage.take_over(previous.usage)
    if previous.identity == entry.identity and entry.usage.last_observed_at is None:
        entry.usage.last_observed_at = previous.usage.last_observed_at
