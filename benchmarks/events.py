"""How fast the events of an API with very many expiring certificates arrive, and what memory that takes."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.processes import MEASURED, Served, free_port, get, running
from benchmarks.tables import spread, table
from tests.authority import DAY, KEYS, Authority
from tests.receivers import http_receiver

_CERTGAUGE = (sys.executable, "-m", "exporter", "run", "--config")
_MIB = 1024 * 1024
_WITHIN_SECONDS = 300
_SETTLE_SECONDS = 3.0

NONE, TOLD = "without", "with"

TITLE = "Events"
TEXT = """\
One API that trusts {certificates:,} certificates, all of which expire within the threshold: as many events, each of
which is written down in SQLite and delivered to a webhook and over OTLP (http/protobuf), to receivers on the other CPU.
*Without* is the same with a threshold of no days, and so without events. Times count from the start of the process,
rates from the first event that arrives anywhere until the last one has arrived there. Rounds of fresh processes:
{rounds}.
"""


@dataclass(frozen=True, slots=True)
class Size:
    certificates: int = 10_000
    rounds: int = 1


QUICK = Size(certificates=50)


@dataclass(slots=True)
class Measured:
    ready_s: list[float] = field(default_factory=list)
    webhook_a_second: list[float] = field(default_factory=list)
    otlp_a_second: list[float] = field(default_factory=list)
    all_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)


_ROWS = (
    ("ready after, s", "ready_s", ".1f"),
    ("events a second at the webhook", "webhook_a_second", ",.0f"),
    ("events a second over OTLP", "otlp_a_second", ",.0f"),
    ("all have arrived after, s", "all_s", ".1f"),
    ("CPU, s", "cpu_s", ".1f"),
    ("peak resident memory, MiB", "peak_mib", ".0f"),
)


@dataclass(slots=True)
class _Webhook:
    """A receiver of webhooks: when each event came for the first time."""

    port: int = 0
    arrived: dict[str, float] = field(default_factory=dict)
    twice: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            cert_id = json.loads(await reader.readexactly(length))["cert_id"]
            self.twice += cert_id in self.arrived
            self.arrived.setdefault(cert_id, time.perf_counter())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            # Whoever is stopped says no farewell; what is missing is missed below.
            pass
        finally:
            writer.close()


def report(size: Size) -> str:
    """The section of the results."""
    measured = {NONE: Measured(), TOLD: Measured()}
    with tempfile.TemporaryDirectory(prefix="certgauge-bench-") as name:
        directory = Path(name)
        _issue(directory / "bundle.pem", size.certificates)
        for number in range(size.rounds):
            _without(measured[NONE], directory / f"{NONE}-{number}", size)
            _told(measured[TOLD], directory / f"{TOLD}-{number}", size)
    growth = median(measured[TOLD].peak_mib) - median(measured[NONE].peak_mib)
    per_event = growth * 1024 / size.certificates
    summary = f"Events took {growth:.0f} MiB more at the peak: {per_event:.1f} KiB for each.\n"
    text = TEXT.format(certificates=size.certificates, rounds=size.rounds)
    return f"{TITLE}\n\n{text}\n{table(['', NONE, TOLD], _rows(measured[NONE], measured[TOLD]))}\n{summary}"


def _rows(without: Measured, told: Measured) -> Iterator[list[str]]:
    for title, name, form in _ROWS:
        yield [title, *(spread(each, form) if each else "" for each in (getattr(without, name), getattr(told, name)))]


def _issue(bundle: Path, count: int) -> None:
    # As small as they can be: a file may have 4 MiB.
    authority, key = Authority("CA", key=KEYS["ed25519"]()), KEYS["ed25519"]()
    with bundle.open("wb") as file:
        for number in range(count):
            file.write(authority.issue(f"{number}", 10 * DAY, key=key).pem)


def _without(into: Measured, directory: Path, size: Size) -> None:
    with _certgauge(directory, 0, None, {}) as (served, admin):
        into.ready_s.append(served.ready_after_seconds)
        _settled(into, served, admin, size)


def _told(into: Measured, directory: Path, size: Size) -> None:
    with ExitStack() as stack:
        webhook, collector = stack.enter_context(_webhook()), stack.enter_context(http_receiver())
        more = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{collector.url}/v1/logs"}
        batches: list[tuple[float, int]] = []
        began_at = time.perf_counter()
        served, admin = stack.enter_context(_certgauge(directory, 30, webhook.port, more))
        into.ready_s.append(served.ready_after_seconds)

        def all_arrived() -> bool:
            # Each request is looked at once.
            for request in collector.received.log_requests[len(batches) :]:
                records = [
                    record for each in request.resource_logs for s in each.scope_logs for record in s.log_records
                ]
                batches.append((time.perf_counter(), len(records)))
            return len(webhook.arrived) >= size.certificates and sum(n for _, n in batches) >= size.certificates

        _until(all_arrived)
        first = min(*webhook.arrived.values(), batches[0][0])
        last_webhook, last_batch = max(webhook.arrived.values()), batches[-1][0]
        into.webhook_a_second.append(size.certificates / (last_webhook - first))
        into.otlp_a_second.append(size.certificates / (last_batch - first) if last_batch > first else size.certificates)
        into.all_s.append(max(last_webhook, last_batch) - began_at)
        _settled(into, served, admin, size)
        if webhook.twice or sum(n for _, n in batches) != size.certificates:
            raise RuntimeError(f"{webhook.twice} events came twice, {sum(n for _, n in batches)} over OTLP")


@contextmanager
def _webhook() -> Iterator[_Webhook]:
    """Serve in a thread of its own."""
    webhook, loop = _Webhook(), asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(webhook.serve, "127.0.0.1", 0, backlog=512))
    webhook.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield webhook
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


@contextmanager
def _certgauge(
    directory: Path, threshold_days: int, webhook: int | None, more: Mapping[str, str]
) -> Iterator[tuple[Served, int]]:
    """One that serves, and the port of its administration."""
    directory.mkdir()
    admin = free_port()
    hooks = [{"name": "ops", "webhook": {"url": f"http://127.0.0.1:{webhook}/", "allow_private": True}}]
    document = {
        "proxy": {"listen": f"127.0.0.1:{free_port()}"},
        "admin": {"listen": f"127.0.0.1:{admin}"},
        "certificate_expiry_monitor": {"warning_threshold_days": threshold_days, "max_certificates": 20_000},
        "certificates": {"anchors": {"cert_file": "../bundle.pem"}},
        "apis": [
            {
                "api_id": "many",
                "listen_path": "/",
                "target_url": "https://127.0.0.1:1/",
                "upstream_ca": "anchors",
                "event_handlers": {"CertificateExpiringSoon": hooks if webhook else []},
            }
        ],
    }
    file = directory / "certgauge.yaml"
    file.write_text(json.dumps(document))

    def ready() -> bool:
        return get(admin, "/ready")[0] == 200

    with running([*_CERTGAUGE, str(file)], MEASURED, ready, directory / "log", more) as served:
        yield served, admin


def _settled(into: Measured, served: Served, admin: int, size: Size) -> None:
    """What it has cost when all is done; both have been scraped once, which takes memory as well."""
    time.sleep(_SETTLE_SECONDS)
    if _checks(admin) < size.certificates:
        raise RuntimeError("not all certificates have been judged")
    into.cpu_s.append(served.cpu_seconds())
    into.peak_mib.append(served.peak_rss_bytes() / _MIB)


def _checks(admin: int) -> float:
    _, text = get(admin, "/metrics")
    lines = text.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("certificate_checks_total{"))


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + _WITHIN_SECONDS
    while not condition():
        if time.perf_counter() > deadline:
            raise RuntimeError("not all events have arrived")
        time.sleep(0.01)
