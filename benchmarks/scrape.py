"""What a scrape of /metrics costs: CPU, bytes, and how long it keeps the event loop from everything else."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.processes import Served, get
from benchmarks.site import Site, certgauge
from benchmarks.tables import spread, table

_PROBED = (sys.executable, "-m", "benchmarks.probed")

TITLE = "Scraping /metrics"
TEXT = """\
Half as many APIs as slots, each with a client certificate of its own and the CA of its upstream: two slots. Nothing is
proxied meanwhile. The loop is uvloop. A probe on it sleeps 1 ms at a time; the longest pause is the most it woke late,
for {seconds:g} s without a scrape and {seconds:g} s of one scrape after the other, in turn, {rounds} rounds. CPU is
measured with the probe off; what the process uses when it idles is taken off it, and stands in the last column, in
percent of a CPU. An idle process still looks at its files once a second, and judges its certificates twice a minute.
"""


@dataclass(frozen=True, slots=True)
class Size:
    slots: tuple[int, ...] = (1_000, 2_000, 10_000)
    rounds: int = 7
    seconds: float = 3.0


QUICK = Size(slots=(20,), rounds=1, seconds=0.2)


@dataclass(slots=True)
class Measured:
    slots: int
    series: int = 0
    size: int = 0
    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    idle_percent: list[float] = field(default_factory=list)
    idle_pause_ms: list[float] = field(default_factory=list)
    scraping_pause_ms: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        return [
            f"{self.slots:,}",
            f"{self.series:,}",
            f"{self.size:,}",
            spread(self.cpu_ms),
            spread(self.wall_ms),
            spread(self.scraping_pause_ms),
            spread(self.idle_pause_ms),
            f"{median(self.idle_percent):.1f}",
        ]


def report(size: Size) -> str:
    """The section of the results."""
    with tempfile.TemporaryDirectory(prefix="certgauge-bench-") as name:
        site = Site(Path(name))
        measured = [_measure(site, slots, size) for slots in size.slots]
    head = ["slots", "certificate series", "bytes", "CPU per scrape, ms", "time of a scrape, ms"]
    head += ["longest pause while scraping, ms", "without, ms", "idle CPU, %"]
    least, most = measured[0], measured[-1]
    grows = (
        f"From {least.slots:,} to {most.slots:,} slots the CPU of a scrape grows by a factor of "
        f"{median(most.cpu_ms) / median(least.cpu_ms):.1f}.\n"
    )
    text = TEXT.format(seconds=size.seconds, rounds=size.rounds)
    return f"{TITLE}\n\n{text}\n{table(head, (each.row() for each in measured))}\n{grows if most is not least else ''}"


def _measure(site: Site, slots: int, size: Size) -> Measured:
    measured = Measured(slots)
    configuration = site.configure(f"scrape-{slots}", slots // 2)

    def scrape() -> None:
        status, body = get(configuration.admin, "/metrics")
        lines = [line for line in body.splitlines() if line.startswith(b"certificate_") and b"cert_role" in line]
        gauges = [line for line in lines if b"_total{" not in line]
        states = sum(line.startswith(b"certificate_state{") for line in gauges)
        if status != 200 or states != slots:
            raise RuntimeError(f"status {status} with {states} of {slots} slots")
        measured.series, measured.size = len(gauges), len(body)

    def scrape_on() -> int:
        ends_at, scrapes = time.perf_counter() + size.seconds, 0
        while time.perf_counter() < ends_at:
            get(configuration.admin, "/metrics")
            scrapes += 1
        return scrapes

    with certgauge(configuration, _PROBED) as served:
        for _ in range(3):
            scrape()
        for _ in range(size.rounds):
            idle_cpu, idle_seconds, _ = _cpu_of(served, lambda: time.sleep(size.seconds))
            cpu, seconds, scrapes = _cpu_of(served, scrape_on)
            measured.idle_percent.append(100 * idle_cpu / idle_seconds)
            measured.cpu_ms.append(1000 * (cpu - idle_cpu / idle_seconds * seconds) / scrapes)
            measured.wall_ms.append(1000 * seconds / scrapes)
            measured.idle_pause_ms.append(longest_pause(served, lambda: time.sleep(size.seconds)))
            measured.scraping_pause_ms.append(longest_pause(served, scrape_on))
    return measured


def _cpu_of(served: Served, work: Callable[[], int | None]) -> tuple[float, float, int]:
    """CPU seconds, seconds, and what `work` gives, at least 1."""
    before, started_at = served.cpu_seconds(), time.perf_counter()
    count = work() or 1
    return served.cpu_seconds() - before, time.perf_counter() - started_at, count


def longest_pause(served: Served, work: Callable[[], object]) -> float:
    """Milliseconds that the loop was kept from everything else at most, while `work` runs."""
    assert served.process.stdout is not None
    served.process.send_signal(signal.SIGUSR1)
    work()
    served.process.send_signal(signal.SIGUSR2)
    return float(served.process.stdout.readline())
