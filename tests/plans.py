"""Plans for gateways without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from exporter.certcheck.certificate import Certificate, InvalidReason, Reading
from exporter.certcheck.cooldown import MemoryCooldowns
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.fail_open import FailOpenCooldowns
from exporter.certcheck.inventory import Inventory
from exporter.certcheck.ports import CooldownStore, Observer
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import Tally
from exporter.certcheck.usage import Usage
from exporter.durations import Durations
from exporter.gateway import Api, Gateway
from exporter.monitor import MonitorPorts
from exporter.plan import ApiPlan, MonitorPlan
from exporter.proxy.core import Failure, Fields, Upstream, UpstreamRequest
from exporter.target import Target
from tests.fakes import NOON, FakeClock, FakeCore, RecordingSink

REQUEST = UpstreamRequest("GET", b"/", b"")
QUICK = ExpiryPolicy(flush_interval=timedelta(milliseconds=20), check_cooldown=timedelta(0))


def certificate(left: timedelta, cert_id: str = "a" * 64, name: str = "orders") -> Certificate:
    """A certificate with `left` to go at noon."""
    return Certificate(cert_id, NOON - timedelta(days=300), NOON + left, common_name=name)


def reading(left: timedelta, cert_id: str = "a" * 64) -> Reading:
    return Reading(certificate(left, cert_id))


UNREADABLE = Reading(None, InvalidReason.UNREADABLE, "orders.pem: empty")


def plan(
    api_id: str = "orders",
    *chain: Reading,
    policy: ExpiryPolicy | None = QUICK,
    unusable: str | None = None,
    listen_path: str | None = None,
    cert_ref: str = "orders-client",
) -> ApiPlan:
    """A plan whose own certificate is `chain`; `policy` None disables monitoring."""
    own = [Observation(api_id, Role.UPSTREAM, chain, cert_ref, "orders.internal", 8443)] if chain else []
    return ApiPlan(
        api_id=api_id,
        listen_path=(listen_path or f"/{api_id}/").encode(),
        strip_listen_path=True,
        preserve_host_header=False,
        upstream=Upstream(
            api_id,
            Target("https", "orders.internal", 8443, "/"),
            None,
            observation=own[0] if own and policy else None,
            usage=own[0].usage if own else Usage(),
        ),
        monitor=MonitorPlan(policy, tuple(own)) if policy else None,
        unusable=unusable,
        unfit={},
        clients=None,
        fingerprint=chain,
        definition={},
    )


@dataclass
class World:
    """A gateway and all that it was given."""

    clock: FakeClock = field(default_factory=FakeClock)
    sink: RecordingSink = field(default_factory=RecordingSink)
    tally: Tally = field(default_factory=Tally)
    durations: Durations = field(default_factory=Durations)
    cooldowns: CooldownStore | None = None
    limit: int = 20_000
    drain_timeout_seconds: float = 5.0
    core: FakeCore = field(init=False)
    inventory: Inventory = field(init=False)

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Gateway]:
        self.inventory = Inventory(self.tally, self.limit)
        cooldowns = FailOpenCooldowns(self.cooldowns or MemoryCooldowns(self.clock), self.clock, self.tally)
        ports = MonitorPorts(self.clock, cooldowns, self.sink, self.tally, self.inventory)
        async with Gateway(self._core, ports, self.durations, self.drain_timeout_seconds) as gateway:
            yield gateway

    def _core(self, observer: Observer) -> FakeCore:
        self.core = FakeCore(observer)
        return self.core

    async def events(self, count: int) -> list[str]:
        """Wait until so many events have arrived; their kinds."""
        async with asyncio.timeout(10):
            while len(self.sink.events) < count:
                self.sink.arrived.clear()
                await self.sink.arrived.wait()
        return self.sink.kinds


class Used:
    """Takes the answer to one request."""

    def __init__(self, api: Api) -> None:
        self.over = asyncio.Event()
        self._api = api

    def informed(self, status: int, fields: Fields) -> None: ...

    def began(self, status: int, fields: Fields, length: int | None, content: bytes = b"") -> None:
        assert status == 200

    def switched(self, protocol: bytes, fields: Fields) -> None: ...

    def received(self, data: bytes) -> None: ...

    def ended(self) -> None:
        self._api.end()
        self.over.set()

    def failed(self, failure: Failure) -> None:
        raise AssertionError(failure)

    def pause(self) -> None: ...

    def resume(self) -> None: ...


async def use(gateway: Gateway, api_id: str) -> None:
    """One request through the gateway."""
    api = gateway.apis[api_id]
    used = Used(api)
    gateway.call(api, REQUEST, used)
    await used.over.wait()
