"""The proxy's endpoint on a real listener, as the composition root puts it there, and a client on a raw socket."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from exporter.app import utc_now
from exporter.certcheck.cooldown import MemoryCooldowns
from exporter.certcheck.fail_open import FailOpenCooldowns
from exporter.certcheck.inventory import Inventory
from exporter.certcheck.ports import Clock
from exporter.certcheck.tally import Tally
from exporter.durations import ClientKey, Durations, Histogram, ServerKey
from exporter.gateway import Gateway
from exporter.listener import bind
from exporter.monitor import MonitorPorts
from exporter.plan import ApiPlan
from exporter.proxy.clients import ClientPolicy
from exporter.proxy.core import CoreFactory, Upstream
from exporter.proxy.exchange import Proxy
from exporter.proxy.front import Front as Connection
from exporter.proxy.handling import Limits
from exporter.proxy.httptools import HttptoolsCore
from exporter.proxy.listening import listening
from exporter.target import Target
from tests.fakes import RecordingSink

NOBODY = ClientPolicy("orders", frozenset({b"a certificate"}), {}, lambda _: [], observes=False)


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
        unfit={},
        unusable=unusable,
        clients=NOBODY if client_certificates else None,
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

    @property
    def content(self) -> bytes:
        """The body, without chunks where it is in some."""
        return dechunked(self.body) if b"transfer-encoding: chunked" in self.head.lower() else self.body


def dechunked(body: bytes) -> bytes:
    """The content of a whole body in chunks, without trailers."""
    content = b""
    while (size := int(body[: body.index(b"\r\n")], 16)) > 0:
        start = body.index(b"\r\n") + 2
        content += body[start : start + size]
        body = body[start + size + 2 :]
    assert body == b"0\r\n\r\n"
    return content


def replies(raw: bytes) -> list[Reply]:
    """Responses one after another."""
    return [Reply(b"HTTP/1.1 " + each) for each in raw.split(b"HTTP/1.1 ")[1:]]


@dataclass
class Front:
    """A listener with its gateway."""

    port: int
    gateway: Gateway
    shared: Proxy
    """What its connections share."""
    trust: ssl.SSLContext | None = None
    """What a client connects with; None: without TLS."""
    server: dict[ServerKey, Histogram] = field(default_factory=dict)
    """What was measured; there once the listener is closed, for a response may be with its client before it counts."""
    client: dict[ClientKey, Histogram] = field(default_factory=dict)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection that takes as good as nothing until it is read from."""
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(_unblocked(narrow), ("127.0.0.1", self.port))
        name = "127.0.0.1" if self.trust else None
        reader, writer = await asyncio.open_connection(sock=narrow, ssl=self.trust, server_hostname=name, limit=1024)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def heard(self, size: int) -> None:
        """Wait until there is a connection that keeps so many bytes of a head."""
        await self._seen(lambda each: len(each._buffer) == size)

    async def serving(self) -> None:
        """Wait until a request is being served."""
        await self._seen(lambda each: each._exchange is not None)

    async def holding_back(self) -> None:
        """Wait until no more is read from a client."""
        await self._seen(lambda each: not each._link.is_reading)

    async def _seen(self, state: Callable[[Connection], bool]) -> None:
        while not any(map(state, self.shared._connections)):  # noqa: ASYNC110 (nobody is told of it)
            await asyncio.sleep(0)

    def untaken(self) -> int:
        """How many bytes wait for clients to take them."""
        return sum(each._link.transport.get_write_buffer_size() for each in self.shared._connections)

    async def deserted(self) -> None:
        """Wait until no client's connection is left."""
        await self.shared._gone()

    async def send(self, request: bytes) -> Reply:
        """Send these bytes; what comes until the connection is closed."""
        async with self.connection() as (reader, writer):
            writer.write(request)
            return Reply(await reader.read())

    async def get(self, target: bytes, *fields: bytes, method: bytes = b"GET") -> Reply:
        """One request without content on a connection of its own."""
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: gateway.example", b"Connection: close", *fields]
        return await self.send(b"\r\n".join(lines) + b"\r\n\r\n")


def _unblocked(each: socket.socket) -> socket.socket:
    each.setblocking(False)
    return each


@asynccontextmanager
async def front(
    *plans: ApiPlan,
    core: CoreFactory = HttptoolsCore,
    tls: ssl.SSLContext | None = None,
    trust: ssl.SSLContext | None = None,
    most_connections: int = 1000,
    clock: Clock = utc_now,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    drain_seconds: float = 1,
) -> AsyncIterator[Front]:
    """Serve these APIs."""
    tally, durations = Tally(), Durations()
    cooldowns = FailOpenCooldowns(MemoryCooldowns(clock), clock, tally)
    ports = MonitorPorts(clock, cooldowns, RecordingSink(), tally, Inventory(tally, 1000))
    async with asyncio.timeout(60), Gateway(core, ports, durations, 0.2) as gateway:
        with bind("127.0.0.1:0") as bound:
            await gateway.load(*plans)
            shared = Proxy(gateway, durations, clock, None, most_connections, limits=limits)
            proxy = Front(bound.getsockname()[1], gateway, shared, trust)
            async with listening(shared, bound, tls, drain_seconds):
                yield proxy
            proxy.server, proxy.client = dict(durations.server), dict(durations.client)
