"""certgauge's fast core behind an ASGI server: what a task and an ASGI cycle for each request cost, and nothing else.

It does less than certgauge: no API is matched, nothing is monitored or measured, no head is checked.
`python -m benchmarks.peer_asgi DIRECTORY UPSTREAM PORT`
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from exporter.certificates.tls import Pair, client_context
from exporter.proxy.core import Failure, Fields, Upstream, UpstreamRequest
from exporter.proxy.headers import lines, split
from exporter.proxy.httptools import HttptoolsCore
from exporter.target import Target

HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}


class Answer:
    """What the core tells, as messages of ASGI."""

    def __init__(self) -> None:
        self.messages: deque[dict[str, Any]] = deque()
        self.arrived = asyncio.Event()

    def tell(self, **message: Any) -> None:
        self.messages.append(message)
        self.arrived.set()

    def informed(self, status: int, fields: Fields) -> None: ...

    def began(self, status: int, fields: Fields, length: int | None, content: bytes = b"") -> None:
        del length
        self.tell(type="http.response.start", status=status, headers=split(fields))
        if content:
            self.received(content)

    def switched(self, protocol: bytes, fields: Fields) -> None: ...

    def received(self, data: bytes) -> None:
        self.tell(type="http.response.body", body=data, more_body=True)

    def ended(self) -> None:
        self.tell(type="http.response.body", body=b"", more_body=False)

    def failed(self, failure: Failure) -> None:
        raise RuntimeError(failure)

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Endpoint:
    """A raw ASGI application."""

    def __init__(self, core: HttptoolsCore, upstream: Upstream) -> None:
        self._core = core
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = [field for field in scope["headers"] if field[0] not in HOP_BY_HOP]
        length = next((int(value) for name, value in fields if name == b"content-length"), 0)
        answer = Answer()
        request = UpstreamRequest(scope["method"], scope["raw_path"], lines(fields), length)
        call = self._core.call(self._upstream, request, answer)
        more = length > 0
        while more:
            message = await receive()
            if body := message.get("body"):
                call.send(body)
            more = message.get("more_body", False)
        if length:
            call.end()
        more = True
        while more:
            while not answer.messages:
                answer.arrived.clear()
                await answer.arrived.wait()
            message = answer.messages.popleft()
            await send(message)
            more = message.get("more_body", True)


async def main(directory: Path, port: int, upstream: int) -> None:
    """Serve until the process is ended."""
    client = directory / "client.pem"
    pair, anchors = Pair(client.read_bytes(), client.read_bytes(), b""), (directory / "ca.pem").read_bytes()
    target = Upstream("asgi", Target("https", "127.0.0.1", upstream, "/"), lambda: client_context(pair, anchors))
    core = HttptoolsCore(lambda _: None)
    await core.apply([target])
    config = uvicorn.Config(
        Endpoint(core, target), port=port, http="httptools", lifespan="off", log_level="warning", access_log=False
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[2])))
