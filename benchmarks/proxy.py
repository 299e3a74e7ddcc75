"""What proxying costs: each of certgauge's cores, and other reverse proxies, in front of the same mTLS upstream."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.loads import ALONE, LOADS, Measured, Size, measure
from benchmarks.nginx import NGINX, upstream
from benchmarks.peers import Peer, peers, told
from benchmarks.processes import turned
from benchmarks.site import Site
from benchmarks.tables import spread, table
from benchmarks.wrk import WRK, WrongAnswersError

REFERENCES = ("nginx", "Envoy")

TITLE = "Proxying"
TEXT = """\
CPU time (user and system) per request of a proxy's whole process tree, in front of an nginx that demands a client
certificate (TLS 1.3, AES-256-GCM). Each proxy has one worker, and a CPU of its own; `wrk`, with one thread, and the
upstream share the other. All listen on plaintext HTTP, verify the upstream, keep their connections to it, and log no
request; certgauge monitors. Those on aiohttp and on httpx, with uvicorn, are `benchmarks/peer_*.py`, on uvloop.
*That core behind ASGI* is certgauge's default core behind uvicorn and a raw ASGI endpoint, which matches, checks and
monitors nothing: what the ASGI layer would cost.

{rounds} rounds of fresh processes, whose order turns. A load warms up for {warm_up_seconds:g} s, comes again for
{lead_in_seconds:g} s and until no connection to the upstream is new, and stays for {seconds:g} s. In these CPU is
measured, and the upstream counts requests and new connections, so what is under way at the end does not matter. Ratios
are those of CPU per request in the same round. *Busy* is the part of its CPU that a proxy uses: well below 100 % the
other CPU sets requests per second and latency. These are `wrk`'s, of all the time since the load came again; it
corrects its percentiles for requests that it could not begin in time. Peak memory is the largest resident set since the
start of the process, which ran the loads in the order of these tables.
"""
ADDED = "Median latency above nginx's in the same round, ms: {}.\n"
HEAD = ["CPU per request, µs", *(f"ratio to {name}" for name in REFERENCES), "busy, %", "requests per second"]
HEAD += ["p50, ms", "p99, ms", "peak memory, MiB", "new upstream connections"]


class Rounds:
    """What was measured under one load, by peer, round by round. What failed once is not told in numbers."""

    def __init__(self) -> None:
        self._measured: dict[str, list[Measured]] = defaultdict(list)
        self._failed: dict[str, str] = {}

    def add(self, name: str, measure: Callable[[], Measured]) -> None:
        try:
            self._measured[name].append(measure())
        except WrongAnswersError as wrong:
            self._failed[name] = f"failed: {wrong}"
            print(f"    {self._failed[name]}", flush=True)

    def rows(self, names: Sequence[str]) -> Iterator[list[str]]:
        for name in names:
            failed = self._failed.get(name)
            yield [name, failed, *[""] * (len(HEAD) - 1)] if failed else [name, *self._cells(name)]

    def added_ms(self, name: str, to: str) -> list[float]:
        """By how much its median latency is above that of the other, in each round."""
        return [one.p50_ms - other.p50_ms for one, other in self._pairs(name, to)]

    def _cells(self, name: str) -> list[str]:
        every = self._measured[name]
        return [
            spread([each.cpu_us for each in every]),
            *(self._ratio(name, to) for to in REFERENCES),
            f"{median(each.busy_percent for each in every):.0f}",
            f"{median(each.per_second for each in every):,.0f}",
            f"{median(each.p50_ms for each in every):.3f}",
            f"{median(each.p99_ms for each in every):.3f}",
            f"{median(each.peak_mib for each in every):.1f}",
            f"{median(each.connections for each in every):,.0f}",
        ]

    def _ratio(self, name: str, to: str) -> str:
        ratios = [one.cpu_us / other.cpu_us for one, other in self._pairs(name, to)]
        return f"{median(ratios):.2f}" if ratios else ""

    def _pairs(self, name: str, to: str) -> list[tuple[Measured, Measured]]:
        if name in self._failed or to in self._failed:
            return []
        # Without the other there is nothing to compare with.
        return list(zip(self._measured[name], self._measured[to], strict=False))


def report(size: Size) -> str:
    """The section of the results."""
    if NGINX is None or WRK is None:
        raise RuntimeError("nginx, for the upstream, and wrk must be installed")
    known = peers()
    had = {peer.name: peer for peer in known if peer.version}
    versions = ", ".join(f"{peer.name} {peer.version}" for peer in had.values())
    lines = [f"{versions}; wrk {told(WRK, '-v')}."]
    lines += [f"Left out, as it is not installed: {peer.name}." for peer in known if not peer.version]
    print("\n".join(lines), flush=True)
    results = _results(had, size)
    names = list(had)
    parts = [f"{TITLE}\n\n{TEXT.format(**asdict(size))}\n" + "\n".join(lines) + "\n"]
    parts += [f"\n{table([each, *HEAD], rounds.rows(names))}" for each, rounds in results.items()]
    parts.insert(2, f"\n{_added(results[ALONE], names)}")
    return "".join(parts)


def _added(alone: Rounds, names: Sequence[str]) -> str:
    differences = {name: alone.added_ms(name, "nginx") for name in names if name != "nginx"}
    return ADDED.format(", ".join(f"{name} {spread(each, '.3f')}" for name, each in differences.items() if each))


def _results(had: dict[str, Peer], size: Size) -> dict[str, Rounds]:
    results = {each: Rounds() for each in LOADS}
    with tempfile.TemporaryDirectory(prefix="certgauge-bench-") as directory:
        site = Site(Path(directory))
        with upstream(site) as origin:
            for number in range(size.rounds):
                for name in turned(list(had), number):
                    print(f"  round {number + 1} of {size.rounds}: {name}", flush=True)
                    with had[name].serving(site, origin.port) as proxying:
                        for each, rounds in results.items():
                            rounds.add(name, partial(measure, proxying, origin, LOADS[each], size))
    return results
