"""The proxy's endpoint on a real listener, as the composition root puts it there, and a client on a raw socket."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from exporter.app import utc_now
from exporter.certcheck.cooldown import FailOpenCooldowns, MemoryCooldowns
from exporter.certcheck.inventory import Inventory
from exporter.certcheck.tally import Tally
from exporter.durations import ClientKey, Durations, Histogram, ServerKey
from exporter.gateway import Gateway
from exporter.listener import bind, serving
from exporter.monitor import MonitorPorts
from exporter.plan import ApiPlan
from exporter.proxy.aiohttp import AiohttpCore
from exporter.proxy.core import CoreFactory, Upstream
from exporter.proxy.endpoint import application
from exporter.target import Target
from tests.fakes import RecordingSink


def api(
    port: int = 1,
    api_id: str = "orders",
    *,
    host: str = "127.0.0.1",
    path: str = "/",
    listen_path: bytes = b"/orders/",
    tls: Callable[[], ssl.SSLContext] | None = None,
    timeout_seconds: float = 10.0,
    strip_listen_path: bool = True,
    preserve_host_header: bool = False,
    unusable: str | None = None,
    client_certificates: bool = False,
) -> ApiPlan:
    """A plan made by hand, without monitoring."""
    target = Target("https" if tls else "http", host, port, path)
    return ApiPlan(
        api_id=api_id,
        listen_path=listen_path,
        strip_listen_path=strip_listen_path,
        preserve_host_header=preserve_host_header,
        upstream=Upstream(api_id, target, tls, timeout_seconds),
        monitor=None,
        unusable=unusable,
        client_certificates=client_certificates,
        fingerprint=None,
        definition={},
    )


@dataclass
class Reply:
    """A response as it came over the wire."""

    raw: bytes

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Front:
    """A listener with its gateway."""

    port: int
    gateway: Gateway
    server: dict[ServerKey, Histogram] = field(default_factory=dict)
    """What was measured; there once the listener is closed, for a response may be with its client before it counts."""
    client: dict[ClientKey, Histogram] = field(default_factory=dict)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def send(self, request: bytes) -> Reply:
        """Send these bytes; what comes until the connection is closed."""
        async with self.connection() as (reader, writer):
            writer.write(request)
            return Reply(await reader.read())

    async def get(self, target: bytes, *fields: bytes, method: bytes = b"GET") -> Reply:
        """One request without content on a connection of its own."""
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: gateway.example", b"Connection: close", *fields]
        return await self.send(b"\r\n".join(lines) + b"\r\n\r\n")


@asynccontextmanager
async def front(*plans: ApiPlan, core: CoreFactory = AiohttpCore) -> AsyncIterator[Front]:
    """Serve these APIs."""
    tally, durations = Tally(), Durations()
    cooldowns = FailOpenCooldowns(MemoryCooldowns(utc_now), utc_now, tally)
    ports = MonitorPorts(utc_now, cooldowns, RecordingSink(), tally, Inventory(tally, 1000))
    async with asyncio.timeout(60), Gateway(core, ports, durations, 0.2) as gateway:
        app = application(gateway, durations)
        with bind("127.0.0.1:0") as bound:
            await gateway.load(*plans)
            proxy = Front(bound.getsockname()[1], gateway)
            async with serving(app, bound, None, 1):
                yield proxy
            proxy.server, proxy.client = dict(durations.server), dict(durations.client)
