"""Hundreds of certificates that somebody got wrong: those of the package cryptography-vectors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7, pkcs12

from exporter.certcheck.certificate import InvalidReason, Reading, read_certificate
from exporter.certcheck.der import DerError, validity
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.text import printable
from exporter.certificates.files import Material, read_bytes
from exporter.certificates.pem import certificate_blocks
from exporter.telemetry.prometheus import OPENMETRICS, TEXT
from tests.prometheus import program
from tests.telemetry.measured import Measured, scraped
from tests.telemetry.test_prometheus import ACCEPTED, lint

ROOT = Path(cryptography_vectors.__file__).parent
PASSPHRASES = (b"password", b"cryptography", b"")
FILES = [path for path in sorted(ROOT.rglob("*")) if path.suffix in {".crt", ".der", ".p12", ".p7b", ".pem"}]
# The library takes 80 ms for each of the 405 of one kind.
PKITS = [path for path in FILES if path.suffix == ".p12" and "PKITS_data" in path.parts]
STORES = [*PKITS[::20], *(ROOT / "pkcs12").glob("*.p12")]
MESSAGES = [path for path in sorted((ROOT / "pkcs7").iterdir()) if b"BEGIN CERTIFICATE" not in path.read_bytes()]
# Keys, requests and answers of OCSP are no certificates that somebody got wrong.
OTHERS = {"asymmetric", "ocsp", "requests"}
# How many different certificates there are; fewer were lost by the test, not by the code.
LEAST = 500

# The library warns of what is wrong with them; `test_nothing_is_printed_while_they_are_read` has the real filters.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def opened(path: Path, *, needs_key: bool = False) -> Material:
    """With the passphrase that fits, if one does."""
    every = (read_bytes("vector", path.read_bytes(), passphrase=each, needs_key=needs_key) for each in PASSPHRASES)
    tried = [next(every)]
    while tried[-1].problem and tried[-1].problem.invalid is InvalidReason.BAD_PASSPHRASE:
        following = next(every, None)
        if following is None:
            break
        tried.append(following)
    return tried[-1]


def every_der() -> Iterator[bytes]:
    """Whatever may be a certificate, found without the code under test where that is possible."""
    for path in FILES:
        data = path.read_bytes()
        if OTHERS & set(path.parts):
            continue
        if path.suffix in {".crt", ".der"}:
            yield data
        elif path.suffix == ".pem":
            yield from (der for der in certificate_blocks(data) if der)
        else:
            yield from (der for der in opened(path).ders if der)


@cache
def readings() -> dict[bytes, Reading]:
    return {der: read_certificate(der) for der in every_der()}


def date_by_cryptography(der: bytes) -> datetime | None:
    try:
        return x509.load_der_x509_certificate(der).not_valid_after_utc
    except Exception:
        return None


def date_by_openssl(der: bytes) -> datetime | None:
    """A process for each: only for the few that nothing else reads."""
    command = ["openssl", "x509", "-inform", "DER", "-noout", "-enddate"]
    shown = subprocess.run(command, input=der, capture_output=True, check=False)
    text = shown.stdout.decode().strip().removeprefix("notAfter=")
    if shown.returncode or not text.endswith("GMT"):
        return None
    return datetime.strptime(text, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)


def test_every_certificate_whose_date_anything_can_read_has_it() -> None:
    dated = 0
    for der, reading in readings().items():
        own = reading.certificate.not_after if reading.certificate else None
        # What cryptography reads is held against that; what it does not, against OpenSSL.
        expected = date_by_cryptography(der) or date_by_openssl(der)
        assert expected is None or own == expected
        dated += own is not None
    assert dated > LEAST


def test_an_issuer_that_many_share_is_what_each_says_of_itself() -> None:
    compared = 0
    for der, reading in readings().items():
        try:
            parsed = x509.load_der_x509_certificate(der)
            issuer, same = printable(parsed.issuer.rfc4514_string()), parsed.issuer == parsed.subject
        except Exception:
            continue
        assert reading.certificate is not None
        assert (reading.certificate.issuer, reading.certificate.self_issued) == (issuer, same)
        compared += 1
    assert compared > LEAST


def test_every_other_one_has_a_reason_in_words() -> None:
    others = [reading for reading in readings().values() if reading.certificate is None]

    assert others
    for each in others:
        assert each.invalid in {InvalidReason.UNREADABLE, InvalidReason.BAD_TIME}
        assert each.detail.isprintable()


def test_the_walk_reads_every_date_that_the_library_reads() -> None:
    for der in readings():
        expected = date_by_cryptography(der)
        try:
            found = validity(der)[1]
        except DerError:
            found = None
        assert expected is None or found == expected


def test_no_file_makes_it_fail() -> None:
    for path in FILES:
        for needs_key in (True, False):
            material = read_bytes("vector", path.read_bytes(), passphrase=b"cryptography", needs_key=needs_key)
            assert material.chain, path.name
            assert material.problem is None or material.problem.detail.isprintable()


def by_the_library(path: Path) -> set[bytes] | None:
    """The certificates of a store, as `cryptography` opens it."""
    for passphrase in PASSPHRASES:
        try:
            found = pkcs12.load_pkcs12(path.read_bytes(), passphrase)
        except Exception:
            continue
        certificates = [each.certificate for each in (found.cert, *found.additional_certs) if each]
        return {each.public_bytes(Encoding.DER) for each in certificates}
    return None


def test_every_store_that_the_library_opens_holds_the_same_for_us() -> None:
    compared = 0
    for path in STORES:
        expected = by_the_library(path)
        if expected is not None:
            assert set(opened(path).ders) == expected, path.name
            compared += 1
    assert compared > 40


def test_every_store_with_a_key_and_its_certificate_can_be_presented() -> None:
    for path in (ROOT / "pkcs12").glob("cert-*key-*.p12"):
        material = opened(path, needs_key=True)
        assert material.problem is None, path.name
        assert material.key_pem


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.name)
def test_every_message_that_the_library_opens_holds_the_same_for_us(path: Path) -> None:
    data = path.read_bytes()
    load = pkcs7.load_pem_pkcs7_certificates if data.startswith(b"-----") else pkcs7.load_der_pkcs7_certificates
    try:
        expected = {each.public_bytes(Encoding.DER) for each in load(data)}
    except Exception:
        expected = set()
    assert {der for der in opened(path).ders if der} == expected


@pytest.mark.parametrize("content", [TEXT, OPENMETRICS])
def test_the_metrics_of_all_of_them_can_be_parsed(content: str) -> None:
    measured, chain = Measured(), tuple(readings().values())
    measured.put(Observation("vectors", Role.CLIENT, chain, "all"))
    for each in chain:
        measured.put(Observation("vectors", Role.CLIENT, (each,)))
    output = measured.text(content)
    series = scraped(output, content)

    named = [labels for name, labels in series if name == "certificate_info" and ("cert_ref", "all") in labels]
    assert len(named) == sum(each.certificate is not None for each in chain)
    if content == TEXT:
        assert lint(program("promtool"), output) == ACCEPTED


READS_ALL = """
import sys
from pathlib import Path
from exporter.certificates.files import read_bytes
for path in map(Path, sys.argv[1:]):
    read_bytes("vector", path.read_bytes(), passphrase=b"password", needs_key=False)
"""


@pytest.mark.parametrize("mode", ["default", "error"])
def test_nothing_is_printed_while_they_are_read(mode: str) -> None:
    paths = [str(path) for path in FILES if path.suffix in {".crt", ".pem"}]
    command = [sys.executable, "-W", mode, "-c", READS_ALL, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
