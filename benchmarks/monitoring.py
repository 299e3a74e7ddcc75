"""What monitoring costs on the hot path: CPU per proxied request, with monitoring on and off."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from timeit import timeit

import uvloop

from benchmarks.nginx import upstream
from benchmarks.processes import BODY, Served, turned
from benchmarks.site import Site, api_id, certgauge
from benchmarks.tables import spread, table
from exporter.app import running
from exporter.proxy.httptools import HttptoolsCore
from exporter.settings import read_settings
from exporter.telemetry.environment import Otlp

_REQUEST = b"GET /%s/hello HTTP/1.1\r\nHost: benchmark\r\n\r\n" % api_id(0).encode()

ON, OFF, AGAIN = "on", "off", "off, again"
"""The three processes of a round: what is compared, and the second one without, which tells the noise."""

TITLE = "Monitoring on the hot path"
TEXT = """\
CPU time (user and system) of `certgauge run` per request: GET over {connections} kept connections to an upstream that
demands a client certificate, {size} bytes in the response. {rounds} rounds of three fresh processes, as where a
process's memory lies makes it faster or slower for life. A round goes {turns} times over the three and back, {requests}
requests each. *off, again* differs from *off* in nothing: its difference is the noise.
"""
ALONE = "Reporting a certificate in use, called by itself, takes {microseconds:.2f} µs: {percent:.1f} % of a request.\n"


@dataclass(frozen=True, slots=True)
class Size:
    rounds: int = 21
    turns: int = 4
    requests: int = 800
    warm_up: int = 800
    connections: int = 8
    calls: int = 200_000


QUICK = Size(rounds=1, turns=1, requests=80, warm_up=80, calls=1000)

Target = tuple[Served, int]
"""A process and its proxy's port."""


def report(size: Size) -> str:
    """The section of the results."""
    with tempfile.TemporaryDirectory(prefix="certgauge-bench-") as name, ExitStack() as stack:
        site = Site(Path(name))
        port = stack.enter_context(upstream(site)).port
        rounds = [_round(site, port, size, number) for number in range(size.rounds)]
    rows = []
    for which in (OFF, AGAIN, ON):
        costs = [cost[which] * 1e6 for cost in rounds]
        differences = [100 * (cost[which] / cost[OFF] - 1) for cost in rounds]
        ratio = median(cost[which] / cost[OFF] for cost in rounds)
        rows.append([which, spread(costs), f"{ratio:.3f}", "" if which == OFF else spread(differences, "+.1f")])
    head = ["monitoring", "CPU per request, µs", "ratio to off", "difference to off in the same round, %"]
    text = TEXT.format(size=len(BODY), **asdict(size))
    alone = median(uvloop.run(_observing(size.calls)) for _ in range(5))
    percent = 100 * alone / median(cost[OFF] for cost in rounds)
    return f"{TITLE}\n\n{text}\n{table(head, rows)}\n{ALONE.format(microseconds=alone * 1e6, percent=percent)}"


def _round(site: Site, upstream_port: int, size: Size, number: int) -> dict[str, float]:
    """CPU seconds per request of each of the three."""
    with ExitStack() as stack:
        targets: dict[str, Target] = {}
        for which in turned([OFF, ON, AGAIN], number):
            configuration = site.configure(which, 1, upstream=upstream_port, monitored=which == ON)
            targets[which] = (stack.enter_context(certgauge(configuration)), configuration.proxy)
        for target in targets.values():
            _cost(target, size.warm_up, size.connections)
        costs: dict[str, list[float]] = {which: [] for which in targets}
        # There and back: what drifts during a round falls on all alike.
        for which in (*targets, *reversed(targets)) * size.turns:
            costs[which].append(_cost(targets[which], size.requests, size.connections))
        return {which: sum(each) / len(each) for which, each in costs.items()}


def _cost(target: Target, requests: int, connections: int) -> float:
    served, port = target
    each = max(1, requests // connections)
    before = served.cpu_seconds()
    uvloop.run(_load(port, each, connections))
    return (served.cpu_seconds() - before) / (each * connections)


async def _observing(calls: int) -> float:
    """Seconds of one report on the request path: all that monitoring adds there."""
    with tempfile.TemporaryDirectory(prefix="certgauge-bench-") as name:
        read = partial(read_settings, Site(Path(name)).configure("observing", 1).file, {}, ["httptools"])
        async with running(read(), read, core=HttptoolsCore, telemetry=Otlp()) as serves:
            observation = serves.gateway.apis[api_id(0)].plan.upstream.observation
            return timeit(lambda: serves.gateway.observe(observation), number=calls) / calls


async def _load(port: int, requests: int, connections: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_one_connection(port, requests))


async def _one_connection(port: int, requests: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests):
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"not the upstream's response: {head!r} {await reader.read(1000)!r}")
        await reader.readexactly(len(BODY))
    writer.close()
    await writer.wait_closed()
