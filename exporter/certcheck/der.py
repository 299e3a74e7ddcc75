"""Just enough DER to find the validity period of a certificate that nothing else can read."""

from datetime import UTC, datetime

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _EXPLICIT_VERSION = 0x30, 0x17, 0x18, 0xA0


class DerError(ValueError):
    """The bytes are not the certificate structure of RFC 5280 section 4.1 up to its validity."""


class BadTimeError(DerError):
    """The validity is where it should be, but holds no date."""


def validity(der: bytes) -> tuple[datetime, datetime]:
    """`not_before` and `not_after`, aware, UTC.

    Walks RFC 5280 section 4.1: Certificate, tbsCertificate, [version], serialNumber, signature, issuer, validity.

    Raises:
        DerError: the structure ends or differs before the validity.
        BadTimeError: one of the two times is not a date.
    """
    certificate, _ = _read(der, expect=_SEQUENCE)
    rest, _ = _read(certificate, expect=_SEQUENCE)
    if rest[:1] == bytes([_EXPLICIT_VERSION]):
        _, rest = _read(rest)
    for _field in ("serialNumber", "signature", "issuer"):
        _, rest = _read(rest)
    period, _ = _read(rest, expect=_SEQUENCE)
    not_before, after = _time(period)
    not_after, _ = _time(after)
    return not_before, not_after


def _read(data: bytes, expect: int | None = None) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it."""
    if len(data) < 2 or (expect is not None and data[0] != expect):
        raise DerError("not the expected element")
    length, start = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or len(data) < 2 + count:
            raise DerError("not a definite length")
        start += count
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise DerError("ends early")
    return data[start : start + length], data[start + length :]


def _time(data: bytes) -> tuple[datetime, bytes]:
    content, rest = _read(data)
    # RFC 5280 section 4.1.2.5.1: a two-digit year from 50 is of the 1900s.
    if data[0] == _UTC_TIME:
        content = (b"19" if content[:2] >= b"50" else b"20") + content
    elif data[0] != _GENERALIZED_TIME:
        raise BadTimeError("neither UTCTime nor GeneralizedTime")
    if len(content) != 15 or content[14:] != b"Z" or not content[:14].isdigit():
        raise BadTimeError("not a time in UTC to the second")
    try:
        return datetime.strptime(content[:14].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC), rest
    except ValueError as exc:
        raise BadTimeError("not a date") from exc
