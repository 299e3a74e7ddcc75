"""Under the names of other exporters: the same certificates, with the labels that those give them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import pytest

from exporter.certcheck.certificate import InvalidReason, Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import entries_of
from exporter.certcheck.slot import Observation, Role
from exporter.telemetry import foreign
from exporter.telemetry.compat import Compat
from exporter.telemetry.family import Family
from exporter.telemetry.prometheus import TEXT, render
from tests.fakes import NOON
from tests.telemetry.measured import certificate, scraped

LEAF = replace(
    certificate(),
    subject="CN=orders,OU=shop,O=Example,C=DE",
    issuer="CN=internal CA,O=Example",
    serial_number="1ff",
    sans=("orders.internal", "10.0.0.1", "ops@example.com", "spiffe://example/orders"),
)
AFTER, BEFORE = LEAF.not_after.timestamp(), LEAF.not_before.timestamp()
EVERY = ("x509", "ssl", "probe", "tlscheck")
NOT_READ = Reading(None, InvalidReason.UNREADABLE, "no certificate")


def in_file(*readings: Reading, cert_ref: str = "orders") -> Observation:
    return Observation("api", Role.UPSTREAM, readings, cert_ref, "orders.internal", 8443)


def presented(*readings: Reading, peer: str = "10.0.0.1") -> Observation:
    return Observation("api", Role.UPSTREAM_SERVER, readings, None, "orders.internal", 8443, peer)


def series(wanted: Collection[str], *observations: Observation) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What is printed of these, at noon."""
    return scraped(b"".join(render(families(wanted, *observations), TEXT)).decode())


def families(wanted: Collection[str], *observations: Observation) -> list[Family]:
    entries = [entry for each in observations for entry in entries_of(each, ExpiryPolicy())]
    return Compat(lambda: wanted, lambda ref: f"/certs/{ref}.pem").families(entries, NOON)


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


def test_nothing_is_printed_unless_it_is_asked_for() -> None:
    assert families((), in_file(Reading(LEAF)), presented(Reading(LEAF))) == []


def test_each_certificate_of_a_file_as_the_x509_certificate_exporter_has_it() -> None:
    its = {
        "filename": "orders.pem",
        "filepath": "/certs/orders.pem",
        "serial_number": "511",
        "issuer_CN": "internal CA",
        "issuer_O": "Example",
        "subject_CN": "orders",
        "subject_OU": "shop",
        "subject_O": "Example",
        "subject_C": "DE",
    }
    found = series(["x509"], in_file(Reading(LEAF)))
    assert found == {
        ("x509_cert_not_after", labels(**its)): AFTER,
        ("x509_cert_not_before", labels(**its)): BEFORE,
        ("x509_cert_expired", labels(**its)): 0,
        ("x509_cert_expires_in_seconds", labels(**its)): timedelta(days=10).total_seconds(),
        ("x509_cert_error", labels(filename="orders.pem", filepath="/certs/orders.pem")): 0,
        ("x509_read_errors", labels()): 0,
        ("x509_source_up", labels(source_kind="file", source_name="certgauge")): 1,
    }


def test_a_file_that_cannot_be_read_is_an_error_of_it() -> None:
    found = series(["x509"], in_file(Reading(LEAF)), in_file(NOT_READ, cert_ref="other"))
    assert found["x509_cert_error", labels(filename="other.pem", filepath="/certs/other.pem")] == 1
    assert found["x509_read_errors", labels()] == 1


@pytest.mark.parametrize(("second", "expired"), [(0, 0), (-1, 1)])
def test_a_certificate_has_expired_from_the_first_second_past_its_end(second: int, expired: int) -> None:
    found = series(["x509"], in_file(Reading(replace(LEAF, not_after=NOON + timedelta(seconds=second)))))
    values = {name: value for (name, _), value in found.items()}
    assert (values["x509_cert_expired"], values["x509_cert_expires_in_seconds"]) == (expired, second)


def test_a_file_that_two_apis_use_is_there_once() -> None:
    assert series(EVERY, in_file(Reading(LEAF)), replace(in_file(Reading(LEAF)), api_id="other")) == series(
        EVERY, in_file(Reading(LEAF))
    )


def test_what_an_upstream_presents_as_the_ssl_exporter_has_it() -> None:
    its = {
        "target": "orders.internal:8443",
        "serial_no": "511",
        "issuer_cn": "internal CA",
        "cn": "orders",
        "dnsnames": ",orders.internal,",
        "ips": ",10.0.0.1,",
        "emails": ",ops@example.com,",
        "ou": ",shop,",
    }
    found = series(["ssl"], presented(Reading(LEAF)), presented(Reading(LEAF), peer="10.0.0.2"))
    assert found == {
        ("ssl_cert_not_after", labels(**its)): AFTER,
        ("ssl_cert_not_before", labels(**its)): BEFORE,
        ("ssl_verified_cert_not_after", labels(chain_no="0", **its)): AFTER,
        ("ssl_verified_cert_not_before", labels(chain_no="0", **its)): BEFORE,
        ("ssl_probe_success", labels(target="orders.internal:8443")): 1,
    }


