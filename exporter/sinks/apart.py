"""A thread for one call: what hangs in it holds up neither the threads that others share nor the end of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def apart(function: Callable[[], T]) -> T:
    """The result of a call that blocks. Cancelled, it goes on by itself, and nobody hears of it."""
    done: Future[T] = Future()

    def run() -> None:
        if done.set_running_or_notify_cancel():
            try:
                done.set_result(function())
            except BaseException as exc:  # whoever waits is to have it
                done.set_exception(exc)

    Thread(target=run, name="webhook", daemon=True).start()
    return await asyncio.wrap_future(done)
