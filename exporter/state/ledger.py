"""The contents of an outbox: bounded, in memory, and without a way to wait."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from exporter.outbox import MOST_EVENTS, MOST_PENDING, MOST_SETTLED, Delivery, Outcome, Record
from exporter.state.pending import ByImportance, Pending


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with its deliveries, as it is kept or was found on disk."""

    number: int
    """Later events have higher ones."""
    record: Record
    deliveries: tuple[Delivery, ...]


@dataclass(slots=True)
class Changes:
    """What a call has changed, for whoever writes it down."""

    added: list[tuple[int, Record]] = field(default_factory=list)
    written: list[tuple[int, Delivery]] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Kept:
    number: int
    record: Record
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    unsettled: int = 0


class Ledger:
    """Events and their deliveries. `changes` is what the last call has changed."""

    def __init__(
        self, most_pending: int = MOST_PENDING, most_events: int = MOST_EVENTS, most_settled: int = MOST_SETTLED
    ) -> None:
        self.changes = Changes()
        self._most_pending = most_pending
        self._most_events = most_events
        self._most_settled = most_settled
        self._clear()

    def _clear(self) -> None:
        self._kept: dict[int, _Kept] = {}
        self._numbers: dict[str, int] = {}
        self._handlers: dict[str, Pending] = {}
        self._unsettled = ByImportance()
        self._settled: list[int] = []
        self._next = 1

    def put(self, record: Record, handlers: Collection[str]) -> list[Delivery]:
        """As the port says; what is dropped was settled at the new event's time."""
        self.changes = Changes()
        kept = self._find(record.event_id) or self._add(record)
        for handler in handlers:
            if handler not in kept.deliveries:
                self._open(kept, Delivery(kept.record, handler, 0, record.announced_at))
        return self._make_room(handlers, record.announced_at)

    def attempted(self, deliveries: Iterable[Delivery]) -> list[Record]:
        self.changes = Changes()
        settled = []
        for each in deliveries:
            kept = self._find(each.record.event_id)
            known = kept.deliveries.get(each.handler) if kept else None
            if kept is None or known is None or known.outcome is not None:
                continue
            self._write(kept, each)
            if each.outcome is None:
                self._handlers[each.handler].move(kept.number, known.next_at, each.next_at)
            elif self._close(kept, known):
                settled.append(kept.record)
        return settled

    def due(self, handler: str, now: datetime, limit: int) -> list[Delivery]:
        pending = self._handlers.get(handler)
        return [self._kept[number].deliveries[handler] for number in pending.due(now, limit)] if pending else []

    def next_at(self, handler: str) -> datetime | None:
        pending = self._handlers.get(handler)
        return pending.next_at() if pending else None

    def settled(self, event_ids: Iterable[str]) -> list[Record]:
        found = (self._find(each) for each in event_ids)
        return [kept.record for kept in found if kept and not kept.unsettled]

    def pending(self) -> list[Record]:
        return [self._kept[number].record for number in self._unsettled.numbers()]

    def backlog(self) -> dict[str, int]:
        # Of a copy: the thread that samples for a scrape reads it while it changes.
        return {handler: len(pending) for handler, pending in self._handlers.copy().items()}

    def recent(self, limit: int, api_id: str | None) -> list[tuple[Record, list[Delivery]]]:
        found: list[tuple[Record, list[Delivery]]] = []
        for kept in reversed(self._kept.values()):
            if len(found) >= limit:
                break
            if api_id is None or kept.record.api_id == api_id:
                found.append((kept.record, [kept.deliveries[handler] for handler in sorted(kept.deliveries)]))
        return found

    def entries(self) -> list[Entry]:
        """Everything, oldest first."""
        return [Entry(kept.number, kept.record, tuple(kept.deliveries.values())) for kept in self._kept.values()]

    def restore(self, found: Iterable[Entry]) -> bool:
        """Take in what was found on disk, as older than what is here. If it is too much, the next `put` drops it.

        Returns whether the disk has to be written anew to be the same as this.
        """
        here = self.entries()
        self._clear()
        self.changes = Changes()
        same = True
        for entry in found:
            self._next = max(self._next, entry.number)
            same = self._take(entry) and same
        for entry in here:
            self._take(entry)
        self._forget()
        same = same and not here and not self.changes.deleted
        self.changes = Changes()
        return not same

    def _take(self, entry: Entry) -> bool:
        if entry.record.event_id in self._numbers:
            return False
        kept = self._add(entry.record)
        for each in entry.deliveries:
            if each.outcome is None:
                self._open(kept, each)
            else:
                self._write(kept, each)
        return kept.number == entry.number

    def _find(self, event_id: str) -> _Kept | None:
        number = self._numbers.get(event_id)
        return None if number is None else self._kept[number]

    def _add(self, record: Record) -> _Kept:
        kept = self._kept[self._next] = _Kept(self._next, record)
        self._numbers[record.event_id] = kept.number
        insort(self._settled, kept.number)
        self._next += 1
        self.changes.added.append((kept.number, record))
        return kept

    def _write(self, kept: _Kept, delivery: Delivery) -> None:
        if delivery.record is not kept.record:
            delivery = replace(delivery, record=kept.record)
        kept.deliveries[delivery.handler] = delivery
        self.changes.written.append((kept.number, delivery))

    def _open(self, kept: _Kept, delivery: Delivery) -> None:
        self._write(kept, delivery)
        self._handlers.setdefault(delivery.handler, Pending()).add(kept.record.kind, kept.number, delivery.next_at)
        if not kept.unsettled:
            del self._settled[bisect_left(self._settled, kept.number)]
            self._unsettled.add(kept.record.kind, kept.number)
        kept.unsettled += 1

    def _close(self, kept: _Kept, known: Delivery) -> bool:
        """Take a delivery from what is pending; whether that was its event's last."""
        pending = self._handlers[known.handler]
        pending.remove(kept.record.kind, kept.number, known.next_at)
        if not pending:
            del self._handlers[known.handler]
        kept.unsettled -= 1
        if not kept.unsettled:
            self._unsettled.remove(kept.record.kind, kept.number)
            insort(self._settled, kept.number)
            self._forget()
        return not kept.unsettled

    def _make_room(self, handlers: Iterable[str], now: datetime) -> list[Delivery]:
        dropped = []
        for handler in handlers:
            while (pending := self._handlers.get(handler)) and len(pending) > self._most_pending:
                dropped.append(self._drop(pending.by_importance.least(), handler, now))
        while len(self._unsettled) > self._most_events:
            number = self._unsettled.least()
            unsettled = sorted(each.handler for each in self._kept[number].deliveries.values() if each.outcome is None)
            dropped += [self._drop(number, handler, now) for handler in unsettled]
        self._forget()
        return dropped

    def _drop(self, number: int, handler: str, now: datetime) -> Delivery:
        kept = self._kept[number]
        known = kept.deliveries[handler]
        self._write(kept, replace(known, outcome=Outcome.DROPPED, settled_at=now))
        dropped = kept.deliveries[handler]
        self._close(kept, known)
        return dropped

    def _forget(self) -> None:
        while len(self._settled) > self._most_settled:
            # The oldest event, whenever it was settled: what is shown is the newest.
            number = self._settled.pop(0)
            del self._numbers[self._kept[number].record.event_id], self._kept[number]
            self.changes.deleted.append(number)
