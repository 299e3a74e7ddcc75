"""PEM (RFC 7468): finding the blocks of a file, one by one, so that a bad one never hides a good one."""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator

# Base64 has no hyphen: a block ends at the next one, or is broken. Nothing is looked at twice.
_BLOCK = re.compile(
    rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE|PKCS7|PKCS #7 SIGNED DATA|CMS)-----([^-]*)(-----END \1-----)?"
)
_KEY, _KEY_END = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"), re.compile(rb"-----END [A-Z ]*PRIVATE KEY-----")
_KEY_BODY = re.compile(rb"-----BEGIN [A-Z ]*-----([^-]*)-----END")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def blocks(data: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """The label and the content of each block that may hold certificates, in order; None where its base64 is broken.

    Text around the blocks is ignored. A `TRUSTED CERTIFICATE` is cut to its certificate: OpenSSL puts its trust
    settings behind it.
    """
    for found in _BLOCK.finditer(data):
        label, body, end = found.groups()
        # A block that does not end was cut off.
        der = decoded(body) if end else None
        yield label, _first_element(der) if der and label.startswith(b"TRUSTED") else der


def certificate_blocks(data: bytes) -> Iterator[bytes | None]:
    """The DER of each certificate block, in order; None for one whose base64 is broken."""
    yield from (der for label, der in blocks(data) if label.endswith(b"CERTIFICATE"))


def key_block(data: bytes) -> bytes | None:
    """The first private key block, whole, or None."""
    for begin in _KEY.finditer(data):
        # Headers of an encrypted key have single hyphens.
        end = _KEY_END.match(data, max(data.find(b"-----", begin.end()), 0))
        if end is not None:
            return data[begin.start() : end.end()]
    return None


def key_der(block: bytes) -> bytes | None:
    """What is in a block, if it is base64 alone."""
    found = _KEY_BODY.match(block)
    return decoded(found[1]) if found else None


def decoded(base64: bytes) -> bytes | None:
    """What base64 with white space in it stands for; None if it is broken."""
    try:
        return binascii.a2b_base64(base64.translate(None, b" \t\r\n\v\f"), strict_mode=True)
    except binascii.Error:
        return None


def as_ascii(data: bytes) -> bytes:
    """The same text where an editor has stored it as UTF-16, which its first character tells."""
    return data.decode("utf-16", "ignore").encode("ascii", "replace") if data.startswith(_UTF16) else data


def _first_element(der: bytes) -> bytes:
    if len(der) < 2 or not der[1] & 0x80:
        return der
    header = 2 + (der[1] & 0x7F)
    return der[: header + int.from_bytes(der[2:header], "big")]
