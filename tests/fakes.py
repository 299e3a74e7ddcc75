"""Fakes of the ports: a few lines each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from exporter.certcheck.events import ExpiryEvent
from exporter.certcheck.ports import CooldownKey, Observer
from exporter.proxy.core import Headers, Upstream, UpstreamRequest, UpstreamResponse

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

    async def emit(self, event: ExpiryEvent) -> None:
        if self.failing is not None:
            self.refused.set()
            raise self.failing
        self.events.append(event)
        self.arrived.set()

    @property
    def kinds(self) -> list[str]:
        return [event.kind.value for event in self.events]


class FailingCooldowns:
    """A store that is down. `asked_often` is set with the fourth call."""

    def __init__(self) -> None:
        self.asked_often = asyncio.Event()
        self._calls = 0

    async def try_start(self, key: CooldownKey, duration: timedelta) -> bool:
        self._calls += 1
        if self._calls == 4:
            self.asked_often.set()
        raise ConnectionError("redis://:canary@store")

    async def clear(self, key: CooldownKey) -> None:
        raise ConnectionError("redis://:canary@store")


class EchoResponse:
    """200, with nothing."""

    status = 200

    def __init__(self) -> None:
        self.headers: Headers = []

    async def body(self) -> AsyncIterator[bytes]:
        yield b""


class FakeCore:
    """A core without a network: answers 200, or waits for `gate` first."""

    def __init__(self, observer: Observer) -> None:
        self.observe = observer
        self.upstreams: set[Upstream] = set()
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def apply(self, upstreams: Collection[Upstream]) -> None:
        self.upstreams = set(upstreams)

    async def close(self) -> None:
        self.upstreams = set()

    @asynccontextmanager
    async def forward(self, upstream: Upstream, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
        if upstream.observation is not None:
            self.observe(upstream.observation)
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        yield EchoResponse()
