"""A call that a task carries: for cores on a library whose client is made of coroutines."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from exporter.proxy.core import Fields, Responder, UpstreamError, UpstreamRequest
from exporter.proxy.headers import split

_MOST_HELD = 64 * 1024


class Response(Protocol):
    """A response whose header section has arrived."""

    @property
    def status(self) -> int: ...

    @property
    def fields(self) -> Fields:
        """The end-to-end ones."""
        ...

    @property
    def length(self) -> int | None:
        """Of the content; None: unknown."""
        ...

    def body(self) -> AsyncIterator[bytes]:
        """The content as it arrives, undecoded.

        Raises:
            UpstreamError: it ended early.
        """
        ...


class TaskCall:
    """What is sent waits until the task takes it; what is received waits as long as the client takes no more."""

    def __init__(self, request: UpstreamRequest, responder: Responder) -> None:
        self._responder = responder
        self._expects = any(name.lower() == b"expect" for name, _ in split(request.fields))
        self._held: deque[bytes] = deque([request.content] if request.content else [])
        self._size = len(request.content)
        self._complete = request.length == 0
        self._arrived = asyncio.Event()
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()
        self._is_over = False
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup, response: AbstractAsyncContextManager[Response]) -> None:
        """Carry it: enter for the response, leave to be done with it. Leaving early ends the call to the upstream."""
        self._task = tasks.create_task(self._carry(response), name="call")

    async def content(self) -> AsyncIterator[bytes]:
        """The request's content, as it arrives."""
        if self._expects:
            # That it is asked for is the upstream's word that it may come.
            self._responder.informed(100, b"")
        while self._held or not self._complete:
            while self._held:
                data = self._held.popleft()
                self._size -= len(data)
                yield data
            self._responder.resume()
            self._arrived.clear()
            if not self._complete:
                await self._arrived.wait()

    # What the client's side tells.

    def send(self, data: bytes) -> None:
        self._held.append(data)
        self._size += len(data)
        self._arrived.set()
        if self._size > _MOST_HELD:
            self._responder.pause()

    def end(self) -> None:
        self._complete = True
        self._arrived.set()

    def pause(self) -> None:
        self._may_go_on.clear()

    def resume(self) -> None:
        self._may_go_on.set()

    def cancel(self) -> None:
        if not self._is_over:
            self._is_over = True
            assert self._task is not None
            self._task.cancel()

    async def _carry(self, entering: AbstractAsyncContextManager[Response]) -> None:
        try:
            async with entering as response:
                # Whoever has answered asks for no content any more, and nothing interim may come behind an answer.
                self._expects = False
                self._responder.began(response.status, response.fields, response.length)
                async for part in response.body():
                    self._responder.received(part)
                    await self._may_go_on.wait()
        except UpstreamError as exc:
            if not self._is_over:
                self._is_over = True
                self._responder.failed(exc.failure)
        else:
            self._is_over = True
            self._responder.ended()
