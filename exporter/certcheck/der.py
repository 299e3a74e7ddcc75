"""Just enough DER to find the validity period of a certificate that nothing else can read."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _EXPLICIT_VERSION = 0x30, 0x17, 0x18, 0xA0
_DEEPEST = 16
# More than RFC 5280 section 4.1.2.5 allows, and as much as OpenSSL reads: without seconds, with a fraction of one, in
# another zone, without any.
_TIME = re.compile(
    rb"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:([0-9]{2})(?:\.[0-9]+)?)?"
    rb"(?:Z|([+-])(0[0-9]|1[0-2])([0-5][0-9]))?"
)


class DerError(ValueError):
    """The bytes are not the certificate structure of RFC 5280 section 4.1 up to its validity."""


class BadTimeError(DerError):
    """The validity is where it should be, but holds no date."""


def validity(der: bytes) -> tuple[datetime, datetime]:
    """`not_before` and `not_after`, aware, UTC; what is less than a second is left out.

    Walks RFC 5280 section 4.1: Certificate, tbsCertificate, [version], serialNumber, signature, issuer, validity.

    Raises:
        DerError: the structure ends or differs before the validity.
        BadTimeError: one of the two times is not a date.
    """
    rest = _inside(_inside(der))
    if rest[:1] == bytes([_EXPLICIT_VERSION]):
        _, rest = _read(rest)
    for _field in ("serialNumber", "signature", "issuer"):
        _, rest = _read(rest)
    before, rest = _read(_inside(rest))
    # What is wrong with the structure is told before what is wrong with a time.
    after, _ = _read(rest)
    return _time(before), _time(after)


class Parts(NamedTuple):
    """Parts of a certificate as they are encoded. Thousands have the first and the last in common."""

    issuer: bytes
    subject: bytes
    key_algorithm: bytes
    size: int
    """Of all that is signed, in bytes."""


def parts_of(der: bytes) -> Parts:
    """Parts of a certificate.

    Raises:
        DerError: the structure ends or differs before the key.
    """
    at, _, _ = _bounds(der)
    at, stop, _ = _bounds(der, at)
    size = stop - at
    if der[at : at + 1] == bytes([_EXPLICIT_VERSION]):
        *_, at = _bounds(der, at)
    for _field in ("serialNumber", "signature"):
        *_, at = _bounds(der, at)
    *_, issuer_end = _bounds(der, at)
    *_, validity_end = _bounds(der, issuer_end)
    *_, subject_end = _bounds(der, validity_end)
    key, _, _ = _bounds(der, subject_end)
    *_, end = _bounds(der, key)
    return Parts(der[at:issuer_end], der[validity_end:subject_end], der[key:end], size)


def _inside(data: bytes) -> bytes:
    """The content of the sequence that the bytes begin with."""
    if data[:1] != bytes([_SEQUENCE]):
        raise DerError("not the expected element")
    if data[1:2] == b"\x80":
        # Where it ends does not matter, and would have to be looked for in everything that it holds.
        return data[2:]
    start, stop, _ = _bounds(data)
    return data[start:stop]


def _read(data: bytes) -> tuple[tuple[int, bytes], bytes]:
    """Tag and content of the first element, and what follows it."""
    start, stop, end = _bounds(data)
    return (data[0], data[start:stop]), data[end:]


def _bounds(data: bytes, at: int = 0, depth: int = 0) -> tuple[int, int, int]:
    """Where the content of an element begins and stops, and where the element ends; of BER as well (X.690, 8.1.3)."""
    if len(data) < at + 2 or depth > _DEEPEST:
        raise DerError("not the expected element")
    length, start = data[at + 1], at + 2
    if length == 0x80:
        stop = start
        while data[stop : stop + 2] != b"\0\0":
            *_, stop = _bounds(data, stop, depth + 1)
        return start, stop, stop + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[at + 2 : start], "big")
    if len(data) < start + length:
        raise DerError("ends early")
    return start, start + length, start + length


def _time(element: tuple[int, bytes]) -> datetime:
    tag, content = element
    # RFC 5280 section 4.1.2.5.1: a two-digit year from 50 is of the 1900s.
    if tag == _UTC_TIME:
        content = (b"19" if content[:2] >= b"50" else b"20") + content
    elif tag != _GENERALIZED_TIME:
        raise BadTimeError("neither UTCTime nor GeneralizedTime")
    found = _TIME.fullmatch(content)
    if found is None:
        raise BadTimeError("not a time")
    *parts, sign, hours, minutes = found.groups()
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in parts)
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        if sign is None:
            return local
        ahead = timedelta(hours=int(hours), minutes=int(minutes))
        return local - ahead if sign == b"+" else local + ahead
    except (ValueError, OverflowError) as exc:
        raise BadTimeError("not a date") from exc
