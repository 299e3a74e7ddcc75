"""wrk, with one thread: load on a URL for as long as something else takes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

WRK = shutil.which("wrk")

_SCRIPT = Path(__file__).with_suffix(".lua")
_AT_MOST_SECONDS = 600
_TIMEOUT_SECONDS = 30

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Load:
    """Connections that each ask again as soon as they are answered; a POST where something is posted."""

    connections: int
    path: str = ""
    answered_bytes: int = 0
    posted_bytes: int = 0


class WrongAnswersError(Exception):
    """There were errors, or bodies were cut: such numbers mean nothing."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What wrk saw. Its percentiles count what it had to wait with as late: they are corrected for omission."""

    per_second: float
    p50_ms: float
    p99_ms: float


def load(url: str, it: Load, meanwhile: Callable[[], T]) -> tuple[Answered, T]:
    """Load it until `meanwhile` returns.

    Raises:
        WrongAnswersError: not every response was 2xx and complete.
    """
    options = [f"--connections={it.connections}", f"--duration={_AT_MOST_SECONDS}s", f"--timeout={_TIMEOUT_SECONDS}s"]
    command = [WRK or "wrk", "--threads=1", *options, f"--script={_SCRIPT}", url, "--", str(it.posted_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            meant = meanwhile()
            # It ends, and tells.
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=_TIMEOUT_SECONDS)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise WrongAnswersError("wrk could not connect")
    return _answered(said, it), meant


def _answered(said: str, it: Load) -> Answered:
    told = json.loads(said.splitlines()[-1])
    if told["errors"] or told["bytes"] < told["requests"] * it.answered_bytes:
        raise WrongAnswersError(f"{told['errors']:,} errors, {told['requests']:,} responses, {told['bytes']:,} bytes")
    seconds = told["microseconds"] / 1e6
    return Answered(told["requests"] / seconds, told["p50"] / 1000, told["p99"] / 1000)
