"""Certificates for tests: real ones, of any age, from one authority."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, as PEM."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

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
    """A CA. What it issues is valid from a year ago unless told."""

    def __init__(self, name: str = "test CA", now: datetime | None = None) -> None:
        self.now = (now or datetime.now(UTC)).replace(microsecond=0)
        self._name = _name(name)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(self._name, key, 3650 * DAY, -365 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.root = Issued(builder.sign(key, hashes.SHA256()), key)

    def issue(
        self,
        name: str,
        left: timedelta = 100 * DAY,
        *sans: str,
        since: timedelta = -365 * DAY,
        not_after: datetime | None = None,
        not_before: datetime | None = None,
    ) -> Issued:
        """A certificate with `left` to go. SANs are DNS names or IP addresses; `name` where none is given."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(name), key, left, min(since, left - DAY), not_after, not_before)
        names = x509.SubjectAlternativeName([_general_name(san) for san in sans or (name,)])
        return Issued(builder.add_extension(names, critical=False).sign(self.root.key, hashes.SHA256()), key)

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        left: timedelta,
        since: timedelta,
        not_after: datetime | None = None,
        not_before: datetime | None = None,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or self.now + since)
            .not_valid_after(not_after or self.now + left)
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _general_name(san: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(san))
    except ValueError:
        return x509.DNSName(san)
