"""`otel-collector.yaml` runs in a real collector: what certgauge pushes comes out as its own `/metrics` has it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from exporter.telemetry import names
from exporter.telemetry.names import Instrument, Kind
from tests.authority import DAY
from tests.collector.collector import PUSHED, Collector, collector, validate
from tests.process import Process, ask, run, upstream, wait_until
from tests.prometheus import Prometheus, prometheus
from tests.telemetry.kit import EXPIRED, EXPIRING, Site
from tests.telemetry.test_rotel import rotel

MOVING = ("certificate_days_remaining", "certificate_path_days_remaining")
"""What is another value at each instant."""

Series: TypeAlias = frozenset[tuple[str, str]]


def test_the_file_is_valid_as_it_is() -> None:
    assert validate({}).returncode == 0


def test_the_file_is_valid_with_all_that_it_offers() -> None:
    every = {"METRICS_EXPORTERS": "[prometheus, otlp_http/onward]", "LOGS_EXPORTERS": "[debug, otlp_http/loki]"}
    assert validate(every).returncode == 0


def test_an_exporter_that_is_not_there_is_refused() -> None:
    refused = validate({"METRICS_EXPORTERS": "[prometheus, otlp_http/nowhere]"})
    assert refused.returncode != 0
    assert 'references exporter "otlp_http/nowhere" which is not configured' in refused.stderr


@contextmanager
def chain(directory: Path, protocol: str) -> Iterator[tuple[Process, Collector, Prometheus]]:
    """certgauge with traffic, its collector, and a Prometheus that scrapes both."""
    site = Site(directory).standard()
    with upstream() as port, collector(directory) as runs:
        site.api("plain", f"http://127.0.0.1:{port}/")
        with (
            run(site.write(), more=runs.environment(protocol)) as process,
            prometheus(directory, process.admin_url.removeprefix("http://"), collector=runs.metrics) as server,
        ):
            for path in ("/plain/", "/plain/", "/nowhere/"):
                ask("GET", process.proxy_url + path)
            # Of both jobs: the last that there is to see.
            server.wait("http_client_request_duration_seconds_count", series=2, seconds=20)
            yield process, runs, server


def series(server: Prometheus, job: str, name: str) -> dict[Series, float]:
    """What a job has of a metric, without what tells where it was scraped."""
    found = server.query(f'{name}{{job="{job}"}}')
    return {_labels(each): float(each["value"][1]) for each in found}


def _labels(found: dict[str, Any]) -> Series:
    return frozenset((name, value) for name, value in found["metric"].items() if name not in ("job", "instance"))


def names_of(instrument: Instrument) -> list[str]:
    match instrument.kind:
        case Kind.COUNTER:
            return [instrument.family + "_total"]
        case Kind.HISTOGRAM:
            return [instrument.family + suffix for suffix in ("_bucket", "_sum", "_count")]
        case _:
            return [instrument.family]


EVERY = [name for each in vars(names).values() if isinstance(each, Instrument) for name in names_of(each)]


def different(server: Prometheus) -> list[str]:
    """The metrics that are not the same by both ways."""
    return [
        name for name in EVERY if not is_same(series(server, "certgauge", name), series(server, PUSHED, name), name)
    ]


def is_same(direct: dict[Series, float], pushed: dict[Series, float], name: str) -> bool:
    tolerance = 10 / DAY.total_seconds() if name in MOVING else 0
    return direct.keys() == pushed.keys() and all(abs(direct[key] - pushed[key]) <= tolerance for key in direct)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_names_labels_and_values_are_those_of_the_direct_scrape(protocol: str, tmp_path: Path) -> None:
    with chain(tmp_path, protocol) as (_, runs, server):
        wait_until(lambda: not different(server))
        seen = [name for name in EVERY if series(server, "certgauge", name)]
        # What no certificate here has: one that was presented to us, or that was used.
        assert len(seen) >= len(EVERY) - 3
        assert "error" not in runs.text()


def test_the_series_of_an_api_that_is_unloaded_end(tmp_path: Path) -> None:
    with chain(tmp_path, "http/protobuf") as (process, _, server):
        of = 'certificate_state{{job="pushed",api_id="{}"}}'.format
        server.wait(of(EXPIRED), series=1, seconds=20)
        assert ask("DELETE", f"{process.admin_url}/apis/{EXPIRED}").status == 204
        server.wait(of(EXPIRED), series=0, seconds=20)
        assert len(server.query(of(EXPIRING))) == 1


def test_replicas_are_told_apart_by_the_name_of_their_host_and_their_port(tmp_path: Path) -> None:
    with chain(tmp_path, "http/protobuf") as (process, _, server):
        port = process.admin_url.rpartition(":")[2]
        server.wait(
            f'certificate_batchers{{job="pushed",instance="{socket.gethostname()}:{port}"}}', series=1, seconds=20
        )


def test_expiry_events_arrive_as_log_records(tmp_path: Path) -> None:
    with chain(tmp_path, "http/protobuf") as (_, runs, _):
        wait_until(lambda: "EventName: certificate.expired" in runs.text())
        [_, expired, *_] = runs.text().split("EventName: certificate.expired")
        assert "Body: Str(Upstream certificate expired 5 days ago)" in expired
        assert "-> cert_role: Str(upstream)" in expired
        assert f"-> api_id: Str({EXPIRED})" in expired


def test_what_is_received_goes_onward_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "onward").mkdir()
    with rotel(tmp_path / "onward") as receiver:
        more = {"METRICS_EXPORTERS": "[prometheus, otlp_http/onward]", "ONWARD_ENDPOINT": receiver.http}
        with (
            collector(tmp_path, more) as runs,
            run(Site(tmp_path).standard().write(), more=runs.environment()),
        ):
            wait_until(lambda: "certificate.days_remaining" in receiver.text())


def test_the_collector_tells_of_itself(tmp_path: Path) -> None:
    with collector(tmp_path) as runs:
        answer = ask("GET", f"http://{runs.telemetry}/metrics")
    assert "otelcol_process_uptime" in answer.text
