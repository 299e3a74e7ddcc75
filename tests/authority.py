"""Certificates for tests: real ones, of any age, from one authority."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

DAY = timedelta(days=1)

Key: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

KEYS: dict[str, Callable[[], Key]] = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, as PEM."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def cert_id(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def key_pem(self, passphrase: bytes = b"") -> bytes:
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def write(self, directory: Path, name: str) -> tuple[str, str]:
        """Write both parts; the names of the files."""
        (directory / f"{name}.pem").write_bytes(self.pem)
        (directory / f"{name}.key").write_bytes(self.key_pem())
        return f"{name}.pem", f"{name}.key"


class Authority:
    """A CA, of its own or `by` another one. What it issues is valid from a year ago unless told."""

    def __init__(
        self,
        name: str = "test CA",
        now: datetime | None = None,
        *,
        by: Authority | None = None,
        left: timedelta = 3650 * DAY,
        path_length: int | None = None,
        extensions: Iterable[x509.ExtensionType] = (),
        key: Key | None = None,
    ) -> None:
        self.now: datetime = (now or (by.now if by else datetime.now(UTC))).replace(microsecond=0)
        key = key or KEYS["ec"]()
        constraints = x509.BasicConstraints(ca=True, path_length=path_length)
        builder = self._builder(_name(name), key, left, min(-365 * DAY, left - DAY))
        builder = builder.issuer_name(by.root.certificate.subject if by else _name(name))
        self.root: Issued = Issued(_signed(builder, [constraints, *extensions], by.root.key if by else key), key)

    def intermediate(self, name: str, left: timedelta = 3650 * DAY, *extensions: x509.ExtensionType) -> Authority:
        """A CA that this one has issued."""
        return Authority(name, by=self, left=left, extensions=extensions)

    def issue(
        self,
        name: str,
        left: timedelta = 100 * DAY,
        *sans: str,
        since: timedelta = -365 * DAY,
        not_after: datetime | None = None,
        not_before: datetime | None = None,
        extensions: Iterable[x509.ExtensionType] = (),
        key: Key | None = None,
    ) -> Issued:
        """A certificate with `left` to go. SANs are DNS names or IP addresses; `name` where none is given."""
        key = key or KEYS["ec"]()
        builder = self._builder(_name(name), key, left, min(since, left - DAY), not_after, not_before)
        names = x509.SubjectAlternativeName([_general_name(san) for san in sans or (name,)])
        builder = builder.issuer_name(self.root.certificate.subject)
        return Issued(_signed(builder, [names, *extensions], self.root.key), key)

    def _builder(
        self,
        subject: x509.Name,
        key: Key,
        left: timedelta,
        since: timedelta,
        not_after: datetime | None = None,
        not_before: datetime | None = None,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or self.now + since)
            .not_valid_after(not_after or self.now + left)
        )


def unreadable(authority: Authority, extension: x509.ObjectIdentifier) -> Issued:
    """A certificate with an extension that no parser reads."""
    key = KEYS["ec"]()
    builder = authority._builder(_name("unreadable"), key, DAY, -DAY).issuer_name(authority.root.certificate.subject)
    return Issued(_signed(builder, [x509.UnrecognizedExtension(extension, b"\x04\x00")], authority.root.key), key)


def _signed(builder: x509.CertificateBuilder, extensions: list[x509.ExtensionType], key: Key) -> x509.Certificate:
    for each in extensions:
        builder = builder.add_extension(each, critical=isinstance(each, x509.BasicConstraints | x509.NameConstraints))
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _general_name(san: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(san))
    except ValueError:
        return x509.DNSName(san)
