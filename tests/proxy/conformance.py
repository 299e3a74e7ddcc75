"""What the conformance suite drives a core with. Any core that is registered must pass `test_conformance_*.py`."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points

import pytest

from exporter.certcheck.slot import Observation
from exporter.proxy.core import CoreFactory, Failure, Headers, Upstream, UpstreamError, UpstreamRequest
from exporter.target import Target

REGISTERED = {point.name: point for point in entry_points(group="certgauge.proxy_cores")}

HOST = (b"host", b"orders.internal")


@dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    headers: Headers
    body: bytes


class Caller:
    """A core, and the few verbs that tests use it with."""

    def __init__(self, factory: CoreFactory) -> None:
        self.observed: list[Observation | None] = []
        self.core = factory(self.observed.append)
        self._upstreams: list[Upstream] = []

    async def to(
        self,
        port: int,
        tls: Callable[[], ssl.SSLContext] | None = None,
        *,
        host: str = "127.0.0.1",
        timeout_seconds: float = 10.0,
        observation: Observation | None = None,
    ) -> Upstream:
        """Have the core serve one upstream more."""
        target = Target("https" if tls else "http", host, port, "/")
        self._upstreams.append(Upstream("orders", target, tls, timeout_seconds, observation))
        await self.core.apply(self._upstreams)
        return self._upstreams[-1]

    async def drop(self, upstream: Upstream) -> None:
        """Have the core serve one upstream less."""
        self._upstreams.remove(upstream)
        await self.core.apply(self._upstreams)

    async def ask(
        self,
        upstream: Upstream,
        method: str = "GET",
        target: bytes = b"/",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: AsyncIterator[bytes] | None = None,
    ) -> Answer:
        """Send a request, and read the whole response."""
        async with self.core.forward(upstream, request(method, target, headers, body)) as response:
            return Answer(response.status, response.headers, b"".join([part async for part in response.body()]))

    async def failure(
        self,
        upstream: Upstream,
        method: str = "GET",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: AsyncIterator[bytes] | None = None,
    ) -> Failure:
        """Send a request that fails."""
        with pytest.raises(UpstreamError) as caught:
            await self.ask(upstream, method, b"/", headers, body)
        return caught.value.failure


def request(
    method: str = "GET",
    target: bytes = b"/",
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: AsyncIterator[bytes] | None = None,
) -> UpstreamRequest:
    """A request with a Host field."""
    return UpstreamRequest(method, target, [HOST, *headers], body)


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    """A body that is there at once."""
    for chunk in chunks:
        yield chunk
