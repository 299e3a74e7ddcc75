"""The certificates in a PKCS#7 or CMS message (RFC 5652 section 5.1). What it signs does not matter here."""

from __future__ import annotations

from exporter.certificates.ber import EXPLICIT_0, SEQUENCE, BerError, children, dotted
from exporter.certificates.contents import Block

_SIGNED_DATA = "1.2.840.113549.1.7.2"


def certificates(der: bytes) -> tuple[Block, ...]:
    """Each certificate, in the order of the file; whatever else is in the set (RFC 5652 section 10.2.2) is left out.

    Raises:
        BerError: it is no such message.
    """
    name, *content = children(der)
    if dotted(name) != _SIGNED_DATA or not content:
        raise BerError("PKCS#7, but not with signed data")
    found = next((each for each in children(content[0].content)[3:] if each.tag == EXPLICIT_0), None)
    members = children(found.raw, EXPLICIT_0) if found else []
    return tuple(Block(each.raw) for each in members if each.tag == SEQUENCE)
