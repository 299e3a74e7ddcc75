"""Certificates that are larger than anybody needs: their dates are told all the same, and little is kept of them."""

from __future__ import annotations

import time
import tracemalloc
from datetime import timedelta

import pytest
from cryptography import x509

from exporter.certcheck.certificate import LARGE, Certificate, read_certificate
from exporter.certcheck.text import printable
from tests.certcheck.test_certificate import NOT_AFTER, NOT_BEFORE, common_name, made

MOST = timedelta(milliseconds=20)
MEBIBYTE = 1024 * 1024


def read(der: bytes) -> Certificate:
    certificate = read_certificate(der).certificate
    assert certificate is not None
    return certificate


def name(count: int) -> x509.Name:
    return x509.Name([common_name(f"n{number}") for number in range(count)])


def with_purposes(count: int) -> bytes:
    # A short name for each; the library takes no more than a few thousand at once from a list of its own kind.
    purposes = x509.ExtendedKeyUsage([x509.ObjectIdentifier(f"1.3.{number}") for number in range(count)])
    return made(common_name("many"), extensions=(purposes,))


def of_names(count: int) -> tuple[x509.GeneralName, ...]:
    return tuple(x509.DNSName(f"h{number}") for number in range(count))


OVERSIZED = {
    "names": made(common_name("large"), sans=of_names(20_000)),
    "subject": made(*name(8000)),
    "issuer": made(common_name("large"), issuer=name(8000)),
    "purposes": with_purposes(12_000),
}


@pytest.mark.parametrize("what", OVERSIZED)
def test_the_dates_are_read_and_the_rest_only_as_far_as_it_holds_nothing_up(what: str) -> None:
    spent, der = [], OVERSIZED[what]
    assert len(der) > LARGE
    for _ in range(3):
        before = time.perf_counter()
        certificate = read(der)
        spent.append(timedelta(seconds=time.perf_counter() - before))
        assert (certificate.not_before, certificate.not_after) == (NOT_BEFORE, NOT_AFTER)
    # The machine has other things to do as well.
    assert min(spent) < MOST


def test_a_certificate_with_a_thousand_names_is_read_whole() -> None:
    assert len(read(made(common_name("many"), sans=of_names(1000))).sans) == 100


def test_a_name_that_is_too_long_to_read_is_absent_and_names_no_issuer() -> None:
    certificate = read(made(*name(500), issuer=name(500)))

    assert (certificate.subject, certificate.issuer, certificate.self_issued) == (None, None, False)
    assert certificate.cert_name == printable(certificate.cert_id[:16])


def test_only_the_first_hundred_purposes_are_kept() -> None:
    assert read(with_purposes(150)).extended_key_usages == tuple(f"1.3.{number}" for number in range(100))


def test_nothing_is_kept_of_certificates_but_what_is_shown() -> None:
    issuer = x509.Name([common_name("issuer")])
    bulky = made(common_name("bulky"), sans=of_names(3000), issuer=issuer)
    tracemalloc.start()
    try:
        for number in range(200):
            # Each has an issuer of its own, and is an object of its own.
            read(bulky.replace(b"issuer", b"%06d" % number))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < MEBIBYTE
