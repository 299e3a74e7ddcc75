"""PEM (RFC 7468): finding the blocks of a file, one by one, so that a bad one never hides a good one."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

# Base64 has no hyphen: a block ends at the next one, or is broken. Nothing is looked at twice.
_BLOCK = re.compile(rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----([^-]*)(-----END \1?CERTIFICATE-----)?")
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


def certificate_blocks(data: bytes) -> Iterator[bytes | None]:
    """The DER of each certificate block, in order; None for one whose base64 is broken.

    Text around the blocks is ignored. A `TRUSTED CERTIFICATE` is cut to its certificate: OpenSSL puts its trust
    settings behind it.
    """
    for label, body, end in _BLOCK.findall(data):
        try:
            der = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error:
            yield None
        else:
            # A block that does not end was cut off.
            yield None if not end else _first_element(der) if label == b"TRUSTED " else der


def key_block(data: bytes) -> bytes | None:
    """The first private key block, whole, or None."""
    found = _KEY.search(data)
    return found and found[0]


def _first_element(der: bytes) -> bytes:
    if len(der) < 2 or not der[1] & 0x80:
        return der
    header = 2 + (der[1] & 0x7F)
    return der[: header + int.from_bytes(der[2:header], "big")]
