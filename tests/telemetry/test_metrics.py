"""The instruments of SPEC section 5: as text, in both formats, and over OTLP."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from exporter.certcheck.certificate import Certificate, InvalidReason, Reading, read_certificate
from exporter.certcheck.events import EventKind
from exporter.certcheck.expiry import State
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import COOLDOWN, ErrorReason, Outcome
from exporter.durations import BOUNDARIES, ClientKey, Histogram, ServerKey
from exporter.telemetry.environment import Otlp, Protocol
from exporter.telemetry.family import Labels
from exporter.telemetry.otlp import Exporters
from exporter.telemetry.prometheus import OPENMETRICS, TEXT, content_type
from tests.authority import Authority
from tests.fakes import NOON
from tests.receivers import RECEIVERS, Received, attributes
from tests.telemetry.measured import Measured, certificate, families, labels_of, own, pushed, scraped

DAY = timedelta(days=1)
SLOT = {
    "api_id": "orders",
    "cert_role": "upstream",
    "cert_ref": "orders-client",
    "cert_name": "orders",
    "server_address": "orders.internal",
    "server_port": "8443",
    "chain_position": "leaf",
}
IDENTITY = {
    "cert_id": "a" * 64,
    "serial_number": "1f",
    "issuer": "CN=test CA",
    "key_type": "ec-secp256r1",
    "signature_algorithm": "ecdsa-with-SHA256",
}
SERVER = {
    "http_request_method": "GET",
    "http_response_status_code": "502",
    "error_type": "upstream_closed",
    "http_route": "/orders/",
    "url_scheme": "http",
}
CLIENT = {
    "http_request_method": "GET",
    "error_type": "upstream_closed",
    "api_id": "orders",
    "server_address": "orders.internal",
    "server_port": "8443",
}
TALLIED = {"api_id": "orders", "cert_role": "upstream"}
AT_NOON = NOON.timestamp()

# name, kind, unit, what Prometheus calls it; labels and value of the one series there is, in `measured()`.
CONTRACT = [
    ("certificate.days_remaining", "gauge", "{day}", "certificate_days_remaining", SLOT, 10.0),
    (
        "certificate.not_after.timestamp",
        "gauge",
        "s",
        "certificate_not_after_timestamp_seconds",
        SLOT,
        AT_NOON + 10 * 86400,
    ),
    (
        "certificate.not_before.timestamp",
        "gauge",
        "s",
        "certificate_not_before_timestamp_seconds",
        SLOT,
        AT_NOON - 300 * 86400,
    ),
    (
        "certificate.path.days_remaining",
        "gauge",
        "{day}",
        "certificate_path_days_remaining",
        {"api_id": "orders", "cert_role": "upstream", "cert_name": "orders"},
        10.0,
    ),
    ("certificate.file.in_use", "gauge", "{certificate}", "certificate_file_in_use", SLOT, 1),
    ("certificate.requests", "gauge", "{request}", "certificate_requests", SLOT, 7),
    ("certificate.state", "gauge", "{certificate}", "certificate_state", SLOT | {"state": "expiring"}, 1),
    ("certificate.info", "gauge", "{certificate}", "certificate_info", SLOT | IDENTITY, 1),
    (
        "certificate.last_observed.timestamp",
        "gauge",
        "s",
        "certificate_last_observed_timestamp_seconds",
        SLOT,
        AT_NOON + 0.5,
    ),
    (
        "certificate.observations",
        "sum",
        "{observation}",
        "certificate_observations_total",
        TALLIED | {"outcome": "accepted"},
        3,
    ),
    (
        "certificate.checks",
        "sum",
        "{check}",
        "certificate_checks_total",
        {"api_id": "orders", "outcome": "cooldown"},
        2,
    ),
    (
        "certificate.events",
        "sum",
        "{event}",
        "certificate_events_total",
        TALLIED | {"event": "CertificateExpiringSoon"},
        1,
    ),
    (
        "certificate.event.deliveries.pending",
        "gauge",
        "{delivery}",
        "certificate_event_deliveries_pending",
        {"api_id": "orders", "handler": "ops"},
        4,
    ),
    ("certificate.batchers", "gauge", "{batcher}", "certificate_batchers", {}, 2),
    ("certgauge.config.last_reload.successful", "gauge", "", "certgauge_config_last_reload_successful", {}, 1),
    (
        "certgauge.config.last_reload.timestamp",
        "gauge",
        "s",
        "certgauge_config_last_reload_timestamp_seconds",
        {},
        AT_NOON,
    ),
]
HISTOGRAMS = [
    ("http.server.request.duration", "http_server_request_duration_seconds", SERVER),
    ("http.client.request.duration", "http_client_request_duration_seconds", CLIENT),
]
EVERY = [
    *(name for name, *_ in CONTRACT),
    *(name for name, *_ in HISTOGRAMS),
    "certificate.event.deliveries",
    "certificate.errors",
]


def measured() -> Measured:
    """One of everything."""
    everything = Measured(batchers=2, pending={"orders/ops": 4}, last_reload=(True, NOON))
    (entry,) = everything.put(own(Reading(certificate())))
    entry.usage.last_observed_at = NOON + timedelta(seconds=0.5)
    entry.usage.requests = 7
    everything.tally.observations["orders", Role.UPSTREAM, Outcome.ACCEPTED] = 3
    everything.tally.checks["orders", COOLDOWN] = 2
    everything.tally.events["orders", Role.UPSTREAM, EventKind.EXPIRING_SOON] = 1
    client, server = Histogram(), Histogram()
    for histogram in (client, server):
        for seconds in (0.005, 0.0051, 20):
            histogram.record(seconds)
    error = "upstream_closed"
    everything.durations.server[ServerKey("orders", "/orders/", "GET", "http", 502, error)] = server
    everything.durations.client[ClientKey("orders", "GET", "orders.internal", 8443, None, error)] = client
    return everything


async def push(everything: Measured, environment: pytest.MonkeyPatch, protocol: Protocol = "http/protobuf") -> Received:
    """Export once, and be done with it."""
    with RECEIVERS[protocol]() as receiver:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        exporters = Exporters()
        exporters.start(Otlp(metrics=protocol), everything.sampler.sample)
        await exporters.close()
        assert exporters.failures() == 0
    return receiver.received


@pytest.mark.parametrize("content", [TEXT, OPENMETRICS])
@pytest.mark.parametrize(("_name", "_kind", "_unit", "series", "labels", "value"), CONTRACT)
def test_every_metric_is_scraped_under_its_name_with_its_labels(
    content: str, _name: str, _kind: str, _unit: str, series: str, labels: dict[str, str], value: float
) -> None:
    found = {key: each for key, each in scraped(measured().text(content), content).items() if key[0] == series}
    assert found == {(series, frozenset(labels.items())): value}


@pytest.mark.parametrize(("name", "kind", "unit", "_series", "labels", "value"), CONTRACT)
async def test_every_metric_is_pushed_under_its_name_with_its_unit(
    name: str,
    kind: str,
    unit: str,
    _series: str,
    labels: dict[str, str],
    value: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (metric,) = (await push(measured(), monkeypatch)).metric(name)
    (point,) = getattr(metric, kind).data_points
    assert (metric.unit, metric.WhichOneof("data"), labels_of(point)) == (unit, kind, frozenset(labels.items()))
    assert getattr(point, point.WhichOneof("value")) == value


@pytest.mark.parametrize("protocol", RECEIVERS)
async def test_scraped_and_pushed_are_the_same_series_with_the_same_values(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = measured()
    scalars = {key: value for key, value in everything.series().items() if not key[0].startswith("http_")}
    assert pushed((await push(everything, monkeypatch, protocol)).metrics()) == scalars


async def test_ports_and_positions_are_pushed_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = Measured()
    everything.put(own(Reading(certificate()), Reading(certificate("b" * 64))))
    (metric,) = (await push(everything, monkeypatch)).metric("certificate.days_remaining")
    pairs = [attributes(point.attributes) for point in metric.gauge.data_points]
    assert [(pair["server_port"], pair["chain_index"]) for pair in pairs] == [(8443, 0), (8443, 1)]


async def test_counters_are_pushed_as_cumulative_monotonic_sums_since_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = (await push(measured(), monkeypatch)).metrics()
    sums = [metric.sum for metric in metrics if metric.WhichOneof("data") == "sum"]
    assert len(sums) == 4
    assert {(each.is_monotonic, each.aggregation_temporality) for each in sums} == {(True, 2)}
    points = [point for each in sums for point in each.data_points]
    assert all(0 < point.start_time_unix_nano <= point.time_unix_nano for point in points)


@pytest.mark.parametrize("content", [TEXT, OPENMETRICS])
@pytest.mark.parametrize(("_name", "family", "labels"), HISTOGRAMS)
def test_durations_are_scraped_as_histograms_with_the_conventions_buckets(
    content: str, _name: str, family: str, labels: dict[str, str]
) -> None:
    series = scraped(measured().text(content), content)

    def value(suffix: str, **more: str) -> float:
        return series[family + suffix, frozenset((labels | more).items())]

    bounds = [float(dict(key[1])["le"]) for key in series if key[0] == f"{family}_bucket"]
    assert bounds == [*BOUNDARIES, float("inf")]
    assert [value("_bucket", le=each) for each in ("0.005", "0.01", "10.0", "+Inf")] == [1, 2, 2, 3]
    assert value("_count") == 3
    assert value("_sum") == pytest.approx(20.0101)


@pytest.mark.parametrize(("name", "_family", "labels"), HISTOGRAMS)
async def test_durations_are_pushed_as_histograms_without_a_minimum_nobody_measured(
    name: str, _family: str, labels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (metric,) = (await push(measured(), monkeypatch)).metric(name)
    (point,) = metric.histogram.data_points
    assert (metric.unit, labels_of(point)) == ("s", frozenset(labels.items()))
    assert (tuple(point.explicit_bounds), point.count) == (BOUNDARIES, 3)
    assert list(point.bucket_counts) == [1, 1, *[0] * 12, 1]
    assert (point.HasField("min"), point.HasField("max")) == (False, False)


@pytest.mark.parametrize(("content", "suffix"), [(TEXT, "_total"), (OPENMETRICS, "")])
def test_every_metric_is_described_from_the_start_though_it_has_no_series_yet(content: str, suffix: str) -> None:
    text = Measured().text(content)
    described = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(described) == len(EVERY) == 20
    assert f"# TYPE certificate_event_deliveries{suffix} counter\n" in text


def test_what_waits_for_two_handlers_of_one_name_is_one_series() -> None:
    everything = Measured(pending={"otlp": 2, "/otlp": 3, "/ops": 0, "orders/ops": 1})
    assert {labels: value for (name, labels), value in everything.series().items() if name.endswith("_pending")} == {
        frozenset({("handler", "otlp")}): 5,
        frozenset({("handler", "ops")}): 0,
        frozenset({("api_id", "orders"), ("handler", "ops")}): 1,
    }


def test_seconds_are_the_unit_of_what_is_named_so_and_of_nothing_else() -> None:
    text = measured().text(OPENMETRICS)
    units = {each.name: each.unit for each in families(text, OPENMETRICS).values()}
    assert {name for name, unit in units.items() if unit} == {name for name in units if name.endswith("_seconds")}
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("accept", "content"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPENMETRICS),
    ],
)
def test_the_format_is_what_the_scraper_asks_for(accept: str, content: str) -> None:
    assert content_type(accept) == content


def test_every_error_is_there_at_zero_from_the_start() -> None:
    everything = Measured()
    reasons = [labels["reason"] for labels in everything.labels("certificate_errors_total")]
    assert sorted(reasons) == sorted(ErrorReason)
    assert everything.values("certificate_errors_total") == [0] * len(ErrorReason)


def test_failed_exports_are_among_the_errors() -> None:
    everything = Measured(failures=3)
    key = ("certificate_errors_total", frozenset({("reason", "otlp_export_failed")}))
    assert everything.series()[key] == 3


@pytest.mark.parametrize(
    ("left", "days"),
    [
        (10 * DAY, 10.0),
        (timedelta(hours=6), 0.25),
        (timedelta(0), 0.0),
        (timedelta(microseconds=-1), -1 / 86_400_000_000),
        (timedelta(hours=-12), -0.5),
        (-5 * DAY, -5.0),
    ],
)
def test_days_remaining_are_exact_and_negative_after_expiry(left: timedelta, days: float) -> None:
    everything = Measured()
    everything.put(own(Reading(certificate(left=left))))
    assert everything.values("certificate_days_remaining") == [days]


def test_the_value_is_that_of_the_instant_of_the_collection() -> None:
    everything = Measured()
    everything.put(own(Reading(certificate(left=10 * DAY))))
    everything.clock.advance(timedelta(hours=36))
    assert everything.values("certificate_days_remaining") == [8.5]
    everything.clock.advance(9 * DAY)
    assert everything.values("certificate_days_remaining") == [-0.5]
    assert [labels["state"] for labels in everything.labels("certificate_state")] == ["expired"]


@pytest.mark.parametrize(
    ("reading", "state"),
    [
        (Reading(certificate(left=100 * DAY)), "valid"),
        (Reading(certificate(left=30 * DAY)), "expiring"),
        (Reading(certificate(left=-DAY)), "expired"),
        (Reading(Certificate("a" * 64, NOON + DAY, NOON + 50 * DAY)), "not_yet_valid"),
        (Reading(None, InvalidReason.UNREADABLE), "unreadable"),
        (Reading(certificate(left=100 * DAY), InvalidReason.KEY_MISMATCH), "unreadable"),
        (Reading(certificate(left=-DAY), InvalidReason.KEY_MISMATCH), "expired"),
    ],
)
def test_a_slot_has_one_state_and_it_is_the_present_one(reading: Reading, state: str) -> None:
    everything = Measured()
    everything.put(own(reading))
    assert [labels["state"] for labels in everything.labels("certificate_state")] == [state]
    assert everything.values("certificate_state") == [1]
    assert {each.value for each in State} >= {state}


def test_of_a_certificate_that_cannot_be_read_only_the_slot_and_its_state_are_known() -> None:
    everything = Measured()
    everything.put(own(Reading(None, InvalidReason.MISSING)))
    (labels,) = everything.labels("certificate_state")
    assert labels == {key: value for key, value in SLOT.items() if key != "cert_name"} | {"state": "unreadable"}
    rest = ("days_remaining", "not_after_timestamp_seconds", "not_before_timestamp_seconds", "info")
    assert [everything.values(f"certificate_{each}") for each in rest] == [[]] * 4


def test_what_is_not_known_of_a_certificate_is_left_out_of_its_labels() -> None:
    everything = Measured()
    bare = Certificate("a" * 64, NOON - DAY, NOON + DAY)
    everything.put(Observation(None, Role.SERVER, (Reading(bare),), "gateway"))
    (labels,) = everything.labels("certificate_info")
    identity = {"cert_id": "a" * 64, "cert_name": "a" * 16}
    assert labels == {"cert_role": "server", "cert_ref": "gateway", "chain_position": "leaf"} | identity


def test_what_was_presented_to_us_has_an_address_and_no_reference() -> None:
    everything = Measured()
    chain = (Reading(certificate()),)
    everything.put(
        Observation("orders", Role.UPSTREAM_SERVER, chain, server_address="orders.internal", server_port=8443)
    )
    (labels,) = everything.labels("certificate_days_remaining")
    assert labels == {key: value for key, value in SLOT.items() if key != "cert_ref"} | {"cert_role": "upstream_server"}


def test_only_what_was_seen_in_use_has_a_last_observation() -> None:
    everything = Measured()
    everything.put(own(Reading(certificate())))
    assert everything.values("certificate_last_observed_timestamp_seconds") == []


def test_a_position_is_given_where_a_chain_has_more_than_one() -> None:
    everything = Measured()
    authority = Certificate("c" * 64, NOON, NOON + 900 * DAY, common_name="CA", is_ca=True, self_issued=True)
    issuer = replace(certificate("b" * 64, name="sub CA"), is_ca=True)
    chain = (Reading(certificate()), Reading(issuer), Reading(authority))
    everything.put(own(*chain))
    everything.put(own(Reading(certificate()), api_id="billing"))
    positions = [
        (labels["api_id"], labels.get("chain_index"), labels["chain_position"])
        for labels in everything.labels("certificate_days_remaining")
    ]
    assert positions == [
        ("orders", "0", "leaf"),
        ("orders", "1", "intermediate"),
        ("orders", "2", "root"),
        ("billing", None, "leaf"),
    ]


def test_series_end_when_their_slots_are_forgotten() -> None:
    everything = Measured()
    before = everything.series()
    entries = everything.put(own(Reading(certificate())))
    assert len(everything.series()) == len(before) + 8
    everything.inventory.forget(entries)
    assert everything.series() == before


def test_a_reload_that_never_succeeded_has_no_time() -> None:
    everything = Measured(last_reload=(False, None))
    assert everything.values("certgauge_config_last_reload_successful") == [0]
    assert everything.values("certgauge_config_last_reload_timestamp_seconds") == []


def test_a_listen_path_that_passes_to_another_api_stays_one_series() -> None:
    everything = Measured()
    for api_id in ("old", "new"):
        histogram = everything.durations.server[ServerKey(api_id, "/orders/", "GET", "http", 200, None)] = Histogram()
        histogram.record(0.2)
    assert everything.values("http_server_request_duration_seconds_count") == [2]
    assert everything.values("http_server_request_duration_seconds_sum") == [0.4]


HOSTILE = [
    'say "hi"',
    "back\\slash",
    "line\nbreak",
    '\\"\n\\n',
    "ends with \\",
    "Zürich 東京 🔒",
    '{a="b"} 1',
    "# EOF",
    "x" * 10_000,
]


@pytest.mark.parametrize("content", [TEXT, OPENMETRICS])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_label_is_read_as_it_was_written(content: str, name: str) -> None:
    everything = Measured()
    everything.put(own(Reading(certificate(name=name)), cert_ref=name))
    series = scraped(everything.text(content), content)
    (labels,) = (dict(key[1]) for key in series if key[0] == "certificate_days_remaining")
    assert (labels["cert_name"], labels["cert_ref"]) == (name, name)


@pytest.mark.parametrize("protocol", RECEIVERS)
async def test_hostile_attributes_are_pushed_as_they_are(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = Measured()
    for index, name in enumerate(HOSTILE):
        everything.put(own(Reading(certificate(name=name)), cert_ref=f"ref-{index}"))
    (metric,) = (await push(everything, monkeypatch, protocol)).metric("certificate.days_remaining")
    assert [attributes(point.attributes)["cert_name"] for point in metric.gauge.data_points] == HOSTILE


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\nb\0c", "a�b�c"), ('"quoted" \\', '"quoted" \\'), ("Zürich 東京", "Zürich 東京")],
)
def test_the_name_in_a_real_certificate_cannot_break_the_exposition(name: str, shown: str) -> None:
    issued = Authority().issue("plain").key
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, issued.public_key(), 1, NOON - DAY, NOON + DAY)
    der = builder.sign(issued, hashes.SHA256()).public_bytes(Encoding.DER)
    everything = Measured()
    everything.put(own(read_certificate(der)))
    assert [labels["cert_name"] for labels in everything.labels("certificate_info")] == [shown]


def test_labels_are_made_once_for_as_long_as_the_slot_holds_its_certificate() -> None:
    everything = Measured()
    everything.put(own(Reading(certificate())))
    first, second = (everything.sampler.sample()[0].labels[0] for _ in range(2))
    assert isinstance(first, Labels)
    assert first is second
