"""What watching tens of thousands of files costs, and whether a request feels it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles

import uvloop

from benchmarks.nginx import upstream
from benchmarks.processes import BODY, Served, get, turned
from benchmarks.scrape import longest_pause
from benchmarks.site import Configuration, Site, api_id, certgauge
from benchmarks.tables import spread, table
from tests.authority import KEYS, Authority, Issued

_PROBED = (sys.executable, "-m", "benchmarks.probed")
_REQUEST = b"GET /%s/hello HTTP/1.1\r\nHost: benchmark\r\n\r\n" % api_id(0).encode()
_MIB = 1024 * 1024
_NOTICED_WITHIN_SECONDS = 60

NONE, WATCHED = "without", "with"

TITLE = "Watching files"
TEXT = """\
One API behind mTLS, without `watch` and with a glob of {files:,} files of one certificate each, in turn, {rounds}
rounds of fresh processes. {rate} requests per second over {connections} kept connections for {seconds:g} s; their time
counts from when they were due. Meanwhile {changed_per_second} of the watched files are replaced each second, in both.
The longest pause of the event loop is measured in {seconds:g} s without requests, CPU in {seconds:g} s with neither
requests nor probe. Noticed is a changed file when `/certs/{{cert_id}}` answers 200 for what it holds now.
"""


@dataclass(frozen=True, slots=True)
class Size:
    files: int = 20_000
    rounds: int = 2
    seconds: float = 8.0
    rate: int = 200
    connections: int = 4
    changed_per_second: int = 3
    noticed: int = 2


QUICK = Size(files=50, rounds=1, seconds=0.5, noticed=1)


@dataclass(slots=True)
class Measured:
    ready_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    pause_ms: list[float] = field(default_factory=list)
    cpu_percent: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)
    noticed_s: list[float] = field(default_factory=list)


_ROWS = (
    ("ready after, s", "ready_s", ".2f"),
    ("a request, p50, ms", "p50_ms", ".2f"),
    ("a request, p99, ms", "p99_ms", ".2f"),
    ("longest pause of the loop, ms", "pause_ms", ".1f"),
    ("CPU when idle, %", "cpu_percent", ".1f"),
    ("memory, MiB", "mib", ".0f"),
    ("a change noticed after, s", "noticed_s", ".1f"),
)


class _Watched:
    """The files, and certificates to put into them."""

    def __init__(self, directory: Path, files: int) -> None:
        self._authority, self._key = Authority("watched CA"), KEYS["ec"]()
        self._numbers = count()
        directory.mkdir()
        self._paths = [directory / f"{number:05}.pem" for number in range(files)]
        for path in self._paths:
            path.write_bytes(self.issue().pem)

    def issue(self) -> Issued:
        return self._authority.issue(f"service-{next(self._numbers)}", key=self._key)

    def replace(self, issued: Issued) -> None:
        """Put it into the next file: by renaming, as whoever renews does."""
        path = self._paths[next(self._numbers) * 7919 % len(self._paths)]
        fresh = path.with_suffix(".new")
        fresh.write_bytes(issued.pem)
        fresh.rename(path)


def report(size: Size) -> str:
    """The section of the results."""
    measured = {NONE: Measured(), WATCHED: Measured()}
    with tempfile.TemporaryDirectory(prefix="certgauge-bench-") as name, ExitStack() as stack:
        site = Site(Path(name))
        port = stack.enter_context(upstream(site)).port
        watched = _Watched(Path(name) / "watched", size.files)
        for number in range(size.rounds):
            for which in turned([NONE, WATCHED], number):
                configuration = _configure(site, which, port, size)
                with certgauge(configuration, _PROBED) as served:
                    _measure(measured[which], served, configuration, watched, size, notices=which == WATCHED)
    head = ["", NONE, WATCHED, "ratio"]
    text = TEXT.format(**asdict(size))
    return f"{TITLE}\n\n{text}\n{table(head, _rows(measured[NONE], measured[WATCHED]))}"


def _rows(without: Measured, watched: Measured) -> Iterator[list[str]]:
    for title, name, form in _ROWS:
        one, other = getattr(without, name), getattr(watched, name)
        ratio = f"{median(other) / median(one):.2f}" if one and median(one) else ""
        yield [title, spread(one, form) if one else "", spread(other, form), ratio]


def _configure(site: Site, which: str, port: int, size: Size) -> Configuration:
    configuration = site.configure(which, 1, upstream=port)
    text = configuration.file.read_text().replace("{enabled: true}", f"{{max_certificates: {2 * size.files}}}")
    watch = f'watch: ["{site.directory}/watched/*.pem"]\n' if which == WATCHED else ""
    configuration.file.write_text(text + watch)
    return configuration


def _measure(
    into: Measured, served: Served, configuration: Configuration, watched: _Watched, size: Size, *, notices: bool
) -> None:
    into.ready_s.append(served.ready_after_seconds)
    uvloop.run(_load(configuration.proxy, size, watched))  # to warm up
    times = sorted(uvloop.run(_load(configuration.proxy, size, watched)))
    into.p50_ms.append(1000 * median(times))
    into.p99_ms.append(1000 * quantiles(times, n=100)[98])
    into.pause_ms.append(longest_pause(served, lambda: _change(watched, size)))
    before, started_at = served.cpu_seconds(), time.perf_counter()
    _change(watched, size)
    into.cpu_percent.append(100 * (served.cpu_seconds() - before) / (time.perf_counter() - started_at))
    into.mib.append(served.pss_bytes() / _MIB)
    for _ in range(size.noticed if notices else 0):
        into.noticed_s.append(_noticed(configuration, watched))


def _change(watched: _Watched, size: Size) -> None:
    """Replace a few files each second, for as long as is measured."""
    ends_at = time.perf_counter() + size.seconds
    while time.perf_counter() < ends_at:
        watched.replace(watched.issue())
        time.sleep(1 / size.changed_per_second)


def _noticed(configuration: Configuration, watched: _Watched) -> float:
    issued = watched.issue()
    watched.replace(issued)
    changed_at = time.perf_counter()
    while get(configuration.admin, f"/certs/{issued.cert_id}")[0] != 200:
        if time.perf_counter() - changed_at > _NOTICED_WITHIN_SECONDS:
            raise RuntimeError("a changed file was not noticed")
        time.sleep(0.05)
    return time.perf_counter() - changed_at


async def _load(port: int, size: Size, watched: _Watched) -> list[float]:
    """Seconds of each request."""
    times: list[float] = []
    async with asyncio.TaskGroup() as group:
        for number in range(size.connections):
            group.create_task(_one_connection(port, number, size, times))
        group.create_task(_changing(watched, size))
    return times


async def _one_connection(port: int, number: int, size: Size, times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    period = size.connections / size.rate
    due_at = time.perf_counter() + period * number / size.connections
    ends_at = due_at + size.seconds
    while due_at < ends_at:
        await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"not the upstream's response: {head!r}")
        await reader.readexactly(len(BODY))
        times.append(time.perf_counter() - due_at)
        due_at += period
    writer.close()
    await writer.wait_closed()


async def _changing(watched: _Watched, size: Size) -> None:
    for _ in range(int(size.seconds * size.changed_per_second)):
        watched.replace(watched.issue())
        await asyncio.sleep(1 / size.changed_per_second)
