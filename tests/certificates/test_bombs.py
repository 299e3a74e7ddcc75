"""Files that ask for more than they are worth: told at once, whatever they are made of."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

import pytest

from exporter.certcheck.certificate import InvalidReason
from exporter.certificates.ber import MOST_ELEMENTS
from exporter.certificates.files import Material, read_bytes
from tests.authority import Authority

AUTHORITY = Authority()
MEBIBYTE = 1024 * 1024


def element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return bytes([tag, 0x83]) + len(content).to_bytes(3, "big") + content


def nested(levels: int, innermost: bytes) -> bytes:
    """A string in parts, each of which is one, and so on."""
    return reduce(lambda inner, _: element(0x24, inner), range(levels), innermost)


def store(string: bytes) -> bytes:
    """A PKCS#12 file that is said to hold this."""
    content = element(0x30, bytes.fromhex("06092a864886f70d010701"), element(0xA0, string))
    return element(0x30, b"\x02\x01\x03", content)


def message(oid: bytes) -> bytes:
    return element(0x30, element(0x06, oid), element(0xA0))


def scrypt(number: bytes) -> bytes:
    """A key that is closed with this cost, three times."""
    cost = element(0x30, element(0x04, b"salt"), *[element(0x02, number)] * 3)
    derivation = element(0x30, bytes.fromhex("06092b06010401da47040b"), cost)
    cipher = element(0x30, bytes.fromhex("060960864801650304012a"), element(0x04, bytes(16)))
    algorithm = element(0x30, bytes.fromhex("06092a864886f70d01050d"), element(0x30, derivation, cipher))
    return element(0x30, algorithm, element(0x04, bytes(160)))


def java_store(count: int, *certificates: bytes) -> bytes:
    """One key with a chain that is said to be so long."""
    entry = struct.pack(">IH1s8xII", 1, 1, b"a", 0, count)
    parts = [struct.pack(">I", len(each)) + each for each in certificates]
    return b"".join([b"\xfe\xed\xfe\xed", struct.pack(">II", 1, 1), entry, *parts])


def pair(data: bytes, key: bytes | None = None) -> Material:
    return read_bytes("bomb", data, key=key, passphrase=b"any", needs_key=True)


@contextmanager
def within(megabytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEBIBYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("levels", [6, 1000])
def test_a_string_nested_without_end_is_no_more_than_broken(levels: int) -> None:
    assert pair(store(nested(levels, b"\4\1x"))).chain[0].invalid is InvalidReason.UNREADABLE


def test_a_large_string_is_not_copied_for_each_of_its_levels() -> None:
    data = store(nested(300, element(0x04, bytes(3 * MEBIBYTE))))
    with within(100):
        assert pair(data).problem is not None


def test_a_name_of_a_million_bytes_is_none() -> None:
    assert pair(message(b"\xff" * MEBIBYTE + b"\1")).problem is not None


def test_a_number_of_a_million_bytes_counts_nothing() -> None:
    assert pair(AUTHORITY.root.pem, scrypt(b"\x7f" * MEBIBYTE)).problem is not None


def test_of_a_java_store_no_more_is_read_than_anybody_uses() -> None:
    certificates = (AUTHORITY.root.der, *[b""] * MOST_ELEMENTS)
    chain = pair(java_store(len(certificates), *certificates)).chain

    assert chain[0].certificate is not None
    # The key counts, too.
    assert len(chain) == MOST_ELEMENTS
    assert "is one more than 10,000, and what follows is not read" in chain[-1].detail
