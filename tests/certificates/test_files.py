from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from exporter.certcheck.certificate import InvalidReason
from exporter.certificates.files import CertificateFiles, Material, read_certificates, read_pair
from exporter.certificates.tls import Pair, client_context
from tests.authority import DAY, Authority, Issued

CANARY = b"canary-passphrase"
BROKEN = b"-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n"
AUTHORITY = Authority()
ORDERS, OTHER = AUTHORITY.issue("orders.example"), AUTHORITY.issue("other.example")

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


def without_a_date(issued: Issued) -> bytes:
    """The certificate with its first time made the 99th of the 99th."""
    at = issued.der.index(b"\x17\x0d") + 4
    return pem(issued.der[:at] + b"9999" + issued.der[at + 4 :])


class Folder:
    """Writes the parts, and reads them as the gateway does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(
        self, certificate: bytes | None, key: bytes | None = None, passphrase: bytes | None = None
    ) -> CertificateFiles:
        parts = {"cert.pem": certificate, "cert.key": key, "passphrase": passphrase}
        for name, content in parts.items():
            if content is not None:
                (self.path / name).write_bytes(content)
        key_file = self.path / "cert.key" if key is not None else None
        return CertificateFiles(
            self.path / "cert.pem", key_file, self.path / "passphrase" if passphrase is not None else None
        )

    def pair(self, certificate: bytes | None, key: bytes | None = None, passphrase: bytes | None = None) -> Material:
        return read_pair("orders", self.files(certificate, key, passphrase))

    def anchors(self, certificate: bytes | None) -> Material:
        return read_certificates("orders", self.files(certificate))

    def shown(self, material: Material) -> str:
        """The problem's text, with the folder left out."""
        assert material.problem is not None
        return material.problem.detail.replace(f"{self.path}/", "").replace(str(self.path), "")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def reasons(material: Material) -> list[InvalidReason | None]:
    return [reading.invalid for reading in material.chain]


def ids(material: Material) -> list[str | None]:
    return [reading.certificate.cert_id if reading.certificate else None for reading in material.chain]


def presentable(material: Material) -> bool:
    """OpenSSL takes the very bytes that were read."""
    assert material.key_pem is not None
    client_context(Pair(material.certificate_pem, material.key_pem, material.passphrase), AUTHORITY.root.pem)
    return material.problem is None


# What can be used.


def test_a_pair_is_read(folder: Folder) -> None:
    material = folder.pair(ORDERS.pem, ORDERS.key_pem())

    assert presentable(material)
    assert ids(material) == [ORDERS.cert_id]
    assert reasons(material) == [None]


def test_the_key_may_be_in_the_certificate_file(folder: Folder) -> None:
    for both in (ORDERS.pem + ORDERS.key_pem(), ORDERS.key_pem() + ORDERS.pem):
        assert presentable(folder.pair(both))


@pytest.mark.parametrize("passphrase", [CANARY, CANARY + b"\n", CANARY + b"\r\n", CANARY + b"\nanother line\n"])
def test_an_encrypted_key_is_opened_with_the_first_line_of_its_passphrase_file(
    folder: Folder, passphrase: bytes
) -> None:
    assert presentable(folder.pair(ORDERS.pem, ORDERS.key_pem(CANARY), passphrase))


def test_a_passphrase_for_a_key_that_needs_none_does_no_harm(folder: Folder) -> None:
    assert presentable(folder.pair(ORDERS.pem, ORDERS.key_pem(), CANARY))


def test_a_chain_is_read_in_the_order_of_its_file(folder: Folder) -> None:
    material = folder.pair(ORDERS.pem + OTHER.pem + AUTHORITY.root.pem, ORDERS.key_pem())

    assert presentable(material)
    assert ids(material) == [ORDERS.cert_id, OTHER.cert_id, AUTHORITY.root.cert_id]


