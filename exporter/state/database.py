"""The one thread that uses the state file, and what becomes of what it cannot write."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from exporter.state.file import Change, Found, Reader, StateFile
from exporter.state.schema import RefusedError

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 1_000
_MOST_WAITING = 20_000


class Kept(Reader, Protocol):
    """What is in memory, whole, and in the file so that it outlasts the process. `read` is for the file's thread."""

    def restore(self, found: list[Any]) -> bool:
        """Take in what the file held. Returns whether the file has to be written anew to hold the same."""
        ...

    def everything(self) -> Change:
        """What empties the file of this, and writes all of it. Must not look at what changes later."""
        ...


class _Kind(Enum):
    OPEN = auto()
    WRITE = auto()
    REPLACE = auto()
    CLOSE = auto()


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    kind: _Kind
    done: asyncio.Future[Found | Exception | None]
    change: Change = ()


class Database:
    """Writes changes in order, those that wait together in one transaction.

    Memory is what counts, and the file its copy: when something cannot be written, nothing more is, until all can be
    written anew. That is tried every few seconds. Until then the process goes on with what it has in memory.
    """

    def __init__(
        self,
        file: StateFile,
        failed: Callable[[], None],
        *,
        patience: timedelta = timedelta(seconds=5),
        retry: timedelta = timedelta(seconds=5),
    ) -> None:
        self.failing = False
        """Whether what is in memory now would be lost with the process."""
        self._file = file
        self._count = failed
        self._patience = patience.total_seconds()
        self._retry_after = retry.total_seconds()
        self._kept: list[Kept] = []
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._waiting = 0
        self._writes = False
        self._read = False
        self._refused: RefusedError | None = None
        self._recovery: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._work, name="state", daemon=True)

    def keep(self, kept: Kept) -> None:
        """Have something kept in the file. Before `open`."""
        self._kept.append(kept)

    async def open(self) -> None:
        """Start, with what the file holds; or without, if it cannot be had within the time there is.

        Raises:
            RefusedError: the file must not be used. Nothing has been started.
        """
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        await self.recover()
        if self._refused is not None:
            await self.close()
            raise self._refused
        if self._recovery is not None:
            self._failed(TimeoutError())

    async def write(self, change: Change) -> None:
        """Write a change down, and wait until it is: no longer than the time there is, and not while failing."""
        if done := self.note(change):
            await asyncio.wait([done], timeout=self._patience)
            if not done.done():
                self._failed(TimeoutError())

    def note(self, change: Change) -> asyncio.Future[Any] | None:
        """Write a change down, after what came before it and before what comes later. None: it is not written now."""
        if not self._writes:
            return None
        if self._waiting >= _MOST_WAITING:
            self._failed(TimeoutError())
            return None
        return self._submit(_Kind.WRITE, change, self._written)

    async def recover(self) -> None:
        """Try to write all that is kept anew, or to open the file, and wait for that."""
        self._retry()
        if self._recovery is not None:
            await asyncio.wait([self._recovery], timeout=self._patience)

    async def close(self) -> None:
        """Write down what is not yet, and end: within twice the time there is, done or not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self.write(())
                if self.failing:
                    await self.recover()
        self._writes = False
        self._stop_timer()
        done = self._submit(_Kind.CLOSE)
        await asyncio.wait([done], timeout=self._patience)
        if done.done():
            # It has nothing left to do. One that hangs in the disk is left to end with the process.
            self._thread.join(1)

    # On the loop: one attempt to recover at a time, each step when the one before has been answered.

    def _retry(self) -> None:
        self._stop_timer()
        if self._recovery is None:
            self._recovery = self._loop.create_future()
            self._submit(_Kind.OPEN, (), self._opened)

    def _opened(self, done: asyncio.Future[Found | Exception | None]) -> None:
        found = done.result()
        if isinstance(found, RefusedError) and not self._read and not self.failing:
            self._refused = found
            self._recovered()
        elif isinstance(found, Found):
            differs = [kept.restore(items) for kept, items in zip(self._kept, found.items, strict=True) if items]
            if self._read or self.failing or found.damaged or any(differs):
                # From here on changes follow it, in order.
                self._submit(_Kind.REPLACE, [each for kept in self._kept for each in kept.everything()], self._replaced)
            else:
                self._recovered()
            self._writes = self._read = True
        elif found is not None:
            self._failed(found)
            self._recovered()

    def _replaced(self, done: asyncio.Future[Found | Exception | None]) -> None:
        if isinstance(exc := done.result(), Exception):
            self._failed(exc)
        elif self.failing:
            self.failing = False
            log.info("state file works again; everything is written down", extra={"file": self._file.name})
        self._recovered()

    def _recovered(self) -> None:
        if self._recovery is not None:
            self._recovery.set_result(None)
            self._recovery = None

    def _written(self, done: asyncio.Future[Found | Exception | None]) -> None:
        self._waiting -= 1
        # What failed with others, or came behind them, is the same failure.
        if isinstance(exc := done.result(), Exception) and self._writes:
            self._failed(exc)

    def _failed(self, exc: Exception) -> None:
        self._writes = False
        self._count()
        if not self.failing:
            self.failing = True
            # The name of the error only: its text may quote what was to be written.
            error = getattr(exc, "sqlite_errorname", type(exc).__name__)
            log.warning("state file failed; state is kept in memory", extra={"file": self._file.name, "error": error})
        if self._timer is None:
            self._timer = self._loop.call_later(self._retry_after, self._retry)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _submit(
        self,
        kind: _Kind,
        change: Change = (),
        then: Callable[[asyncio.Future[Found | Exception | None]], None] | None = None,
    ) -> asyncio.Future[Found | Exception | None]:
        done: asyncio.Future[Found | Exception | None] = self._loop.create_future()
        if then is not None:
            done.add_done_callback(then)
        self._waiting += kind is _Kind.WRITE
        self._jobs.put(_Job(kind, done, change))
        return done

    # In the thread.

    def _work(self) -> None:
        job: _Job | None = None
        while True:
            job = job or self._jobs.get()
            if job.kind is _Kind.WRITE:
                jobs, job = self._together(job)
                self._answer(jobs, self._attempt(partial(self._file.write, _joined(jobs))))
                continue
            self._answer([job], self._attempt(self._other(job)))
            if job.kind is _Kind.CLOSE:
                return
            job = None

    def _other(self, job: _Job) -> Callable[[], Found | None]:
        match job.kind:
            case _Kind.OPEN:
                return partial(self._file.open, self._kept)
            case _Kind.REPLACE:
                return partial(self._file.replace, job.change)
            case _:
                return self._file.close

    def _together(self, first: _Job) -> tuple[list[_Job], _Job | None]:
        """Every write that waits by now, to share one transaction; and a job of another kind that came behind them."""
        jobs = [first]
        while len(jobs) < _MOST_AT_ONCE:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job.kind is not _Kind.WRITE:
                return jobs, job
            jobs.append(job)
        return jobs, None

    def _attempt(self, work: Callable[[], Found | None]) -> Found | Exception | None:
        try:
            return work()
        except Exception as exc:  # the thread must survive: whatever it is, it is tried again, and counted
            if not isinstance(exc, OSError | sqlite3.Error | RefusedError):
                log.debug("state file failed", exc_info=exc)
            return exc

    def _answer(self, jobs: Sequence[_Job], result: Found | Exception | None) -> None:
        # A loop that has been closed, after waiting long enough, has no use for an answer.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_resolve, jobs, result)


def _joined(jobs: Sequence[_Job]) -> Change:
    return list(itertools.chain.from_iterable(job.change for job in jobs))


def _resolve(jobs: Sequence[_Job], result: Found | Exception | None) -> None:
    for job in jobs:
        if not job.done.done():
            job.done.set_result(result)
