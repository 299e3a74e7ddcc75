"""Numbers for people: Markdown tables, and results kept section by section."""

from __future__ import annotations

import os
import platform
import ssl
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.nginx import NGINX
from benchmarks.processes import PINNED

_LIBRARIES = ("aiohttp", "httptools", "starlette", "uvicorn", "uvloop")
_HEADING = "\n## "
_INTRODUCTION = """\
# Results

To get the numbers again: `scripts/bench`, or `scripts/bench NAME` for one of `events`, `monitoring`, `outbox`, `proxy`,
`reading`, `scrape`, `startup`, `watching`, which replaces its section here. `scripts/bench --quick` only shows that
they run. Nothing else should run on the machine.

What is compared is measured in turn, in rounds of one run; a number is the median of its rounds, with the lowest and
the highest behind it where they matter. Ratios and differences carry over to other machines; the rest does not.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; numbers stand right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """The median, and the lowest and the highest behind it."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def machine() -> str:
    """What was measured on, and with."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    pinned = "the measured process and the load each pinned to a CPU" if PINNED else "no process pinned to a CPU"
    upstream = "nginx" if NGINX else "a Python TLS server"
    return (
        f"{os.cpu_count()} CPUs ({platform.machine()}), {pinned}; Python {platform.python_version()}, "
        f"{ssl.OPENSSL_VERSION.rsplit(maxsplit=3)[0]}, {libraries}; upstream: {upstream}."
    )


def write(file: Path, sections: Iterable[str]) -> None:
    """Put sections, each beginning with its title, into the file; those of other titles stay."""
    known = file.read_text().split(_HEADING)[1:] if file.exists() else []
    kept = {_title(section): section.rstrip() for section in (*known, *sections)}
    file.write_text("\n".join([_INTRODUCTION.rstrip(), *(f"{_HEADING}{kept[title]}" for title in sorted(kept))]) + "\n")


def _title(section: str) -> str:
    return section.partition("\n")[0]
