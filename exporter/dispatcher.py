"""Announcements on their way: written down, handed to every handler that is to have them, and tried again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Self

from exporter.attempts import Attempt, Delivered, Failed, Retry, RetryPolicy
from exporter.certcheck.announcer import LEASE
from exporter.certcheck.events import EventKind, ExpiryEvent
from exporter.certcheck.ports import Clock, CooldownStore, EventSink
from exporter.certcheck.tally import Tally
from exporter.delivery import Handler, Routes, names_in, record_of
from exporter.outbox import Delivery, Outbox, Outcome, Record
from exporter.steady import SteadyClock

log = logging.getLogger(__name__)

SHUTDOWN = timedelta(seconds=3)
"""How long the end of the process may be held up by what is still to be delivered."""

_RENEWAL = LEASE / 3
_LONGEST_NAP = timedelta(seconds=30)


class Dispatcher:
    """Takes announcements, and delivers them at least once to each of their handlers, for a day.

    An async context manager. A task for each handler that has something to do: one that is slow delays no other. What
    a handler that is configured no more has still to take, it still gets.
    """

    def __init__(
        self,
        outbox: Outbox,
        cooldowns: CooldownStore,
        logs: EventSink,
        *,
        tally: Tally,
        clock: Clock,
        policy: RetryPolicy,
    ) -> None:
        self._outbox = outbox
        self._cooldowns = cooldowns
        self._logs = logs
        self._tally = tally
        self._now = SteadyClock(clock)
        self._policy = policy
        self._everywhere: tuple[str, ...] = ()
        """Those that have every event."""
        self._handlers: dict[str, Handler] = {}
        self._replaced: dict[str, list[Handler]] = {}
        """To be closed by the worker of that name, which is in the middle of no attempt then."""
        self._routes: Routes = {}
        self._named: frozenset[str] = frozenset()
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._stopping = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.create_task(self._renew(), name="renew claims")
        return self

    async def __aexit__(self, *_raised: object) -> None:
        self._stopping.set()
        for news in self._news.values():
            news.set()
        if self._workers:
            _, late = await asyncio.wait(self._workers.values(), timeout=SHUTDOWN.total_seconds())
            for worker in late:
                # What it was about stays written down.
                worker.cancel()
        await self._tasks.__aexit__(None, None, None)
        for name in (*self._replaced, *self._handlers):
            await self._close(name, *self._replaced.pop(name, ()))
        for name, handler in self._handlers.items():
            await self._close(name, handler)

    def tell_all(self, name: str, handler: Handler) -> None:
        """Have a handler told of every event."""
        self._everywhere += (name,)
        self._handlers[name] = handler

    async def use(self, handlers: Mapping[str, Handler], routes: Routes) -> None:
        """Deliver by these from now on.

        Those that no route names any more get what was meant for them, and are closed. What is meant for those that
        are named, but are not there, waits.
        """
        self._routes = routes
        self._named = names_in(routes)
        known, self._handlers = self._handlers, {**self._handlers, **handlers}
        for name in known.keys() & self._named - handlers.keys() - set(self._everywhere):
            del self._handlers[name]
        for name, each in known.items():
            if self._handlers.get(name) is not each:
                self._replaced.setdefault(name, []).append(each)
        gone = [name for name in self._handlers if not self._is_named(name)]
        for name in {*self._replaced, *gone, *self._outbox.backlog()}:
            self._wake(name)

    async def emit(self, event: ExpiryEvent) -> bool:
        await self._logs.emit(event)
        # Also where nobody is told: it is shown among the last.
        await self.put(record_of(event), self.told(event.slot.api_id, event.kind))
        return False

    def pending(self) -> dict[str, int]:
        """How many deliveries wait, for each handler that is named or still has some. From any thread."""
        return {**dict.fromkeys((*self._everywhere, *self._named), 0), **self._outbox.backlog()}

    def told(self, api_id: str | None, kind: EventKind) -> tuple[str, ...]:
        """The names of those who are told of such an event."""
        return (*self._everywhere, *self._routes.get(api_id, {}).get(kind, ()))

    async def put(self, record: Record, names: Collection[str]) -> None:
        """Write an announcement down and have it delivered."""
        dropped = await self._outbox.put(record, names)
        for each in dropped:
            self._count(each, "dropped")
        if dropped:
            log.error("events were dropped: too many wait to be delivered", extra={"events": len(dropped)})
        for name in names:
            self._wake(name)
        # What was delivered before the process ended, and whose cooldown was not started.
        await self._settle(await self._outbox.settled([record.event_id, *(each.record.event_id for each in dropped)]))

    def _wake(self, name: str) -> None:
        if name in self._news:
            self._news[name].set()
        elif not self._stopping.is_set():
            self._news[name] = asyncio.Event()
            self._workers[name] = self._tasks.create_task(self._work(name), name=f"deliver {name}")

    async def _work(self, name: str) -> None:
        """Deliver until nothing is pending; another announcement begins anew."""
        try:
            await self._deliver_all(name, self._news[name])
        finally:
            # In the same step as the last look at the news: what comes after it starts another.
            del self._news[name], self._workers[name]

    async def _deliver_all(self, name: str, news: asyncio.Event) -> None:
        while True:
            news.clear()
            await self._close(name, *self._replaced.pop(name, ()))
            try:
                busy = await self._deliver_due(name)
                at = await self._outbox.next_at(name)
            except Exception:  # a bug in one handler must not end the others; what it was about stays pending
                log.exception("delivering failed", extra={"handler": name})
                busy, at = False, self._now() + _LONGEST_NAP
            if at is None:
                await self._retire(name)
            if busy or news.is_set():
                continue
            if at is None or self._stopping.is_set():
                return
            await self._nap(news, at)

    async def _nap(self, news: asyncio.Event, until: datetime) -> None:
        """Wait for news or for the time to come; looked at again now and then, for a clock may be set."""
        seconds = min(until - self._now(), _LONGEST_NAP).total_seconds()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.0)):
                await news.wait()

    async def _retire(self, name: str) -> None:
        """Close a handler that is configured no more, now that it has had what was meant for it."""
        if not self._is_named(name) and name in self._handlers:
            await self._close(name, self._handlers.pop(name))

    async def _close(self, name: str, *handlers: Handler) -> None:
        for each in handlers:
            try:
                await each.close()
            except Exception:  # the others are to go on, and to be closed
                log.exception("a handler was not closed", extra={"handler": name})

    async def _deliver_due(self, name: str) -> bool:
        """One attempt, if one is due; False: none was."""
        now = self._now()
        handler = self._handlers.get(name)
        deliveries = await self._outbox.due(name, now, handler.at_once if handler else 100)
        if not deliveries:
            return False
        if handler is None:
            attempts: Sequence[Attempt] = [self._unheld(name)] * len(deliveries)
        else:
            attempts = await handler.deliver(deliveries, now)
        await self._note(deliveries, attempts)
        return True

    def _unheld(self, name: str) -> Attempt:
        """A handler that cannot be used now may be later; one that nobody names any more will not be."""
        return (
            Retry(None, "the handler cannot be used")
            if self._is_named(name)
            else Failed("the handler is not configured any more")
        )

    def _is_named(self, name: str) -> bool:
        return name in self._named or name in self._everywhere

    async def _note(self, deliveries: Sequence[Delivery], attempts: Sequence[Attempt]) -> None:
        now = self._now()
        # One draw for all: what was refused together is tried again together, not one by one ever after.
        drawn = self._policy.random()
        policy = replace(self._policy, random=lambda: drawn)
        noted = [_after(*each, now, policy) for each in zip(deliveries, attempts, strict=True)]
        settled = await self._outbox.attempted(noted)
        for each in noted:
            self._count(each, _COUNTED[each.outcome])
            if _COUNTED[each.outcome] == "failed":
                self._tell(each)
        await self._settle(settled)

    def _tell(self, delivery: Delivery) -> None:
        extra = {"event_id": delivery.record.event_id, "handler": delivery.handler, "error": delivery.error}
        log.error("event was not delivered", extra=extra)

    def _count(self, delivery: Delivery, outcome: str) -> None:
        handler = delivery.handler.rpartition("/")[2]
        self._tally.deliveries[delivery.record.api_id, handler, outcome] += 1

    async def _settle(self, records: Sequence[Record]) -> None:
        """Start the cooldowns of what everybody has been told of, or will not be."""
        for record in records:
            if record.key is not None and record.cooldown:
                await self._cooldowns.start(record.key, record.cooldown)

    async def _renew(self) -> None:
        """Hold on to the claims of what is still to be delivered: else another replica would tell it, too."""
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_RENEWAL.total_seconds()):
                    await self._stopping.wait()
            try:
                keys = [record.key for record in await self._outbox.pending() if record.key is not None]
                # Also without any: a store that is back is noticed by being asked.
                await self._cooldowns.renew(keys, LEASE)
            except Exception:  # a lapsed claim means a duplicate, and the next renewal comes soon
                log.exception("claims were not renewed")


_COUNTED: Mapping[Outcome | None, str] = {
    None: "retried",
    Outcome.DELIVERED: "delivered",
    Outcome.FAILED: "failed",
    Outcome.EXPIRED: "failed",
    Outcome.DROPPED: "dropped",
}


def _after(delivery: Delivery, attempt: Attempt, now: datetime, policy: RetryPolicy) -> Delivery:
    attempts = delivery.attempts + 1
    match attempt:
        case Delivered():
            return replace(delivery, attempts=attempts, error="", outcome=Outcome.DELIVERED, settled_at=now)
        case Failed(error):
            return replace(delivery, attempts=attempts, error=error, outcome=Outcome.FAILED, settled_at=now)
        case Retry(after, error):
            at = policy.next_at(attempts, delivery.record.announced_at, now, after)
            if at is None:
                return replace(delivery, attempts=attempts, error=error, outcome=Outcome.EXPIRED, settled_at=now)
            return replace(delivery, attempts=attempts, error=error, next_at=at)
