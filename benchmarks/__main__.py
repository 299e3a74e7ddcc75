"""Run the benchmarks, one at a time, and write benchmarks/RESULTS.md. `scripts/bench [--quick] [NAME]`"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path

from benchmarks import events, loads, monitoring, outbox, proxy, reading, scrape, startup, tables, watching
from benchmarks.processes import pin_to_load_cpu

_RESULTS = Path(__file__).with_name("RESULTS.md")
_FULL = {
    "events": lambda: events.report(events.Size()),
    "monitoring": lambda: monitoring.report(monitoring.Size()),
    "outbox": lambda: outbox.report(outbox.Size()),
    "proxy": lambda: proxy.report(loads.Size()),
    "reading": lambda: reading.report(reading.Size()),
    "scrape": lambda: scrape.report(scrape.Size()),
    "startup": lambda: startup.report(startup.Size()),
    "watching": lambda: watching.report(watching.Size()),
}
_QUICK = {
    "events": lambda: events.report(events.QUICK),
    "monitoring": lambda: monitoring.report(monitoring.QUICK),
    "outbox": lambda: outbox.report(outbox.QUICK),
    "proxy": lambda: proxy.report(loads.QUICK),
    "reading": lambda: reading.report(reading.QUICK),
    "scrape": lambda: scrape.report(scrape.QUICK),
    "startup": lambda: startup.report(startup.QUICK),
    "watching": lambda: watching.report(watching.QUICK),
}


def main() -> None:
    """Run all, or the one that is named."""
    parser = argparse.ArgumentParser("scripts/bench", description="Run the benchmarks and write RESULTS.md.")
    parser.add_argument("name", nargs="?", choices=sorted(_FULL), help="only this one")
    parser.add_argument("--quick", action="store_true", help="only show that they run; write nothing")
    options = parser.parse_args()
    benchmarks = _QUICK if options.quick else _FULL
    _allow_connections()
    pin_to_load_cpu()
    sections = []
    for name in [options.name] if options.name else benchmarks:
        print(f"{name} ...", flush=True)
        sections.append(f"{benchmarks[name]().rstrip()}\n\n{tables.machine()}\n")
        print(f"\n{sections[-1]}", flush=True)
    if not options.quick:
        tables.write(_RESULTS, sections)


def _allow_connections() -> None:
    """As many descriptors as the system lets a process have: a thousand upstreams are a thousand connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
