"""A collector that is away, refuses, or never answers gets every log record once it is back, and holds up nobody."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event, Lock

import pytest

from exporter.listener import bind
from tests.nginx import nginx
from tests.process import Process, run, wait_until
from tests.receivers import Received, attributes, black_hole, http_receiver
from tests.telemetry.test_rotel import rotel
from tests.wire.events import configure, counted, issue
from tests.wire.load import load
from tests.wire.wires import Wire

EVENTS = 100
SHORT_SECONDS, LONG_SECONDS = 4.0, 60.0
SHUTDOWN_SECONDS = 5.0
BACK_WITHIN_SECONDS = 400.0
"""By the table of waits: who was refused for a minute may be asked as late as four minutes after that."""
REQUESTS_A_SECOND = 100
HELLO = 'location / { return 200 "hello"; }'
SLACK_SECONDS = 0.1
"""A machine that others work on has hiccups of its own; an export that held up the proxy would take seconds."""

Unwell = Callable[[int], AbstractContextManager[object]]


@contextmanager
def away(_port: int) -> Iterator[None]:
    """Nobody listens."""
    yield


UNWELL: dict[str, Unwell] = {
    "away": away,
    "refusing": lambda port: http_receiver(503, port),
    "black-holed": lambda port: black_hole("http/protobuf", port),
}


def free_port() -> int:
    with bind("127.0.0.1:0") as bound:
        port: int = bound.getsockname()[1]
        return port


def exporting(port: int) -> dict[str, str]:
    """The environment of one that sends its log records there, and nothing else."""
    return {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://127.0.0.1:{port}/v1/logs", "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}


def certificates(received: Received) -> list[str]:
    return [str(attributes(record.attributes)["cert_id"]) for record in received.records()]


class Timed:
    """Requests to a proxy, and how long each took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._lock = Lock()

    def one(self, wire: Wire) -> None:
        began_at = time.perf_counter()
        assert wire.ask("/plain/").content == b"hello"
        with self._lock:
            self.seconds.append(time.perf_counter() - began_at)

    def p99(self) -> float:
        return sorted(self.seconds)[math.ceil(0.99 * len(self.seconds)) - 1]


def measured(process: Process, seconds: float) -> float:
    """The p99 of requests through the proxy for a while."""
    timed = Timed()
    with load(process.proxy_url, REQUESTS_A_SECOND, timed.one):
        Event().wait(seconds)
    return timed.p99()


def announcing(directory: Path, upstream_port: int) -> tuple[Path, set[str]]:
    wanted = issue(directory, EVENTS)
    plain = {"api_id": "plain", "listen_path": "/plain/", "target_url": f"http://127.0.0.1:{upstream_port}/"}
    return configure(directory, directory, {}, api={"listen_path": "/many/"}, beside=[plain]), wanted


def gets_all_when_back(directory: Path, unwell: Unwell, seconds: float) -> None:
    port = free_port()
    with nginx(directory, HELLO, tls=False) as upstream_port:
        config, wanted = announcing(directory, upstream_port)
        with run(config, more={"OTEL_LOGS_EXPORTER": "none"}) as process:
            calm = measured(process, min(seconds, 5))
        for state in config.parent.glob("*.sqlite3*"):
            state.unlink()
        with run(config, more=exporting(port)) as process:
            with unwell(port):
                meanwhile = measured(process, seconds)
            assert counted(process, "certificate_event_deliveries_total", handler="otlp", outcome="delivered") == 0
            back_at = time.monotonic()
            with http_receiver(port=port) as collector:
                collector.received.wait(lambda: {*certificates(collector.received)} >= wanted, BACK_WITHIN_SECONDS)
                told, after = certificates(collector.received), time.monotonic() - back_at
    assert {*told} == wanted
    twice, p99s = len(told) - EVENTS, f"{calm * 1000:.1f} ms before, {meanwhile * 1000:.1f} ms meanwhile"
    print(f"0 of {EVENTS} lost, {twice} twice, all {after:.1f} s after it was back; p99 {p99s}")  # noqa: T201 (what was measured)
    assert meanwhile < 3 * calm + SLACK_SECONDS


@pytest.mark.parametrize("kind", UNWELL)
def test_an_unwell_collector_gets_all_when_it_is_back_and_holds_up_no_request(kind: str, tmp_path: Path) -> None:
    gets_all_when_back(tmp_path, UNWELL[kind], SHORT_SECONDS)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", UNWELL)
def test_a_collector_that_was_unwell_for_a_minute_gets_all(kind: str, tmp_path: Path) -> None:
    gets_all_when_back(tmp_path, UNWELL[kind], LONG_SECONDS)


@pytest.mark.parametrize("kind", UNWELL)
def test_an_unwell_collector_does_not_hold_up_the_end_and_gets_all_from_the_next_process(
    kind: str, tmp_path: Path
) -> None:
    port, wanted = free_port(), issue(tmp_path, EVENTS)
    config = configure(tmp_path, tmp_path, {})
    # As long as the library waits unless told.
    environment = exporting(port) | {"OTEL_EXPORTER_OTLP_TIMEOUT": "10"}
    with UNWELL[kind](port), run(config, more=environment) as process:
        wait_until(lambda: counted(process, "certificate_events_total") == EVENTS)
        began_at = time.monotonic()
        process.stop()
        took = time.monotonic() - began_at
    print(f"{kind}: ended after {took:.2f} s")  # noqa: T201 (what was measured)
    with http_receiver(port=port) as collector, run(config, more=environment):
        collector.received.wait(lambda: {*certificates(collector.received)} >= wanted, 30)
    assert len(certificates(collector.received)) == EVENTS
    assert took < SHUTDOWN_SECONDS


def test_a_collector_that_shares_no_code_with_us_gets_all_when_it_comes(tmp_path: Path) -> None:
    port, wanted = free_port(), issue(tmp_path, EVENTS)
    with run(configure(tmp_path, tmp_path, {}), more=exporting(port)) as process:
        wait_until(lambda: counted(process, "certificate_events_total") == EVENTS)
        with rotel(tmp_path, port) as agent:
            wait_until(lambda: {*re.findall(r"-> cert_id: Str\((\w+)\)", agent.text())} >= wanted)
