from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.certcheck.der import BadTimeError, DerError, validity

NOT_BEFORE, NOT_AFTER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
VERSION_3 = bytes.fromhex("a003020102")


def element(tag: int, content: bytes = b"") -> bytes:
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    size = (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(content).to_bytes(size, "big") + content


def utc_time(text: str) -> bytes:
    return element(0x17, text.encode())


def generalized_time(text: str) -> bytes:
    return element(0x18, text.encode())


def certificate_with(*times: bytes, version: bytes = VERSION_3, serial: bytes = b"\x01", issuer: bytes = b"") -> bytes:
    """A certificate as far as its validity, and no further."""
    fields = version + element(0x02, serial) + element(0x30) + element(0x30, issuer) + element(0x30, b"".join(times))
    return element(0x30, element(0x30, fields))


BOTH = (utc_time("200101000000Z"), utc_time("300101000000Z"))


@pytest.mark.parametrize(
    "der",
    [
        certificate_with(*BOTH),
        certificate_with(*BOTH, version=b""),
        certificate_with(*BOTH, serial=b""),
        certificate_with(*BOTH, serial=b"\xff" * 300),
        certificate_with(*BOTH, issuer=b"\xff" * 70_000),
        certificate_with(*BOTH, b"what comes behind the times"),
        certificate_with(*BOTH) + b"what comes behind the certificate",
        # BER, which is not allowed here, and read by others.
        b"\x30\x80" + certificate_with(*BOTH)[2:] + b"\0\0",
        certificate_with(*BOTH, version=b"\xa0\x80\x02\x01\x02\0\0"),
        b"\x30\x85\0\0\0\0" + certificate_with(*BOTH)[1:],
        certificate_with(generalized_time("20200101000000Z"), utc_time("300101000000Z")),
        certificate_with(utc_time("200101000000Z"), generalized_time("20300101000000Z")),
    ],
)
def test_the_validity_is_found_whatever_surrounds_it(der: bytes) -> None:
    assert validity(der) == (NOT_BEFORE, NOT_AFTER)


@pytest.mark.parametrize(
    ("time", "instant"),
    [
        (utc_time("491231235959Z"), datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (utc_time("500101000000Z"), datetime(1950, 1, 1, tzinfo=UTC)),
        (utc_time("991231235959Z"), datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (utc_time("000229000000Z"), datetime(2000, 2, 29, tzinfo=UTC)),
        (generalized_time("00010101000000Z"), datetime(1, 1, 1, tzinfo=UTC)),
        (generalized_time("19491231235959Z"), datetime(1949, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (generalized_time("20500101000000Z"), datetime(2050, 1, 1, tzinfo=UTC)),
        # RFC 5280 section 4.1.2.5: no well-defined expiration date.
        # What OpenSSL reads, though RFC 5280 does not allow it.
        (utc_time("2001010203Z"), datetime(2020, 1, 1, 2, 3, tzinfo=UTC)),
        (utc_time("2001010203"), datetime(2020, 1, 1, 2, 3, tzinfo=UTC)),
        (utc_time("200101000000"), datetime(2020, 1, 1, tzinfo=UTC)),
        (utc_time("200101000000+0100"), datetime(2019, 12, 31, 23, tzinfo=UTC)),
        (utc_time("200101000000-1130"), datetime(2020, 1, 1, 11, 30, tzinfo=UTC)),
        (generalized_time("20200101000000.999Z"), datetime(2020, 1, 1, tzinfo=UTC)),
        (generalized_time("202001010000-0030"), datetime(2020, 1, 1, 0, 30, tzinfo=UTC)),
        (generalized_time("99991231235959Z"), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_rfc_5280_writes_them(time: bytes, instant: datetime) -> None:
    assert validity(certificate_with(time, time)) == (instant, instant)


@pytest.mark.parametrize(
    "time",
    [
        utc_time("201301000000Z"),
        utc_time("200100000000Z"),
        utc_time("200230000000Z"),
        utc_time("200101240000Z"),
        utc_time("200101000060Z"),
        utc_time("20010100000xZ"),
        utc_time("200101000000+1300"),
        utc_time("200101000000+0060"),
        utc_time("200101000000 Z"),
        generalized_time("20200101000000.Z"),
        generalized_time("99991231235959-0001"),
        generalized_time("00010101000000+0001"),
        utc_time("\u0662\u0660\u0660\u0661\u0660Z"),
        utc_time(""),
        generalized_time("00000101000000Z"),
        generalized_time("100000101000000Z"),
        element(0x04, b"20200101000000Z"),
    ],
)
def test_a_time_that_is_no_date_is_a_bad_time(time: bytes) -> None:
    with pytest.raises(BadTimeError):
        validity(certificate_with(time, BOTH[1]))
    with pytest.raises(BadTimeError):
        validity(certificate_with(BOTH[0], time))


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"\x30\x80" * 100,
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x82\x01",
        b"\x31\x02\x30\x00",
        element(0x30, element(0x31)),
        element(0x30, element(0x30)),
        certificate_with(BOTH[0]),
        certificate_with(*BOTH)[:-1],
    ],
)
def test_what_has_another_structure_is_refused_but_not_for_its_time(der: bytes) -> None:
    with pytest.raises(DerError) as refused:
        validity(der)
    assert not isinstance(refused.value, BadTimeError)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(der: bytes) -> None:
    with suppress(DerError):
        validity(der)


@given(st.integers(0, len(certificate_with(*BOTH)) - 1))
def test_a_certificate_that_ends_early_is_refused(length: int) -> None:
    with pytest.raises(DerError):
        validity(certificate_with(*BOTH)[:length])
