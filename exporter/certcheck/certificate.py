"""A certificate: its dates first, and as much of the rest as can be read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from exporter.certcheck.der import BadTimeError, DerError, Parts, parts_of, validity
from exporter.certcheck.text import printable

T = TypeVar("T")

# The library warns of a serial number that is not positive, of a country with eight letters. They are here to be read.
warnings.filterwarnings("ignore", module=re.escape(__name__))

_MOST_SANS, _MOST_PURPOSES = 100, 100
_RSA = bytes.fromhex("2a864886f70d0101")
# Names that are longer are not read, nor shared.
_LONGEST_NAME = 4 * 1024
_KEY_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}


LARGE = 40 * 1024
"""Of larger certificates, signatures aside, no extensions are read.

They are parsed in one go, and nothing else runs for as long: for 20 ms, where 40 KiB are as bad as can be.
"""


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
    """RFC 5280 section 4.2.1.12: dotted object identifiers, at most 100. None: any."""

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
        return read_dates(der)
    return Reading(_describe(parsed, der, not_before, not_after))


def read_dates(der: bytes) -> Reading:
    """The same of its dates alone, whatever the rest would cost to read."""
    try:
        not_before, not_after = validity(der)
    except BadTimeError as exc:
        return Reading(None, InvalidReason.BAD_TIME, str(exc))
    except DerError as exc:
        return Reading(None, InvalidReason.UNREADABLE, str(exc))
    return Reading(Certificate(sha256(der).hexdigest(), not_before, not_after))


def _describe(parsed: x509.Certificate, der: bytes, not_before: datetime, not_after: datetime) -> Certificate:
    parts = _optional(lambda: parts_of(der)) or Parts(der, der, der, len(der))
    subject = _optional(lambda: parsed.subject) if len(parts.subject) <= _LONGEST_NAME else None
    subject_text, issuer_text = _optional(lambda: _text(subject)), _optional(lambda: _issuer_text(parts.issuer, parsed))
    # Once: each time they are asked for, they are parsed anew. One that cannot be read hides all others.
    extensions = (_optional(lambda: _extensions(parsed)) if parts.size <= LARGE else None) or {}
    usages: Any = extensions.get(x509.KeyUsage)
    purposes: Any = extensions.get(x509.ExtendedKeyUsage)
    constraints: Any = extensions.get(x509.BasicConstraints)
    return Certificate(
        cert_id=sha256(der).hexdigest(),
        not_before=not_before,
        not_after=not_after,
        common_name=_optional(lambda: _common_name(subject)),
        sans=_sans(extensions.get(x509.SubjectAlternativeName)),
        subject=subject_text,
        issuer=issuer_text,
        serial_number=_optional(lambda: printable(format(parsed.serial_number, "x"))),
        key_type=_optional(lambda: _key_type_by(parts.key_algorithm, parsed)),
        signature_algorithm=_optional(lambda: _signature_algorithm(parsed)),
        is_ca=constraints is not None and constraints.ca,
        # What is shown may be cut off.
        self_issued=issuer_text == subject_text is not None and bool(_optional(lambda: subject == parsed.issuer)),
        key_usages=_key_usages(usages) if usages is not None else None,
        extended_key_usages=_purposes(purposes) if purposes is not None else None,
    )


def _extensions(parsed: x509.Certificate) -> dict[type[x509.ExtensionType], x509.ExtensionType]:
    return {type(each.value): each.value for each in parsed.extensions}


def _optional(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Exception:  # a field that no parser reads must not hide the dates
        return None


class _Encoded(bytes):
    """A part of a certificate, and the certificate whose parser knows what it means."""

    parsed: x509.Certificate


def _issuer_text(name: bytes, parsed: x509.Certificate) -> str | None:
    return _shared(_issuer, name, parsed) if len(name) <= _LONGEST_NAME else None


def _key_type_by(algorithm: bytes, parsed: x509.Certificate) -> str:
    if algorithm.find(_RSA) >= 0 or len(algorithm) > _LONGEST_NAME:
        return _key_type(parsed)
    return _shared(_curve, algorithm, parsed)


def _shared(read: Callable[[_Encoded], T], part: bytes, parsed: x509.Certificate) -> T:
    encoded = _Encoded(part)
    encoded.parsed = parsed
    try:
        return read(encoded)
    finally:
        # What is remembered is the part: a thousand whole certificates may be gigabytes.
        del encoded.parsed


@lru_cache(maxsize=1024)
def _issuer(name: _Encoded) -> str | None:
    """Parsed once for all that it has issued, and one object in memory."""
    return _text(name.parsed.issuer)


@lru_cache(maxsize=64)
def _curve(algorithm: _Encoded) -> str:
    """The kind of a key whose algorithm tells its size, too."""
    return _key_type(algorithm.parsed)


def _text(name: x509.Name | None) -> str | None:
    return None if name is None else printable(name.rfc4514_string())


def _common_name(subject: x509.Name | None) -> str | None:
    names = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME) if subject is not None else ()
    value = names[0].value if names else ""
    return printable(value if isinstance(value, str) else value.hex()) or None


def _sans(names: Any) -> tuple[str, ...]:
    kinds = (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier, x509.RFC822Name)
    shown = (printable(str(each.value)) for each in names or () if isinstance(each, kinds))
    return tuple(islice(shown, _MOST_SANS))


def _key_usages(usages: Any) -> tuple[str, ...]:
    return _same(tuple(name for attribute, name in _KEY_USAGES.items() if getattr(usages, attribute)))


def _purposes(purposes: Any) -> tuple[str, ...]:
    return _same(tuple(purpose.dotted_string for purpose in islice(purposes, _MOST_PURPOSES)))


@lru_cache(maxsize=256)
def _same(words: tuple[str, ...]) -> tuple[str, ...]:
    """One object for all that are equal: most certificates have the same few usages."""
    return words


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
