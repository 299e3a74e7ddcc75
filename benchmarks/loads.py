"""The loads on a proxy, and what is measured under each."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from http.client import HTTPException

from benchmarks.nginx import READ, SIZES, Upstream
from benchmarks.peers import Proxying
from benchmarks.processes import BODY, get, post
from benchmarks.wrk import Load, WrongAnswersError, load

ALONE = "1 KiB, 1 connection"
LOADS = {
    ALONE: Load(1, "", len(BODY)),
    "1 KiB, 32 connections": Load(32, "", len(BODY)),
    "1 KiB, 128 connections": Load(128, "", len(BODY)),
    "64 KiB, 32 connections": Load(32, "64KiB", SIZES["64KiB"]),
    "POST of 16 KiB, 32 connections": Load(32, READ, len(BODY), 16 << 10),
    "10 MiB, 4 connections": Load(4, "10MiB", SIZES["10MiB"]),
}
_SETTLED_SECONDS, _SETTLED_WITHIN_SECONDS = 0.2, 3.0


@dataclass(frozen=True, slots=True)
class Size:
    rounds: int = 5
    warm_up_seconds: float = 0.4
    lead_in_seconds: float = 0.5
    seconds: float = 1.7


QUICK = Size(rounds=1, warm_up_seconds=0.2, lead_in_seconds=0.1, seconds=0.3)


@dataclass(frozen=True, slots=True)
class Measured:
    cpu_us: float
    busy_percent: float
    per_second: float
    p50_ms: float
    p99_ms: float
    peak_mib: float
    connections: int


def measure(proxying: Proxying, origin: Upstream, it: Load, size: Size) -> Measured:
    """What a load costs a proxy, when connections to the upstream are made and it only proxies.

    Raises:
        WrongAnswersError: it does not answer what the upstream answers.
    """
    _check(proxying, it)

    def reading() -> tuple[float, float, int, int]:
        return (time.perf_counter(), proxying.served.cpu_seconds(), *origin.counted())

    def window() -> list[float]:
        time.sleep(size.lead_in_seconds)
        _settle(origin)
        before = reading()
        time.sleep(size.seconds)
        return [late - early for early, late in zip(before, reading(), strict=True)]

    url = f"http://127.0.0.1:{proxying.port}{proxying.path}{it.path}"
    load(url, it, lambda: time.sleep(size.warm_up_seconds))
    answered, (seconds, cpu_seconds, connections, requests) = load(url, it, window)
    if not answered.per_second:
        raise WrongAnswersError("no response in this time")
    # One of each is the reading's own.
    cpu_us = 1e6 * cpu_seconds / (requests - 1)
    peak_mib = proxying.served.peak_rss_bytes() / (1 << 20)
    return Measured(
        cpu_us, 100 * cpu_seconds / seconds, **asdict(answered), peak_mib=peak_mib, connections=round(connections) - 1
    )


def _settle(origin: Upstream) -> None:
    """Until a while passes without a new connection to the upstream; with who never keeps them, not for ever."""
    seen, _ = origin.counted()
    ends_at = time.perf_counter() + _SETTLED_WITHIN_SECONDS
    while time.perf_counter() < ends_at:
        time.sleep(_SETTLED_SECONDS)
        now, _ = origin.counted()
        if now - seen == 1:
            return
        seen = now


def _check(proxying: Proxying, it: Load) -> None:
    """It gives what the upstream gives."""
    path = proxying.path + it.path
    posted = b"x" * it.posted_bytes
    try:
        status, body = post(proxying.port, path, posted) if posted else get(proxying.port, path)
    except (OSError, HTTPException) as cut:
        raise WrongAnswersError(repr(cut)) from cut
    if (status, len(body)) != (200, it.answered_bytes):
        raise WrongAnswersError(f"status {status}, {len(body):,} bytes")
