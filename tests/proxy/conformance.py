"""What the conformance suite drives a core with. Any core that is registered must pass `test_conformance_*.py`."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import entry_points

import pytest

from exporter.certcheck.slot import Observation
from exporter.proxy.core import Call, CoreFactory, Failure, Fields, Upstream, UpstreamError, UpstreamRequest
from exporter.proxy.headers import lines, split
from exporter.target import Target

REGISTERED = {point.name: point for point in entry_points(group="certgauge.proxy_cores")}

HOST = (b"host", b"orders.internal")


@dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    interim: list[tuple[int, Fields]]


class Response:
    """What a core answers, for a coroutine to read; and whether the core takes what is sent."""

    def __init__(self) -> None:
        self.status = 0
        self.fields = b""
        self.interim: list[tuple[int, Fields]] = []
        self.protocol: bytes | None = None
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.call: Call
        self._parts: deque[bytes] = deque()
        self._held = 0
        self._over: Exception | bool | None = False
        self._changed = asyncio.Event()

    async def begun(self) -> None:
        """Wait for the head.

        Raises:
            UpstreamError: there is none.
        """
        await self._until(lambda: self.status > 0)

    async def body(self) -> AsyncIterator[bytes]:
        """The content; it is taken as fast as it is read."""
        while True:
            await self._until(lambda: bool(self._parts))
            if not self._parts:
                return
            while self._parts:
                part = self._parts.popleft()
                self._held -= len(part)
                yield part
            self.call.resume()

    def fail(self, exc: Exception) -> None:
        self._over = exc
        self._changed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and self._over is False:
            self._changed.clear()
            await self._changed.wait()
        if isinstance(self._over, Exception) and not condition():
            raise self._over

    # What the core tells.

    def informed(self, status: int, fields: Fields) -> None:
        self.interim.append((status, fields))
        self._changed.set()

    def began(self, status: int, fields: Fields, length: int | None, content: bytes = b"") -> None:
        assert self.status == 0
        self.status, self.fields = status, fields
        if content:
            self.received(content)
        self._changed.set()

    def switched(self, protocol: bytes, fields: Fields) -> None:
        self.status, self.protocol, self.fields = 101, protocol, fields
        self._changed.set()

    def received(self, data: bytes) -> None:
        assert data
        assert self.status
        assert self._over is False
        self._parts.append(data)
        self._held += len(data)
        if self._held > 65536:
            self.call.pause()
        self._changed.set()

    def ended(self) -> None:
        assert self._over is False
        self._over = None
        self._changed.set()

    def failed(self, failure: Failure) -> None:
        assert self._over is False
        self.fail(UpstreamError(failure))

    def pause(self) -> None:
        self.may_send.clear()

    def resume(self) -> None:
        self.may_send.set()


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

    @asynccontextmanager
    async def forward(
        self,
        upstream: Upstream,
        method: str = "GET",
        target: bytes = b"/",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: AsyncIterator[bytes] | None = None,
        upgrade: bytes | None = None,
    ) -> AsyncIterator[Response]:
        """Send a request: enter for the response, leave to be done with it. What the body raises ends it."""
        response = Response()
        asked = request(method, target, headers, body, upgrade)
        call = response.call = self.core.call(upstream, asked, response)
        sending = asyncio.get_running_loop().create_task(_send(response, body)) if body is not None else None
        try:
            await response.begun()
            yield response
        finally:
            call.cancel()
            if sending is not None:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending

    async def ask(
        self,
        upstream: Upstream,
        method: str = "GET",
        target: bytes = b"/",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: AsyncIterator[bytes] | None = None,
    ) -> Answer:
        """Send a request, and read the whole response."""
        async with self.forward(upstream, method, target, headers, body) as response:
            content = b"".join([part async for part in response.body()])
            return Answer(response.status, split(response.fields), content, response.interim)

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


async def _send(response: Response, body: AsyncIterator[bytes]) -> None:
    try:
        async for part in body:
            await response.may_send.wait()
            if part:
                response.call.send(part)
            # As the event loop would: between two parts, everybody else has a turn.
            await asyncio.sleep(0)
        response.call.end()
    except Exception as exc:  # the test's own, to be seen where it reads
        response.call.cancel()
        response.fail(exc)


def request(
    method: str = "GET",
    target: bytes = b"/",
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: AsyncIterator[bytes] | None = None,
    upgrade: bytes | None = None,
) -> UpstreamRequest:
    """A request with a Host field."""
    fields = [HOST, *headers]
    length = next((int(value) for name, value in fields if name == b"content-length"), None)
    return UpstreamRequest(method, target, lines(fields), length if body is not None else 0, upgrade=upgrade)


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    """A body that is there at once."""
    for chunk in chunks:
        yield chunk