def test_a_file_as_the_ssl_exporter_has_it() -> None:
    found = series(["ssl"], in_file(Reading(replace(LEAF, sans=(), subject="CN=orders"))))
    its = labels(file="/certs/orders.pem", serial_no="511", issuer_cn="internal CA", cn="orders")
    assert found == {("ssl_file_cert_not_after", its): AFTER, ("ssl_file_cert_not_before", its): BEFORE}


@pytest.mark.parametrize(
    "reading",
    [
        Reading(replace(LEAF, not_after=NOON - timedelta(seconds=1))),
        Reading(replace(LEAF, not_before=NOON + timedelta(seconds=1))),
        Reading(LEAF, InvalidReason.HOSTNAME_MISMATCH),
    ],
)
def test_what_failed_verification_is_a_probe_that_failed(reading: Reading) -> None:
    found = series(["ssl", "probe"], presented(reading))
    target = labels(target="orders.internal:8443")
    assert (found["ssl_probe_success", target], found["probe_success", target]) == (0, 0)
    assert reading.certificate is not None
    assert found["probe_ssl_earliest_cert_expiry", target] == reading.certificate.not_after.timestamp()
    assert not [name for name, _ in found if "verified" in name or "last_chain_expiry" in name]


def test_what_an_upstream_presents_as_the_blackbox_exporter_has_it() -> None:
    sooner = replace(LEAF, cert_id="b" * 64, not_after=LEAF.not_after - timedelta(days=1))
    target = labels(target="orders.internal:8443")
    assert series(["probe"], presented(Reading(LEAF), Reading(sooner))) == {
        ("probe_success", target): 1,
        ("probe_ssl_earliest_cert_expiry", target): sooner.not_after.timestamp(),
        ("probe_ssl_last_chain_expiry_timestamp_seconds", target): sooner.not_after.timestamp(),
        (
            "probe_ssl_last_chain_info",
            labels(
                target="orders.internal:8443",
                fingerprint_sha256=LEAF.cert_id,
                subject="CN=orders,OU=shop,O=Example,C=DE",
                issuer="CN=internal CA,O=Example",
                subjectalternative="orders.internal",
                serialnumber="01ff",
            ),
        ): 1,
    }


def test_leaves_as_the_tlscheck_receiver_has_them() -> None:
    its = {
        "tlscheck_x509_issuer": "CN=internal CA,O=Example",
        "tlscheck_x509_cn": "orders",
        "tlscheck_x509_san": '["orders.internal","10.0.0.1","ops@example.com","spiffe://example/orders"]',
    }
    other = replace(LEAF, cert_id="b" * 64)
    found = series(["tlscheck"], in_file(Reading(LEAF), Reading(other)), presented(Reading(LEAF)))
    assert found == {
        ("tlscheck_time_left_seconds", labels(tlscheck_target="/certs/orders.pem", **its)): 864000,
        ("tlscheck_time_left_seconds", labels(tlscheck_target="orders.internal:8443", **its)): 864000,
    }


@pytest.mark.parametrize("subject", [None, "", "not a name", "CN=" + "x" * 300, 'CN=a\\0Ab\\,c\\"', "2.5.4.3=#0c0161"])
def test_no_name_of_a_certificate_breaks_a_scrape(subject: str | None) -> None:
    strange = replace(LEAF, subject=subject, issuer=subject, serial_number="-1", sans=('"',))
    assert series(EVERY, in_file(Reading(strange)), presented(Reading(strange)))


def test_a_serial_number_that_was_cut_off_is_left_out() -> None:
    assert foreign.x509("/a.pem", replace(LEAF, serial_number="1f…"))["serial_number"] is None


def test_labels_are_made_once() -> None:
    entries = entries_of(in_file(Reading(LEAF)), ExpiryPolicy())
    compat = Compat(lambda: ("x509",), str)
    first, second = (compat.families(entries, NOON)[0].labels[0] for _ in range(2))
    assert first is second


def test_labels_end_with_what_they_were_of() -> None:
    compat = Compat(lambda: ("x509",), str)
    compat.families(entries_of(in_file(Reading(LEAF)), ExpiryPolicy()), NOON)
    compat.families([], NOON)
    assert not compat._labels
