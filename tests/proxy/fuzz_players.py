"""Who plays a scene: its clients, its upstream, and a proxy between them on real sockets."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from exporter.proxy.core import CoreFactory
from exporter.proxy.handling import Limits
from tests.proxy.front import Front, api, front
from tests.proxy.fuzz_judge import REQUEST, Got, Message, content_of, fields_of, judge, judge_upstream
from tests.proxy.fuzz_scenes import Answer, Client, Scene, segments
from tests.proxy.upstreams import Wire, upstream

BOUND_SECONDS = 5.0
"""For whatever somebody waits for."""

GONE = (OSError, RuntimeError)
"""What a stream raises whose other end has left: the latter is uvloop's."""

PATIENT = Limits(head=BOUND_SECONDS, content=BOUND_SECONDS, idle=BOUND_SECONDS)
HASTY = Limits(head=0.2, content=0.2, idle=0.2, stalled=1.0, linger=0.2)


async def turns(number: int) -> None:
    """Let everybody else on this loop go on: a proxy reads segments one by one."""
    for _ in range(number):
        await asyncio.sleep(0)


@dataclass
class Upstream:
    """Answers each request as the scene has it; what cannot be a request, or the beginning of one, fails."""

    scene: Scene
    seen: list[Message] = field(default_factory=list)

    async def __call__(self, wire: Wire) -> None:
        with suppress(*GONE):
            data: bytes | None = b""
            while data is not None:
                data = await self._request(wire, data)

    async def _request(self, wire: Wire, data: bytes) -> bytes | None:
        """Read a request and answer it. What has come behind it; None: there is to be no other."""
        while (found := REQUEST.match(data)) is None:
            assert b"\r\n\r\n" not in data, data
            if not (more := await wire.reader.read(65536)):
                return None
            data += more
        at = len(self.seen)
        self.seen.append(Message(b"%b %b" % (found[1], found[2]), fields_of(found[3]), b"", complete=False))
        answer = self.scene.answer(self.seen[at].number)
        if answer.early:
            await self._answer(wire, answer, self.seen[at])
        elif b"expect" in self.seen[at].fields:
            await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        rest = await self._content(wire, at, data[found.end() :])
        if rest is None:
            return None
        if not answer.early:
            await self._answer(wire, answer, self.seen[at])
        return rest if await self._keeps(wire, answer) else None

    async def _content(self, wire: Wire, at: int, data: bytes) -> bytes | None:
        while True:
            content, complete, rest = content_of(self.seen[at].fields, data)
            self.seen[at] = replace(self.seen[at], content=content, complete=complete)
            if complete:
                return rest
            if not (more := await wire.reader.read(65536)):
                return None
            data += more

    async def _keeps(self, wire: Wire, answer: Answer) -> bool:
        if answer.ending == "reset" and not wire.writer.is_closing():
            wire.reset()
        if answer.unasked:
            # Until the proxy closes, which it does instead of asking for more.
            assert await wire.reader.read(65536) == b""
        return answer.ending == "kept" and not answer.unasked

    async def _answer(self, wire: Wire, answer: Answer, request: Message) -> None:
        method = request.start.partition(b" ")[0].decode()
        for segment in segments(answer.message(request.number or 0, method), answer.cuts):
            await wire.send(segment)
            await turns(answer.pace)


async def behave(proxy: Front, client: Client, numbers: list[int]) -> Got:
    """Send a client's requests, and read what comes until the connection ends or the client leaves."""
    got = Got(has_good_end=client.leaves is None)
    how, at = client.leaves or ("", 0)
    async with proxy.connection() as (reader, writer), asyncio.timeout(BOUND_SECONDS):
        left = asyncio.Event()

        async def send() -> None:
            last = len(numbers) - 1
            pairs = zip(client.requests, numbers, strict=True)
            whole = b"".join(request.message(n, last=i == last) for i, (request, n) in enumerate(pairs))
            with suppress(*GONE):
                for segment in segments(whole[:at] if how == "sent" else whole, client.cuts):
                    writer.write(segment)
                    await writer.drain()
                    await turns(client.pace)
            if how == "sent":
                left.set()

        async def read() -> None:
            try:
                while (part := await reader.read(65536)) and not (how == "received" and len(got.data) >= at):
                    got.data += part
            except ConnectionError:
                got.has_good_end = False
            left.set()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(send()), group.create_task(read())]
            await left.wait()
            writer.transport.abort()
            if how:
                for task in tasks:
                    task.cancel()
    return got


def is_aiohttps(context: dict[str, Any]) -> bool:
    """Whether it is what that library's task says that sends a request's content, and that nobody asks."""
    return "write_bytes" in repr(context.get("future")) and isinstance(context.get("exception"), aiohttp.ClientError)


async def play(scene: Scene, core: CoreFactory) -> None:
    """Have it all happen on a proxy of its own, and judge it."""
    faults: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None if is_aiohttps(context) else faults.append(context))
    server = Upstream(scene)
    limits = HASTY if scene.is_mutated else PATIENT
    async with upstream(server) as raw, front(api(raw.port, timeout_seconds=2), core=core, limits=limits) as proxy:
        async with asyncio.TaskGroup() as group:
            tasks = [
                (client, numbers, group.create_task(behave(proxy, client, numbers)))
                for client, numbers in scene.numbered()
            ]
        async with asyncio.timeout(BOUND_SECONDS):
            await proxy.deserted()
        assert {each._in_flight for each in proxy.gateway.apis.values()} == {0}
    for client, numbers, task in tasks:
        judge(scene, client, numbers, task.result())
    judge_upstream(scene, server.seen)
    assert faults == [], faults


def what_is_open() -> set[str]:
    """What the process's descriptors and the loop's tasks are."""
    found = {task.get_name() for task in asyncio.all_tasks()}
    for descriptor in Path("/proc/self/fd").iterdir():
        # The directory's own is gone again.
        with suppress(FileNotFoundError):
            found.add(str(descriptor.readlink()))
    return found


async def play_and_leave_nothing(scene: Scene, core: CoreFactory) -> None:
    """Have it all happen, and see that nothing is left of it."""
    before = what_is_open()
    await play(scene, core)
    ends_at = time.monotonic() + BOUND_SECONDS
    # What is closed is gone when the loop has come round to it.
    while what_is_open() > before and time.monotonic() < ends_at:  # noqa: ASYNC110
        await asyncio.sleep(0)
    left = what_is_open() - before
    assert left == set(), left
