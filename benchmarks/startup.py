"""How long certgauge takes until it is ready, and how much memory it needs, by the number of APIs."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.nginx import upstream
from benchmarks.processes import get
from benchmarks.site import Site, api_id, certgauge
from benchmarks.tables import spread, table

TITLE = "Start and memory"
TEXT = """\
From the start of the process until `/ready` answers 200 (asked every 5 ms). Each API has a file, a client certificate
of its own, and an upstream that demands it; the CA is shared. Memory is the proportional set size, {settle:g} s after
that, and once more after one request to each API, whose connections to the upstream stay open. {rounds} rounds, the
sizes in turn.
"""
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Size:
    apis: tuple[int, ...] = (0, 100, 1_000)
    rounds: int = 5
    settle_seconds: float = 3.0


QUICK = Size(apis=(0, 5), rounds=1, settle_seconds=0.1)


@dataclass(slots=True)
class Measured:
    apis: int
    seconds: list[float] = field(default_factory=list)
    idle_bytes: list[float] = field(default_factory=list)
    used_bytes: list[float] = field(default_factory=list)

    def row(self, none: Measured) -> list[str]:
        seconds, idle, used = (median(each) for each in (self.seconds, self.idle_bytes, self.used_bytes))
        cells = [f"{self.apis:,}", spread(self.seconds, ".2f"), f"{seconds / median(none.seconds):.2f}"]
        cells += [f"{idle / _MIB:.1f}", f"{used / _MIB:.1f}"]
        if not self.apis:
            return [*cells, "", ""]
        return [*cells, *(f"{(most - median(none.idle_bytes)) / self.apis / 1024:.0f}" for most in (idle, used))]


def report(size: Size) -> str:
    """The section of the results."""
    measured = [Measured(apis) for apis in size.apis]
    with tempfile.TemporaryDirectory(prefix="certgauge-bench-") as name, ExitStack() as stack:
        site = Site(Path(name))
        port = stack.enter_context(upstream(site)).port
        for _ in range(size.rounds):
            for each in measured:
                _start(site, port, each, size.settle_seconds)
    head = ["APIs", "ready after, s", "ratio", "idle, MiB", "each API used once, MiB", "per API idle, KiB", "used, KiB"]
    text = TEXT.format(settle=size.settle_seconds, rounds=size.rounds)
    return f"{TITLE}\n\n{text}\n{table(head, (each.row(measured[0]) for each in measured))}"


def _start(site: Site, upstream_port: int, measured: Measured, settle_seconds: float) -> None:
    configuration = site.configure(f"startup-{measured.apis}", measured.apis, upstream=upstream_port)
    with certgauge(configuration) as served:
        measured.seconds.append(served.ready_after_seconds)
        # Until every batcher has flushed for the first time.
        time.sleep(settle_seconds)
        measured.idle_bytes.append(served.pss_bytes())
        for number in range(measured.apis):
            status, body = get(configuration.proxy, f"/{api_id(number)}/")
            if status != 200:
                raise RuntimeError(f"{api_id(number)} answered {status}: {body!r}")
        measured.used_bytes.append(served.pss_bytes())
