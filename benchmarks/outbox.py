"""How many events go through the outbox in a second, and how much memory those take that nobody has taken yet."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psutil
import uvloop

from benchmarks.tables import spread, table
from exporter.certcheck.events import EventKind
from exporter.certcheck.ports import CooldownKey
from exporter.certcheck.slot import Role
from exporter.outbox import Outbox, Outcome, Record
from exporter.state.database import Database
from exporter.state.file import StateFile
from exporter.state.memory_outbox import MemoryOutbox
from exporter.state.outbox import SqliteOutbox

MEMORY, SQLITE = "memory", "SQLite"
HANDLERS = ("otlp", "orders/ops", "orders/chat")
_NOW = datetime(2026, 11, 24, 2, 33, 40, tzinfo=UTC)
_MIB = 1024 * 1024

TITLE = "The outbox"
TEXT = """\
Events of 20 fields, as in docs/events.md, for one handler each: put, found due, and settled as delivered, by so many at
once; the loop is uvloop. With SQLite, put and settled each return when they are on the disk; those that wait at once
share a transaction. The file is in the system's directory for temporary files. {rounds} rounds of {events:,} events,
{alone:,} with one at a time.
"""
PENDING = """\
{pending:,} events for {handlers} handlers, pending, in a process of its own. Before is the same process with everything
imported. Peak is the most that was resident meanwhile; again is a new process that has found them in the file, and how
long it took to read them. The pause is the most that a probe on the loop, which sleeps 1 ms at a time, woke late while
100 at once put them.
"""


@dataclass(frozen=True, slots=True)
class Size:
    events: int = 10_000
    alone: int = 2_000
    rounds: int = 5
    pending: int = 10_000


QUICK = Size(events=200, alone=20, rounds=1, pending=100)


@dataclass(slots=True)
class Probe:
    """Sleeps a millisecond at a time; `longest` is the most it woke late, in ms."""

    longest: float = 0.0
    stopped: bool = False

    async def run(self) -> None:
        while not self.stopped:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, 1000 * (time.perf_counter() - due))


@dataclass(slots=True)
class Measured:
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, lines: Iterable[str]) -> None:
        for name, value in (line.split() for line in lines):
            self.values.setdefault(name, []).append(float(value))

    def shown(self, name: str) -> str:
        return f"{median(self.values[name]):,.1f}" if name in self.values else ""


def report(size: Size) -> str:
    """The section of the results."""
    with tempfile.TemporaryDirectory(prefix="certgauge-bench-") as name:
        speed = [_speed(which, at_once, size, Path(name)) for which in (MEMORY, SQLITE) for at_once in (1, 10, 100)]
        pending = [_pending(which, size, Path(name)) for which in (MEMORY, SQLITE)]
    head = ["", "at once", "events per second"]
    text = TEXT.format(rounds=size.rounds, events=size.events, alone=size.alone)
    more = PENDING.format(pending=size.pending, handlers=len(HANDLERS))
    columns = ["before", "with", "peak", "again", "read_ms", "pause_ms", "file"]
    titles = ["", "before, MiB", "with them, MiB", "peak, MiB", "again, MiB", "read in, ms", "longest pause, ms"]
    rows = [
        [which, *(each.shown(name) for name in columns)] for which, each in zip((MEMORY, SQLITE), pending, strict=True)
    ]
    return f"{TITLE}\n\n{text}\n{table(head, speed)}\n{more}\n{table([*titles, 'file, MiB'], rows)}"


def _speed(which: str, at_once: int, size: Size, directory: Path) -> list[str]:
    events = size.alone if at_once == 1 else size.events
    found = [uvloop.run(_per_second(which, at_once, events, directory)) for _ in range(size.rounds)]
    return [which, str(at_once), spread(found, ",.0f")]


async def _per_second(which: str, at_once: int, events: int, directory: Path) -> float:
    records = [record(number) for number in range(events)]
    with tempfile.TemporaryDirectory(dir=directory) as name:
        async with _opened(which, Path(name)) as outbox:
            started_at = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for worker in range(at_once):
                    # A handler of its own, so that what it finds due is what it has put.
                    group.create_task(_work(outbox, records[worker::at_once], f"orders/{worker}"))
            return events / (time.perf_counter() - started_at)


async def _work(outbox: Outbox, records: Iterable[Record], handler: str) -> None:
    for each in records:
        await outbox.put(each, [handler])
        due = await outbox.due(handler, _NOW, 1)
        settled = [replace(found, attempts=1, outcome=Outcome.DELIVERED, settled_at=_NOW) for found in due]
        if len(await outbox.attempted(settled)) != 1:
            raise RuntimeError("the event was not settled")


@asynccontextmanager
async def _opened(which: str, directory: Path) -> AsyncIterator[Outbox]:
    if which == MEMORY:
        yield MemoryOutbox()
        return

    def failed() -> None:
        raise RuntimeError("the file could not be written")

    database = Database(StateFile(directory / "state.sqlite3"), failed)
    outbox = SqliteOutbox(database)
    await database.open()
    yield outbox
    await database.close()


def record(number: int) -> Record:
    """An event as large as they are."""
    cert_id, name = f"{number:064x}", f"service-{number}.internal.example.com"
    payload = {
        "event": "CertificateExpiringSoon",
        "event_id": f"a6f8a885-bf06-4b09-8108-{number:012x}",
        "api_id": "orders",
        "cert_id": cert_id,
        "cert_role": "upstream",
        "cert_name": name,
        "cert_ref": f"service-{number}",
        "message": "Upstream certificate will expire in 10 days",
        "timestamp": f"{_NOW:%Y-%m-%dT%H:%M:%SZ}",
        "expires_at": f"{_NOW + timedelta(days=10):%Y-%m-%dT%H:%M:%SZ}",
        "days_remaining": 10,
        "issuer": f"CN=Orders CA {number},O=Example",
        "serial_number": f"{number:040x}",
        "server_address": name,
        "server_port": 8443,
        "requests_last_hour": 4711,
        "used_by": [
            {"api_id": "orders", "last_observed_at": f"{_NOW:%Y-%m-%dT%H:%M:%SZ}", "requests_last_hour": 4711 + number}
        ],
    }
    semantic: dict[str, str | int] = {
        "tls.client.subject": f"CN={name}",
        "tls.client.issuer": f"CN=Orders CA {number},O=Example",
        "tls.client.hash.sha256": cert_id.upper(),
    }
    kind = EventKind.EXPIRING_SOON
    key = CooldownKey("orders", Role.UPSTREAM, cert_id, kind)
    return Record(str(payload["event_id"]), "orders", kind, _NOW, payload, semantic, key, timedelta(days=1))


def _pending(which: str, size: Size, directory: Path) -> Measured:
    measured = Measured()
    for round_ in range(min(3, size.rounds)):
        place = directory / f"pending-{round_}"
        place.mkdir(exist_ok=True)
        for verb in ("put", "again") if which == SQLITE else ("put",):
            command = [sys.executable, "-m", "benchmarks.outbox", which, verb, str(place), str(size.pending)]
            measured.add(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())
    return measured


async def _fill(which: str, directory: Path, count: int) -> None:
    process, probe = psutil.Process(), Probe()
    _say("before", process.memory_info().rss / _MIB)
    async with _opened(which, directory) as outbox, asyncio.TaskGroup() as group:
        group.create_task(probe.run())
        async with asyncio.TaskGroup() as putters:
            for first in range(100):
                putters.create_task(_put(outbox, range(first, count, 100)))
        probe.stopped = True
        if await outbox.backlog() != dict.fromkeys(HANDLERS, count):
            raise RuntimeError("not everything is pending")
        _say("pause_ms", probe.longest)
        _say("with", process.memory_info().rss / _MIB)
    _say("peak", _peak())


async def _put(outbox: Outbox, numbers: Iterable[int]) -> None:
    for number in numbers:
        await outbox.put(record(number), HANDLERS)
        await asyncio.sleep(0)


async def _read(which: str, directory: Path, count: int) -> None:
    started_at = time.perf_counter()
    async with _opened(which, directory) as outbox:
        _say("read_ms", 1000 * (time.perf_counter() - started_at))
        if await outbox.backlog() != dict.fromkeys(HANDLERS, count):
            raise RuntimeError("not everything was found")
        _say("again", psutil.Process().memory_info().rss / _MIB)


def _peak() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _say(name: str, value: float) -> None:
    print(name, value)


if __name__ == "__main__":
    _, _which, _verb, _place, _count = sys.argv
    # As in the gateway.
    gc.set_threshold(20_000, 20, 50)
    uvloop.run((_fill if _verb == "put" else _read)(_which, Path(_place), int(_count)))
    for _file in Path(_place).glob("*.sqlite3") if _verb == "put" else ():
        _say("file", _file.stat().st_size / _MIB)
