"""A certificate: its dates first, and as much of the rest as can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from exporter.certcheck.der import BadTimeError, DerError, validity
from exporter.certcheck.text import printable

T = TypeVar("T")

_MOST_SANS = 100
_KEY_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}


class InvalidReason(StrEnum):
    """Why a certificate cannot be used: the published set of `CertificateInvalid`'s `reason`."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    BAD_TIME = "bad_time"
    KEY_MISMATCH = "key_mismatch"
    BAD_PASSPHRASE = "bad_passphrase"  # noqa: S105 a reason, not a passphrase
    NOT_YET_VALID = "not_yet_valid"
    HOSTNAME_MISMATCH = "hostname_mismatch"
    UNKNOWN_ISSUER = "unknown_issuer"
    SELF_SIGNED = "self_signed"
    REVOKED = "revoked"
    REFUSED_BY_UPSTREAM = "refused_by_upstream"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate. `None` is what could not be read; the dates are always there."""

    cert_id: str
    """Lower-case hex SHA-256 of the DER."""
    not_before: datetime
    """Aware, UTC."""
    not_after: datetime
    """Aware, UTC. RFC 5280 section 4.1.2.5 makes the period inclusive: valid up to and at this instant."""
    common_name: str | None = None
    sans: tuple[str, ...] = ()
    """DNS names, IP addresses, URIs and e-mail addresses, at most 100."""
    subject: str | None = None
    """RFC 4514."""
    issuer: str | None = None
    """RFC 4514."""
    serial_number: str | None = None
    """Lower-case hex."""
    key_type: str | None = None
    """`rsa-2048`, `ec-secp256r1`, `ed25519`."""
    signature_algorithm: str | None = None
    is_ca: bool = False
    self_issued: bool = False
    key_usages: tuple[str, ...] | None = None
    """RFC 5280 section 4.2.1.3, in its words: `digitalSignature`, `keyCertSign`. None: any."""
    extended_key_usages: tuple[str, ...] | None = None
    """RFC 5280 section 4.2.1.12: dotted object identifiers. None: any."""

    @property
    def cert_name(self) -> str:
        """Subject common name; else the first SAN; else the first 16 characters of `cert_id`."""
        return self.common_name or (self.sans[0] if self.sans else self.cert_id[:16])


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found where a certificate should be: one, the reason why it cannot be used, or both."""

    certificate: Certificate | None = None
    invalid: InvalidReason | None = None
    detail: str = field(default="", compare=False)
    """For a person: which file, what is wrong. Never a secret."""


def read_certificate(der: bytes) -> Reading:
    """The certificate in `der`. Never raises: what has no readable date is a `Reading` with a reason.

    The dates are read first and nothing else can hide them: hundreds of certificates in use have a name, a serial
    number or an extension that no strict parser accepts.
    """
    try:
        parsed = x509.load_der_x509_certificate(der)
        not_before, not_after = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    except Exception:  # whatever the parser cannot do, the walk may
        return _dates_only(der)
    return Reading(_describe(parsed, der, not_before, not_after))


def _dates_only(der: bytes) -> Reading:
    try:
        not_before, not_after = validity(der)
    except BadTimeError as exc:
        return Reading(None, InvalidReason.BAD_TIME, str(exc))
    except DerError as exc:
        return Reading(None, InvalidReason.UNREADABLE, str(exc))
    return Reading(Certificate(sha256(der).hexdigest(), not_before, not_after))


def _describe(parsed: x509.Certificate, der: bytes, not_before: datetime, not_after: datetime) -> Certificate:
    return Certificate(
        cert_id=sha256(der).hexdigest(),
        not_before=not_before,
        not_after=not_after,
        common_name=_optional(lambda: _common_name(parsed)),
        sans=_optional(lambda: _sans(parsed)) or (),
        subject=_optional(lambda: printable(parsed.subject.rfc4514_string())),
        issuer=_optional(lambda: printable(parsed.issuer.rfc4514_string())),
        serial_number=_optional(lambda: format(parsed.serial_number, "x")),
        key_type=_optional(lambda: _key_type(parsed)),
        signature_algorithm=_optional(lambda: _signature_algorithm(parsed)),
        is_ca=bool(_optional(lambda: _is_ca(parsed))),
        self_issued=bool(_optional(lambda: parsed.subject == parsed.issuer)),
        key_usages=_optional(lambda: _key_usages(parsed)),
        extended_key_usages=_optional(lambda: _extended_key_usages(parsed)),
    )


def _optional(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Exception:  # a field that no parser reads must not hide the dates
        return None


def _common_name(parsed: x509.Certificate) -> str | None:
    names = parsed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    value = names[0].value if names else ""
    return printable(value if isinstance(value, str) else value.hex()) or None


def _sans(parsed: x509.Certificate) -> tuple[str, ...]:
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    kinds = (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier, x509.RFC822Name)
    return tuple(printable(str(n.value)) for n in names if isinstance(n, kinds))[:_MOST_SANS]


def _is_ca(parsed: x509.Certificate) -> bool:
    return parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def _key_usages(parsed: x509.Certificate) -> tuple[str, ...]:
    usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
    return tuple(name for attribute, name in _KEY_USAGES.items() if getattr(usage, attribute))


def _extended_key_usages(parsed: x509.Certificate) -> tuple[str, ...]:
    usages = parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return tuple(usage.dotted_string for usage in usages)


def _key_type(parsed: x509.Certificate) -> str:
    match parsed.public_key():
        case rsa.RSAPublicKey() as key:
            return f"rsa-{key.key_size}"
        case ec.EllipticCurvePublicKey() as key:
            return f"ec-{key.curve.name}"
        case dsa.DSAPublicKey() as key:
            return f"dsa-{key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "ed25519"
        case ed448.Ed448PublicKey():
            return "ed448"
        case other:
            return type(other).__name__.removesuffix("PublicKey").lower()


def _signature_algorithm(parsed: x509.Certificate) -> str:
    # The only name the library has for an algorithm; an unknown one has its dotted number.
    name = parsed.signature_algorithm_oid._name
    return parsed.signature_algorithm_oid.dotted_string if name == "Unknown OID" else name
