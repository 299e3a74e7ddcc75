"""Fakes of the ports: a few lines each."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from exporter.certcheck.events import ExpiryEvent
from exporter.certcheck.ports import CooldownKey, Observer
from exporter.proxy.core import Call, Responder, Upstream, UpstreamRequest

NOON = datetime(2026, 1, 27, 12, tzinfo=UTC)


class FakeClock:
    """A clock that moves when told."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


class RecordingSink:
    """Keeps every event; fails as long as `failing` is set."""

    def __init__(self) -> None:
        self.events: list[ExpiryEvent] = []
        self.failing: Exception | None = None
        self.arrived = asyncio.Event()
        self.refused = asyncio.Event()

    async def emit(self, event: ExpiryEvent) -> bool:
        if self.failing is not None:
            self.refused.set()
            raise self.failing
        self.events.append(event)
        self.arrived.set()
        return True

    @property
    def kinds(self) -> list[str]:
        return [event.kind.value for event in self.events]


class FailingCooldowns:
    """A store that is down. `asked_often` is set with the fourth call."""

    def __init__(self) -> None:
        self.asked_often = asyncio.Event()
        self._calls = 0

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        return self._fail()

    async def renew(self, keys: Collection[CooldownKey], lease: timedelta) -> None:
        self._fail()

    async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
        self._fail()

    async def release(self, key: CooldownKey) -> None:
        self._fail()

    async def close(self) -> None:
        self._fail()

    def _fail(self) -> NoReturn:
        self._calls += 1
        if self._calls == 4:
            self.asked_often.set()
        raise ConnectionError("redis://:canary@store")


class FakeCall:
    """A call that is answered with an empty 200, when its core lets it."""

    def __init__(self, core: FakeCore, responder: Responder) -> None:
        self.responder = responder
        self._core = core

    def answer(self) -> None:
        if self in self._core.calls:
            self._core.calls.remove(self)
            self.responder.began(200, b"content-length: 0\r\n", 0)
            self.responder.ended()

    def send(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def cancel(self) -> None:
        if self in self._core.calls:
            self._core.calls.remove(self)


class FakeCore:
    """A core without a network: answers 200 at once, or when `open` is called."""

    def __init__(self, observer: Observer) -> None:
        self.observe = observer
        self.upstreams: set[Upstream] = set()
        self.gated = False
        self.calls: list[FakeCall] = []
        self.entered = asyncio.Event()

    async def apply(self, upstreams: Collection[Upstream]) -> None:
        self.upstreams = set(upstreams)

    async def close(self) -> None:
        self.upstreams = set()

    def call(self, upstream: Upstream, request: UpstreamRequest, responder: Responder) -> Call:
        if upstream.observation is not None:
            self.observe(upstream.observation)
        call = FakeCall(self, responder)
        self.calls.append(call)
        self.entered.set()
        if not self.gated:
            asyncio.get_running_loop().call_soon(call.answer)
        return call

    def open(self) -> None:
        """Answer what is waiting, and what comes."""
        self.gated = False
        for call in list(self.calls):
            call.answer()
