"""A certificate to be tried, from whatever bytes are sent."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, pkcs12
from cryptography.hazmat.primitives.serialization import KeySerializationEncryption as Encryption
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.certificates.candidate import Candidate, read_candidate
from exporter.certificates.contents import UnusableError
from tests.authority import DAY, Authority

AUTHORITY = Authority()
BETWEEN = AUTHORITY.intermediate("intermediate CA")
LEAF = BETWEEN.issue("leaf")
OTHER = BETWEEN.issue("other")
PASSPHRASE = b"canary-passphrase"
WHOLE = LEAF.pem + BETWEEN.root.pem + LEAF.key_pem()


def archive(encryption: Encryption, *, with_key: bool = True) -> bytes:
    key = LEAF.key if with_key else None
    return pkcs12.serialize_key_and_certificates(b"leaf", key, LEAF.certificate, [BETWEEN.root.certificate], encryption)


def ids(candidate: Candidate) -> list[str]:
    return [each.certificate.cert_id for each in candidate.chain]


@pytest.mark.parametrize(
    ("data", "key", "passphrase", "status"),
    [
        (WHOLE, None, b"", "pass"),
        (LEAF.pem + BETWEEN.root.pem, LEAF.key_pem(), b"", "pass"),
        (LEAF.pem + BETWEEN.root.pem, LEAF.key_pem(PASSPHRASE), PASSPHRASE, "pass"),
        (LEAF.pem + BETWEEN.root.pem, OTHER.key_pem(), b"", "fail"),
        (LEAF.pem + BETWEEN.root.pem, None, b"", "unknown"),
        (archive(BestAvailableEncryption(PASSPHRASE)), None, PASSPHRASE, "pass"),
        (archive(NoEncryption()), None, b"", "pass"),
        (archive(BestAvailableEncryption(PASSPHRASE), with_key=False), None, PASSPHRASE, "unknown"),
    ],
)
def test_every_form_is_read_with_or_without_its_key(
    data: bytes, key: bytes | None, passphrase: bytes, status: str
) -> None:
    candidate = read_candidate(data, key=key, passphrase=passphrase)
    assert candidate.key.status == status
    assert ids(candidate) == [LEAF.cert_id, BETWEEN.root.cert_id]
    assert (candidate.pair is not None) is (status == "pass")


def test_der_is_one_certificate() -> None:
    candidate = read_candidate(LEAF.der, key=LEAF.key_pem())
    assert (ids(candidate), candidate.key.status) == ([LEAF.cert_id], "pass")


@pytest.mark.parametrize(
    ("data", "key", "passphrase", "reason"),
    [
        (b"", None, b"", "unreadable"),
        (b"\x00" * 100, None, b"", "unreadable"),
        (LEAF.key_pem(), None, b"", "unreadable"),
        (LEAF.pem, b"no key", b"", "unreadable"),
        (WHOLE[:-60], None, b"", "unreadable"),
        (LEAF.pem, LEAF.key_pem(PASSPHRASE), b"", "bad_passphrase"),
        (LEAF.pem, LEAF.key_pem(PASSPHRASE), b"other", "bad_passphrase"),
        (archive(BestAvailableEncryption(PASSPHRASE)), None, b"other", "bad_passphrase"),
        (LEAF.pem + BETWEEN.root.pem.replace(b"MII", b"!!!", 1), None, b"", "unreadable"),
        (LEAF.pem * 12, LEAF.key_pem(), b"", "other"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(
    data: bytes, key: bytes | None, passphrase: bytes, reason: str
) -> None:
    with pytest.raises(UnusableError) as raised:
        read_candidate(data, key=key, passphrase=passphrase)
    assert raised.value.reason == reason
    assert not any(secret in str(raised.value) for secret in ("canary", "PRIVATE KEY--"))


def test_a_passphrase_that_is_missing_is_asked_for_in_words_that_fit_a_request() -> None:
    for data in (LEAF.pem + LEAF.key_pem(PASSPHRASE), archive(BestAvailableEncryption(PASSPHRASE))):
        with pytest.raises(UnusableError, match="it is encrypted, and no passphrase was given"):
            read_candidate(data)


def test_a_certificate_that_takes_too_long_to_read_whole_is_refused() -> None:
    large = Authority().issue("large", 30 * DAY, *(f"host-{number}.example" for number in range(3000)))
    with pytest.raises(UnusableError, match="certificate 1: larger than 40 KiB"):
        read_candidate(large.pem)


def test_eleven_certificates_are_a_chain_and_twelve_are_not() -> None:
    assert len(ids(read_candidate(LEAF.pem * 11))) == 11
    with pytest.raises(UnusableError, match="holds 12 certificates"):
        read_candidate(LEAF.pem * 12)


FORMS = [WHOLE, LEAF.der, archive(NoEncryption()), LEAF.pem + LEAF.key_pem(PASSPHRASE)]


@given(st.one_of(st.binary(max_size=400), st.sampled_from(FORMS)), st.data())
@settings(max_examples=300, deadline=None)
def test_hostile_bytes_are_read_or_refused_and_nothing_else(data: bytes, choice: st.DataObject) -> None:
    cut = choice.draw(st.integers(0, len(data)))
    replaced = choice.draw(st.binary(max_size=8))
    hostile = data[:cut] + replaced + data[cut + len(replaced) :]
    try:
        candidate = read_candidate(hostile, passphrase=b"x")
    except UnusableError as exc:
        said = str(exc)
    else:
        said = repr(candidate)
        assert 1 <= len(candidate.linked.path) <= len(candidate.chain) <= 11
    assert "PRIVATE KEY--" not in said