@pytest.mark.parametrize("label", ["X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_other_labels_of_certificates_are_taken(folder: Folder, label: str) -> None:
    assert presentable(folder.pair(pem(ORDERS.der, label), ORDERS.key_pem()))
    assert folder.anchors(pem(AUTHORITY.root.der, label)).problem is None


def self_signed(key: PrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "self")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(AUTHORITY.now).not_valid_after(AUTHORITY.now.replace(year=2100))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("encryption", [NoEncryption(), BestAvailableEncryption(CANARY)])
@pytest.mark.parametrize(
    ("key", "container"),
    [
        (rsa.generate_private_key(65537, 2048), PrivateFormat.PKCS8),
        (rsa.generate_private_key(65537, 2048), PrivateFormat.TraditionalOpenSSL),
        (ec.generate_private_key(ec.SECP256R1()), PrivateFormat.TraditionalOpenSSL),
        (ec.generate_private_key(ec.SECP384R1()), PrivateFormat.PKCS8),
        (ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8),
    ],
)
def test_every_usual_kind_of_key_is_read(
    folder: Folder, key: PrivateKey, container: PrivateFormat, encryption: KeySerializationEncryption
) -> None:
    key_pem = key.private_bytes(Encoding.PEM, container, encryption)

    assert presentable(folder.pair(self_signed(key), key_pem, CANARY))
    assert folder.pair(self_signed(key), ORDERS.key_pem()).problem is not None


def test_anchors_need_no_key(folder: Folder) -> None:
    material = folder.anchors(AUTHORITY.root.pem + Authority("another CA").root.pem)

    assert material.problem is None
    assert material.key_pem is None
    assert len(material.chain) == 2


def test_an_expired_certificate_is_usable(folder: Folder) -> None:
    expired = AUTHORITY.issue("old.example", -5 * DAY)

    assert presentable(folder.pair(expired.pem, expired.key_pem()))


# What cannot be used.


@pytest.mark.parametrize(
    ("certificate", "key", "passphrase", "reason", "detail"),
    [
        (None, ORDERS.key_pem(), None, InvalidReason.MISSING, "cert.pem: no such file"),
        (b"", ORDERS.key_pem(), None, InvalidReason.UNREADABLE, "cert.pem: empty"),
        (b" \r\n\n", ORDERS.key_pem(), None, InvalidReason.UNREADABLE, "cert.pem: empty"),
        (
            b"neither one nor the other",
            ORDERS.key_pem(),
            None,
            InvalidReason.UNREADABLE,
            "cert.pem: has no certificate, in any known form",
        ),
        (
            ORDERS.key_pem(),
            ORDERS.key_pem(),
            None,
            InvalidReason.UNREADABLE,
            "cert.pem: has no certificate, in any known form",
        ),
        (b"x" * (4 * 1024 * 1024 + 1), ORDERS.key_pem(), None, InvalidReason.UNREADABLE, "cert.pem: larger than 4 MiB"),
        (ORDERS.pem, None, None, InvalidReason.MISSING, "cert.pem: has no private key; set key_file"),
        (ORDERS.pem, b"", None, InvalidReason.UNREADABLE, "cert.key: has no private key"),
        (ORDERS.pem, ORDERS.pem, None, InvalidReason.UNREADABLE, "cert.key: has no private key"),
        (
            ORDERS.pem,
            pem(b"garbage", "PRIVATE KEY"),
            None,
            InvalidReason.UNREADABLE,
            "cert.key: the private key cannot be read",
        ),
        (ORDERS.pem, OTHER.key_pem(), None, InvalidReason.KEY_MISMATCH, "cert.key: is not the key of cert.pem"),
        (ORDERS.pem + OTHER.key_pem(), None, None, InvalidReason.KEY_MISMATCH, "cert.pem: is not the key of cert.pem"),
        # The leaf comes first in a file, or the key is another's.
        (
            AUTHORITY.root.pem + ORDERS.pem,
            ORDERS.key_pem(),
            None,
            InvalidReason.KEY_MISMATCH,
            "cert.key: is not the key of cert.pem",
        ),
        (
            ORDERS.pem,
            ORDERS.key_pem(CANARY),
            None,
            InvalidReason.BAD_PASSPHRASE,
            "cert.key: it is encrypted; set passphrase or passphrase_file",
        ),
        (
            ORDERS.pem,
            ORDERS.key_pem(CANARY),
            b"canary-wrong",
            InvalidReason.BAD_PASSPHRASE,
            "cert.key: the passphrase does not open it",
        ),
        (
            without_a_date(ORDERS),
            ORDERS.key_pem(),
            None,
            InvalidReason.BAD_TIME,
            "cert.pem: certificate 1: not a date",
        ),
        (
            pem(b"garbage"),
            ORDERS.key_pem(),
            None,
            InvalidReason.UNREADABLE,
            "cert.pem: certificate 1: not the expected element",
        ),
        (BROKEN, ORDERS.key_pem(), None, InvalidReason.UNREADABLE, "cert.pem: certificate 1: its base64 is broken"),
        (
            ORDERS.pem + BROKEN,
            ORDERS.key_pem(),
            None,
            InvalidReason.UNREADABLE,
            "cert.pem: certificate 2: its base64 is broken",
        ),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_pair_that_cannot_be_used_has_a_reason_and_a_sentence(
    folder: Folder,
    certificate: bytes | None,
    key: bytes | None,
    passphrase: bytes | None,
    reason: InvalidReason,
    detail: str,
) -> None:
    material = folder.pair(certificate, key, passphrase)

    assert material.problem is not None
    assert (material.problem.invalid, folder.shown(material)) == (reason, detail)
    assert material.chain[0].invalid is reason
    assert "canary" not in repr(material)
    assert "PRIVATE KEY-----" not in repr(material)


def test_a_certificate_whose_key_cannot_be_used_is_known_all_the_same(folder: Folder) -> None:
    material = folder.pair(ORDERS.pem, OTHER.key_pem())

    assert ids(material) == [ORDERS.cert_id]
    assert material.problem == material.chain[0]


@pytest.mark.parametrize("part", ["key_file", "passphrase_file"])
def test_a_part_that_is_missing_is_named(folder: Folder, part: str) -> None:
    files = folder.files(ORDERS.pem, ORDERS.key_pem(CANARY), CANARY)
    getattr(files, part).unlink()
    material = read_pair("orders", files)

    assert material.problem is not None
    assert (material.problem.invalid, material.problem.detail) == (
        InvalidReason.MISSING,
        f"{getattr(files, part)}: no such file",
    )
    assert ids(material) == [ORDERS.cert_id]


def a_folder(path: Path) -> Path:
    path.unlink()
    path.mkdir()
    return path


def below_a_file(path: Path) -> Path:
    return path / "tls.crt"


def a_name_too_long(path: Path) -> Path:
    return path.with_name("n" * 300)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (a_folder, "Is a directory"),
        (below_a_file, "Not a directory"),
        (a_name_too_long, "File name too long"),
    ],
)
def test_what_is_no_file_is_unreadable(folder: Folder, spoil: Callable[[Path], Path], why: str) -> None:
    files = folder.files(ORDERS.pem, ORDERS.key_pem())
    material = read_pair("orders", CertificateFiles(spoil(files.cert_file), files.key_file))

    assert reasons(material) == [InvalidReason.UNREADABLE]
    assert folder.shown(material).endswith(f": cannot be read: {why}")


@pytest.mark.parametrize("name", [b"\xff.pem", b"nul\0.pem", "\u202e.pem".encode()])
def test_a_file_name_that_cannot_be_shown_is_told_about_in_a_text_that_can(folder: Folder, name: bytes) -> None:
    material = read_pair("orders", CertificateFiles(folder.path / os.fsdecode(name)))

    assert material.problem is not None
    assert material.problem.detail.isprintable()


def test_a_bad_block_does_not_hide_the_good_ones_of_its_file(folder: Folder) -> None:
    material = folder.anchors(AUTHORITY.root.pem + BROKEN + pem(b"garbage") + without_a_date(OTHER) + ORDERS.pem)

    assert ids(material) == [AUTHORITY.root.cert_id, None, None, None, ORDERS.cert_id]
    assert reasons(material) == [
        None,
        InvalidReason.UNREADABLE,
        InvalidReason.UNREADABLE,
        InvalidReason.BAD_TIME,
        None,
    ]
    assert folder.shown(material) == "cert.pem: certificate 2: its base64 is broken"


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (None, InvalidReason.MISSING),
        (b"", InvalidReason.UNREADABLE),
        (b"no certificate", InvalidReason.UNREADABLE),
        (BROKEN, InvalidReason.UNREADABLE),
        (without_a_date(AUTHORITY.root), InvalidReason.BAD_TIME),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_anchors_that_cannot_be_used_have_a_reason(
    folder: Folder, certificate: bytes | None, reason: InvalidReason
) -> None:
    material = folder.anchors(certificate)

    assert material.problem is not None
    assert (material.problem.invalid, reasons(material)) == (reason, [reason])


def with_a_broken_key(issued: Issued) -> bytes:
    """The certificate with a public key that is no bit string; its dates and names are as they were."""
    key = issued.der.index(bytes.fromhex("06082a8648ce3d030107")) + 10
    return pem(issued.der[:key] + b"\x05" + issued.der[key + 1 :])


def test_anchors_that_only_openssl_refuses_are_unusable_in_their_slot(folder: Folder) -> None:
    material = folder.anchors(with_a_broken_key(AUTHORITY.root))

    assert material.problem is not None
    assert (material.problem.invalid, reasons(material)) == (InvalidReason.OTHER, [InvalidReason.OTHER])
    # The dates are there all the same.
    assert material.chain[0].certificate is not None


# What has changed.


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((ORDERS.pem, ORDERS.key_pem(), None), (OTHER.pem, ORDERS.key_pem(), None)),
        ((ORDERS.pem, ORDERS.key_pem(), None), (ORDERS.pem, OTHER.key_pem(), None)),
        ((ORDERS.pem, ORDERS.key_pem(), b"one"), (ORDERS.pem, ORDERS.key_pem(), b"two")),
        ((ORDERS.pem, ORDERS.key_pem(), None), (ORDERS.pem + b"\n", ORDERS.key_pem(), None)),
        ((None, ORDERS.key_pem(), None), (b"", ORDERS.key_pem(), None)),
        ((b"ab", b"c", None), (b"a", b"bc", None)),
    ],
    ids=["certificate", "key", "passphrase", "white space", "a file that was missing", "where a file ends"],
)
def test_the_digest_tells_whenever_a_byte_has_changed(
    folder: Folder,
    before: tuple[bytes | None, bytes | None, bytes | None],
    after: tuple[bytes | None, bytes | None, bytes | None],
) -> None:
    first, again, changed = (folder.pair(*parts).digest for parts in (before, before, after))

    assert first == again
    assert first != changed
