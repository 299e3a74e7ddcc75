"""A file is what its content says, whatever its name; and what is in it is found whatever stands beside it."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.certcheck.certificate import InvalidReason
from exporter.certificates.files import (
    CertificateFiles,
    Material,
    read_bytes,
    read_certificates,
    read_pair,
    read_watched,
)
from exporter.certificates.tls import Pair, client_context
from tests.authority import KEYS, Authority, Issued
from tests.certificates import java

SECRET = "canary-passphrase"
AUTHORITY = Authority()
ROOT = AUTHORITY.root
ORDERS, OTHER = AUTHORITY.issue("orders.example", key=KEYS["rsa"]()), AUTHORITY.issue("other.example")
CHAIN = [ORDERS.cert_id, ROOT.cert_id]


def pem(der: bytes, label: str) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


def pkcs8(issued: Issued, secret: str = "", encoding: Encoding = Encoding.DER) -> bytes:
    encryption = BestAvailableEncryption(secret.encode()) if secret else NoEncryption()
    return issued.key.private_bytes(encoding, PrivateFormat.PKCS8, encryption)


def traditional(issued: Issued, encoding: Encoding, secret: str = "") -> bytes:
    encryption = BestAvailableEncryption(secret.encode()) if secret else NoEncryption()
    return issued.key.private_bytes(encoding, PrivateFormat.TraditionalOpenSSL, encryption)


def p12(*others: Issued, secret: str = SECRET, own: Issued | None = ORDERS) -> bytes:
    encryption = BestAvailableEncryption(secret.encode()) if secret else NoEncryption()
    certificates = [each.certificate for each in others]
    key, certificate = (own.key, own.certificate) if own else (None, None)
    return pkcs12.serialize_key_and_certificates(b"orders", key, certificate, certificates, encryption)


def p7(encoding: Encoding, *issued: Issued) -> bytes:
    return pkcs7.serialize_certificates([each.certificate for each in issued], encoding)


def jks(*entries: bytes, **more: int) -> bytes:
    own = java.private_key("orders", pkcs8(ORDERS), ORDERS.der, ROOT.der, password=SECRET)
    return java.store(*(entries or (java.trusted("another", OTHER.der), own)), password=SECRET, **more)


def ids(material: Material) -> list[str | None]:
    return [reading.certificate.cert_id if reading.certificate else None for reading in material.chain]


def pair(data: bytes, key: bytes | None = None, secret: str = SECRET) -> Material:
    return read_bytes("orders", data, key=key, passphrase=secret.encode(), needs_key=True)


def anchors(data: bytes, secret: str = "") -> Material:
    return read_bytes("anchors", data, passphrase=secret.encode(), needs_key=False)


def told(material: Material) -> tuple[InvalidReason | None, str]:
    assert material.problem is not None
    return material.problem.invalid, material.problem.detail


def presentable(material: Material) -> bool:
    assert material.problem is None, material.problem
    assert material.key_pem is not None
    client_context(Pair(material.certificate_pem, material.key_pem, material.passphrase), ROOT.pem)
    return True


BUNDLE = ORDERS.pem + ROOT.pem


@pytest.mark.parametrize(
    "data",
    [
        BUNDLE,
        BUNDLE.replace(b"\n", b"\r\n"),
        b"Bag Attributes\n  friendlyName: orders -- 1\n" + ORDERS.pem + "subject=/CN=é\n".encode() + ROOT.pem,
        b"\xef\xbb\xbf" + BUNDLE,
        BUNDLE.decode().encode("utf-16"),
        b"\xfe\xff" + BUNDLE.decode().encode("utf-16-be"),
        pem(ORDERS.der, "X509 CERTIFICATE") + pem(ROOT.der + b"\x30\x03\x0c\x01x", "TRUSTED CERTIFICATE"),
        ORDERS.der + ROOT.der,
        p7(Encoding.PEM, ORDERS, ROOT),
        p7(Encoding.DER, ORDERS, ROOT),
        p12(ROOT, own=None, secret=""),
        jks(java.trusted("orders", ORDERS.der), java.trusted("root", ROOT.der)),
        jks(java.trusted("orders", ORDERS.der, 1), java.trusted("root", ROOT.der, 1), version=1),
    ],
    ids=lambda data: ascii(data[:24]),
)
def test_certificates_are_found_in_every_form(data: bytes) -> None:
    found = anchors(data)

    assert found.problem is None
    assert set(ids(found)) >= {ROOT.cert_id}
    assert set(ids(found)) <= set(CHAIN)


@pytest.mark.parametrize("trailing", [b"\n", b"\0\0", b"\x30\x03\x0c\x01x", b"\x30\x82"])
def test_what_stands_behind_a_certificate_in_der_is_not_taken_for_another_one(trailing: bytes) -> None:
    assert ids(anchors(ROOT.der + trailing)) == [ROOT.cert_id]


@pytest.mark.parametrize(
    "key",
    [
        pkcs8(ORDERS),
        pkcs8(ORDERS, SECRET),
        pkcs8(ORDERS, SECRET, Encoding.PEM),
        pkcs8(ORDERS, SECRET, Encoding.PEM).replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + pkcs8(ORDERS, encoding=Encoding.PEM),
        pkcs8(ORDERS, encoding=Encoding.PEM).decode().encode("utf-16"),
        traditional(ORDERS, Encoding.DER),
        traditional(ORDERS, Encoding.PEM),
        traditional(ORDERS, Encoding.PEM, SECRET),
        p12(),
        jks(),
    ],
    ids=lambda key: ascii(key[:40]),
)
def test_keys_are_found_in_every_form(key: bytes) -> None:
    for certificate in (ORDERS.pem, ORDERS.der, p7(Encoding.DER, ROOT, ORDERS)):
        assert presentable(pair(certificate, key))


def test_keys_that_are_short_are_found_in_der() -> None:
    for kind in ("ec", "ed25519"):
        short = AUTHORITY.issue("short", key=KEYS[kind]())
        assert presentable(pair(short.pem, pkcs8(short)))
    assert presentable(pair(OTHER.pem, traditional(OTHER, Encoding.DER)))


@pytest.mark.parametrize("data", [p12(OTHER, ROOT), jks(), pem(p7(Encoding.DER, ROOT, ORDERS), "CMS")])
def test_the_leaf_comes_first_wherever_it_was(data: bytes) -> None:
    key = pkcs8(ORDERS) if data.startswith(b"-----") else None
    material = pair(data, key)

    assert presentable(material)
    assert ids(material)[0] == ORDERS.cert_id
    # And is the first for OpenSSL.
    assert read_bytes("again", material.certificate_pem, needs_key=False).chain[0] == material.chain[0]


@pytest.mark.parametrize(
    "data",
    [
        p7(Encoding.DER, ROOT, ORDERS),
        p12(ROOT, ORDERS, own=None, secret=""),
        jks(java.trusted("a", ROOT.der), java.trusted("b", ORDERS.der)),
    ],
)
def test_without_an_order_and_a_key_a_certificate_that_is_no_ca_comes_first(data: bytes) -> None:
    # Or a client's file would allow all that its issuer has issued, for the order that a program has chosen.
    assert ids(anchors(data)) == CHAIN


def test_an_open_store_is_opened_without_a_passphrase() -> None:
    assert presentable(pair(p12(ROOT, secret=""), secret=""))


def test_of_a_java_store_only_the_keys_own_chain_is_presented() -> None:
    material = pair(jks())

    assert ids(material) == [*CHAIN, OTHER.cert_id]
    assert material.certificate_pem.count(b"BEGIN CERTIFICATE") == 2


WRONG, MISSING = "the passphrase does not open it", "it is encrypted; set passphrase or passphrase_file"


@pytest.mark.parametrize(("secret", "why"), [("canary-wrong", WRONG), ("", MISSING)])
@pytest.mark.parametrize(
    ("data", "key", "shown"),
    [
        (p12(ROOT), None, [None]),
        (jks(), None, [*CHAIN, OTHER.cert_id]),
        (BUNDLE, pkcs8(ORDERS, SECRET), CHAIN),
        (BUNDLE, pkcs8(ORDERS, SECRET, Encoding.PEM), CHAIN),
        (BUNDLE, traditional(ORDERS, Encoding.PEM, SECRET), CHAIN),
    ],
)
def test_a_passphrase_that_does_not_fit_hides_no_date_that_can_be_read_without(
    data: bytes, key: bytes | None, shown: list[str | None], secret: str, why: str
) -> None:
    material = pair(data, key, secret)

    assert told(material) == (InvalidReason.BAD_PASSPHRASE, f"{'key: ' if key else ''}{why}")
    assert ids(material) == shown
    assert material.chain[0].invalid is InvalidReason.BAD_PASSPHRASE
    assert (material.key_pem, material.certificate_pem) == (None, b"")


def test_a_java_store_of_certificates_needs_no_passphrase_but_no_wrong_one() -> None:
    data = jks(java.trusted("root", ROOT.der))

    assert anchors(data).problem is None
    assert anchors(data, SECRET).problem is None
    assert told(anchors(data, "canary-wrong")) == (InvalidReason.BAD_PASSPHRASE, WRONG)


def test_one_bad_entry_of_a_java_store_does_not_hide_a_good_one() -> None:
    data = jks(java.trusted("bad", b"\x30\x03\x02\x01\x01"), java.trusted("root\n", ROOT.der), entries_said=3)
    material = anchors(data)

    assert ids(material) == [None, ROOT.cert_id, None]
    assert [reading.detail for reading in material.chain] == [
        "entry 1 (alias 'bad'): not the expected element",
        "",
        "entry 3: ends early",
    ]


def test_a_java_store_that_is_cut_off_shows_what_comes_before() -> None:
    whole = jks(java.private_key("orders", pkcs8(ORDERS), ORDERS.der, ROOT.der, password=SECRET))
    material = pair(whole[: -len(ROOT.der) // 2])

    assert ids(material) == [ORDERS.cert_id, None]


def test_of_a_jceks_store_the_certificates_are_read_also_behind_a_secret_key() -> None:
    own = java.private_key("orders", pkcs8(ORDERS), ORDERS.der, password=SECRET)
    data = java.store(java.secret_key("aes"), own, java.trusted("root", ROOT.der), magic=java.JCEKS, password=SECRET)

    assert ids(anchors(data, SECRET)) == CHAIN
    assert told(pair(data)) == (InvalidReason.OTHER, "the keys of a JCEKS store are not supported; make it PKCS#12")


def test_of_two_keys_none_is_guessed() -> None:
    keys = (
        java.private_key("orders", pkcs8(ORDERS), ORDERS.der, password=SECRET),
        java.private_key("other", pkcs8(OTHER), OTHER.der, password=SECRET),
    )
    material = pair(jks(*keys))

    assert told(material) == (
        InvalidReason.OTHER,
        "has 2 private keys; put the one to use into a file of its own",
    )
    assert ids(material) == [ORDERS.cert_id, OTHER.cert_id]


def test_another_certificates_key_is_told_in_every_form() -> None:
    for data in (ORDERS.der, p7(Encoding.DER, ORDERS, ROOT), p12(ROOT)):
        assert told(pair(data, pkcs8(OTHER))) == (InvalidReason.KEY_MISMATCH, "key: is not the key of the certificate")


def test_nothing_said_of_bytes_names_a_file() -> None:
    assert told(anchors(b"")) == (InvalidReason.UNREADABLE, "empty")
    assert told(anchors(b"hello")) == (InvalidReason.UNREADABLE, "has no certificate, in any known form")
    assert told(anchors(b"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----"))[1] == (
        "certificate 1: its base64 is broken"
    )
    assert told(pair(ORDERS.pem, b"x"))[1] == "key: has no private key"
    assert told(anchors(b"0" * (4 * 1024 * 1024 + 1)))[1] == "larger than 4 MiB"


def element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content


def locked(iterations: int, kind: str) -> bytes:
    """An EncryptedPrivateKeyInfo that asks for a number of iterations."""
    number = element(0x02, iterations.to_bytes(8, "big", signed=True))
    salt = element(0x04, b"salt" * 2)
    if kind == "PKCS#12":
        algorithm = element(0x30, bytes.fromhex("060a2a864886f70d010c0103"), element(0x30, salt, number))
    else:
        derivation = element(0x30, bytes.fromhex("06092a864886f70d01050c"), element(0x30, salt, number))
        if kind == "scrypt":
            cost = element(0x30, salt, number, element(0x02, b"\x08"), element(0x02, b"\x01"))
            derivation = element(0x30, bytes.fromhex("06092b06010401da47040b"), cost)
        cipher = element(0x30, bytes.fromhex("060960864801650304012a"), element(0x04, bytes(16)))
        algorithm = element(0x30, bytes.fromhex("06092a864886f70d01050d"), element(0x30, derivation, cipher))
    return element(0x30, algorithm, element(0x04, bytes(160)))


@pytest.mark.parametrize("kind", ["PBKDF2", "scrypt", "PKCS#12"])
def test_what_would_take_for_ever_to_open_is_refused_at_once(kind: str) -> None:
    refused = pair(ORDERS.pem, locked(2**31, kind))

    assert told(refused) == (
        InvalidReason.OTHER,
        "key: the private key asks for more than 10,000,000 iterations to be opened",
    )
    assert told(pair(ORDERS.pem, locked(1, kind)))[0] in {InvalidReason.BAD_PASSPHRASE, InvalidReason.OTHER}
    assert told(pair(ORDERS.pem, locked(-1, kind)))[0] in {InvalidReason.UNREADABLE, InvalidReason.OTHER}


# As the usual programs write them.

STYLES = {
    "today's": (),
    "RC2 with 40 bits": ("-legacy",),
    "RC2 with 128 bits, 3DES with two keys": (
        *("-legacy", "-certpbe", "PBE-SHA1-RC2-128", "-keypbe", "PBE-SHA1-2DES", "-macalg", "sha1"),
    ),
    "3DES": ("-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha512", "-iter", "5000"),
    "certificates in the clear": ("-certpbe", "NONE"),
    "without a MAC": ("-nomac", "-keypbe", "aes-128-cbc", "-certpbe", "aes-192-cbc"),
}


def by_openssl(directory: Path, *options: str, secret: str = SECRET) -> bytes:
    ORDERS.write(directory, "orders")
    (directory / "root.pem").write_bytes(ROOT.pem)
    command = ["openssl", "pkcs12", "-export", "-in", "orders.pem", "-inkey", "orders.key", "-certfile", "root.pem"]
    command += ["-out", "store.p12", "-passout", f"pass:{secret}", *options]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return (directory / "store.p12").read_bytes()


@pytest.mark.parametrize("style", STYLES)
def test_what_openssl_exports_is_opened(tmp_path: Path, style: str) -> None:
    data = by_openssl(tmp_path, *STYLES[style])
    material = pair(data)

    assert presentable(material)
    assert ids(material) == CHAIN
    wrong = pair(data, secret="canary-wrong")
    assert told(wrong) == (InvalidReason.BAD_PASSPHRASE, WRONG)
    assert ids(wrong) == (CHAIN if style == "certificates in the clear" else [None])


@pytest.mark.parametrize("secret", ["", "pässwörd ☃"])
def test_an_empty_passphrase_and_one_of_any_letters_open_what_openssl_exports(tmp_path: Path, secret: str) -> None:
    assert presentable(pair(by_openssl(tmp_path, secret=secret), secret=secret))
    assert presentable(pair(by_openssl(tmp_path, "-legacy", secret=secret), secret=secret))


@pytest.mark.parametrize("kind", ["JKS", "JCEKS", "PKCS12"])
def test_what_keytool_writes_is_opened(tmp_path: Path, kind: str) -> None:
    if shutil.which("keytool") is None:
        pytest.skip("keytool is not installed")
    (tmp_path / "store.p12").write_bytes(by_openssl(tmp_path))
    source = ("-srckeystore", "store.p12", "-srcstoretype", "PKCS12", "-srcstorepass", SECRET)
    target = ("-destkeystore", "store", "-deststoretype", kind, "-deststorepass", SECRET)
    command = ["keytool", "-importkeystore", "-noprompt", *source, *target]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    data = (tmp_path / "store").read_bytes()

    assert ids(anchors(data, SECRET)) == CHAIN
    if kind == "JCEKS":
        assert told(pair(data))[0] is InvalidReason.OTHER
    else:
        assert presentable(pair(data))


# Files.


def test_the_passphrase_may_be_given_without_a_file_and_is_part_of_what_changes(tmp_path: Path) -> None:
    (tmp_path / "orders").write_bytes(p12(ROOT))
    read = [read_pair("orders", CertificateFiles(tmp_path / "orders", passphrase=each)) for each in (b"a", b"b")]
    right = CertificateFiles(tmp_path / "orders", passphrase=SECRET.encode())

    assert presentable(read_pair("orders", right))
    assert read[0].digest != read[1].digest
    assert SECRET not in repr(right)
    assert SECRET not in repr(read_pair("orders", right))


def test_what_is_told_of_a_file_names_it_and_the_entry(tmp_path: Path) -> None:
    file = tmp_path / "trust.jks"
    file.write_bytes(jks(java.trusted("bad", b"x"), java.trusted("root", ROOT.der)))
    for read in (read_certificates, read_watched):
        assert (
            told(read("trust", CertificateFiles(file)))[1] == f"{file}: entry 1 (alias 'bad'): not the expected element"
        )


def test_what_is_watched_is_read_but_not_prepared_for_use(tmp_path: Path) -> None:
    for data in (BUNDLE, p12(ROOT), jks(), ROOT.der):
        (tmp_path / "file").write_bytes(data)
        files = CertificateFiles(tmp_path / "file", key_file=tmp_path / "none", passphrase=SECRET.encode())
        watched = read_watched("watched", files)
        assert watched.problem is None
        assert set(ids(watched)) <= {*CHAIN, OTHER.cert_id}
        assert (watched.certificate_pem, watched.key_pem, watched.passphrase) == (b"", None, b"")


def test_what_is_watched_has_its_problem_in_its_first_reading(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(jks())
    watched = read_watched("watched", CertificateFiles(tmp_path / "file", passphrase=b"canary-wrong"))

    assert told(watched) == (InvalidReason.BAD_PASSPHRASE, f"{tmp_path}/file: {WRONG}")
    assert watched.chain[0] == watched.problem
    assert ids(watched) == [*CHAIN, OTHER.cert_id]


# Whatever is done to them.

SOUND = [BUNDLE + pkcs8(ORDERS, SECRET, Encoding.PEM), ORDERS.der, p7(Encoding.DER, ORDERS, ROOT), p12(ROOT), jks()]
CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6)


def is_told(material: Material) -> bool:
    problem = material.problem
    return bool(material.chain) and (
        problem is None or (problem.invalid is not None and bool(problem.detail) and problem.detail.isprintable())
    )


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SOUND), CHANGES, st.booleans())
def test_changed_bytes_never_raise(data: bytes, changes: list[tuple[int, int]], needs_key: bool) -> None:  # noqa: FBT001
    changed = bytearray(data)
    for position, value in changes:
        changed[position % len(data)] = value

    material = read_bytes("any", bytes(changed), passphrase=SECRET.encode(), needs_key=needs_key)
    assert is_told(material)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(SOUND), st.integers(0, 10_000), st.binary(max_size=40))
def test_cut_and_continued_bytes_never_raise(data: bytes, length: int, more: bytes) -> None:
    assert is_told(read_bytes("any", data[: length % len(data)] + more, passphrase=b"x", needs_key=True))


@given(
    st.sampled_from([b"", b"\xfe\xed\xfe\xed\0\0\0\2", b"\xce\xce\xce\xce\0\0\0\2", b"\x30\x80"]),
    st.binary(max_size=200),
)
def test_random_bytes_never_raise(start: bytes, data: bytes) -> None:
    assert is_told(read_bytes("any", start + data, needs_key=True))
