from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.certificates.pem import certificate_blocks, key_block
from tests.authority import Authority

DER = Authority().issue("orders.example").der


def block(der: bytes = DER, label: str = "CERTIFICATE", end: str | None = None) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {end or label}-----\n".encode()


BROKEN = b"-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("data", "blocks"),
    [
        (b"", []),
        (DER, []),
        (b"no block at all\n", []),
        (block(), [DER]),
        (block() + block(b"two") + block(b"three"), [DER, b"two", b"three"]),
        # RFC 7468 section 2: parsers should ignore text around the blocks; OpenSSL writes a lot of it.
        (b"subject=CN = orders\n" + block() + b"\nissuer=CN = root\n" + block(b"two") + b"rest", [DER, b"two"]),
        (b"\xef\xbb\xbf" + block(), [DER]),
        (block().replace(b"\n", b"\r\n"), [DER]),
        (block().replace(b"\n", b"\n   \t"), [DER]),
        (block().replace(b"\n", b""), [DER]),
        (block(label="X509 CERTIFICATE"), [DER]),
        # OpenSSL puts its trust settings behind the certificate.
        (block(DER + b"\x30\x0a trust more", label="TRUSTED CERTIFICATE"), [DER]),
        (block(b"\x30", label="TRUSTED CERTIFICATE"), [b"\x30"]),
        (block(label="PRIVATE KEY") + block(label="CERTIFICATE REQUEST"), []),
        (block(label="CERTIFICATE", end="X509 CERTIFICATE"), [None]),
        (block()[:-10], [None]),
        (block() + block()[:40], [DER, None]),
        (BROKEN, [None]),
        (block() + BROKEN + block(b"three"), [DER, None, b"three"]),
        (block(b""), [b""]),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_every_certificate_block_is_found_and_no_other(data: bytes, blocks: list[bytes | None]) -> None:
    assert list(certificate_blocks(data)) == blocks


@given(st.lists(st.binary(min_size=1, max_size=80), max_size=6), st.text("ab \n#=:", max_size=20))
def test_what_was_written_is_read_in_its_order(ders: list[bytes], between: str) -> None:
    data = between.encode().join(block(der) for der in ders)

    assert list(certificate_blocks(data)) == ders


@given(st.binary(max_size=200))
def test_no_content_of_a_block_raises(content: bytes) -> None:
    for label in (b"CERTIFICATE", b"TRUSTED CERTIFICATE"):
        list(certificate_blocks(b"-----BEGIN " + label + b"-----" + content + b"-----END " + label + b"-----"))
        list(certificate_blocks(block(content, label.decode())))


@pytest.mark.parametrize("label", ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
def test_the_key_block_is_found_whole_wherever_it_is(label: str) -> None:
    key = block(b"the key", label)

    for data in (key, block() + key, key + block(), block(b"curve", "EC PARAMETERS") + key + block(b"2", label)):
        assert key_block(data) == key.rstrip(b"\n")


@pytest.mark.parametrize("data", [b"", block(), block(b"key", "PUBLIC KEY"), block(b"key", "PRIVATE KEY")[:-10]])
def test_without_a_key_there_is_none(data: bytes) -> None:
    assert key_block(data) is None
