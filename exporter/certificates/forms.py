"""What form a file of certificates has: told by its content, never by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from exporter.certcheck.certificate import InvalidReason
from exporter.certificates import jks, pkcs7, pkcs12
from exporter.certificates.ber import (
    BIT_STRING,
    INTEGER,
    MOST_ELEMENTS,
    OCTETS,
    OID,
    SEQUENCE,
    BerError,
    Element,
    children,
    elements,
    first,
)
from exporter.certificates.contents import Block, Contents, UnusableError, closed, pem
from exporter.certificates.pbe import Passphrase, UnsupportedError, WrongPassphraseError, unlocked_key
from exporter.certificates.pem import as_ascii, blocks, key_block, key_der

_ENCRYPTED = "ENCRYPTED PRIVATE KEY"


def contents(data: bytes, passphrase: bytes, *, with_keys: bool) -> Contents:
    """All that is in a file, as far as it can be decoded, but for more certificates than anybody uses.

    Without `with_keys` no key is opened.
    """
    found = _contents(data, passphrase, with_keys=with_keys)
    if len(found.blocks) <= MOST_ELEMENTS:
        return found
    one_too_many = Block(None, "one too many, and what follows is not read")
    return replace(found, blocks=(*found.blocks[:MOST_ELEMENTS], one_too_many))


def _contents(data: bytes, passphrase: bytes, *, with_keys: bool) -> Contents:
    if data.startswith(jks.MAGICS):
        return jks.contents(data, passphrase, with_keys=with_keys)
    if _may_be_der(data):
        return _der(data, passphrase, with_keys=with_keys)
    return _pem(as_ascii(data), passphrase, with_keys=with_keys)


def _may_be_der(data: bytes) -> bool:
    """A sequence whose length has bytes of its own, as no ASCII text begins; or that is short, and all there is."""
    return len(data) > 2 and data[0] == SEQUENCE and (data[1] & 0x80 != 0 or data[1] == len(data) - 2)


def _der(data: bytes, passphrase: bytes, *, with_keys: bool) -> Contents:
    try:
        tags = [each.tag for each in islice(elements(first(data).content), 4)]
    except BerError:
        # Perhaps a certificate that is cut off behind its dates.
        return Contents((Block(data),))
    try:
        return _of_form(tags, data, passphrase, with_keys=with_keys)
    except ValueError as exc:
        why = str(exc) if isinstance(exc, BerError) else "it is broken"
        return Contents(problem=UnusableError(InvalidReason.UNREADABLE, why))


def _of_form(tags: list[int], data: bytes, passphrase: bytes, *, with_keys: bool) -> Contents:
    match tags:
        case [one, *_] if one == OID:
            return Contents(pkcs7.certificates(data), is_ordered=False)
        case [one, two, *rest] if (one, two) == (INTEGER, SEQUENCE) and rest[:1] != [OCTETS]:
            return pkcs12.contents(data, passphrase, with_keys=with_keys)
        case [one, *_] if one == INTEGER:
            return _key(data, _label(tags), passphrase) if with_keys else Contents()
        case [one, two] if (one, two) == (SEQUENCE, OCTETS):
            return _key(data, _ENCRYPTED, passphrase) if with_keys else Contents()
    return Contents(tuple(_certificates(data)))


def _certificates(data: bytes) -> Iterator[Block]:
    """One after the other. What is no certificate behind the first is none that anybody misses."""
    found = islice(elements(data), MOST_ELEMENTS)
    yield Block(next(found).raw)
    with suppress(BerError):
        yield from (Block(each.raw) for each in found if _is_certificate(each))


def _is_certificate(element: Element) -> bool:
    """Not the trust settings that OpenSSL puts behind a certificate, nor what was left in a buffer."""
    try:
        return [each.tag for each in children(element.raw)] == [SEQUENCE, SEQUENCE, BIT_STRING]
    except BerError:
        return False


def _label(tags: list[int]) -> str:
    """Of a key: SEC 1 (RFC 5915), PKCS#1 (RFC 8017 appendix A.1.2), or PKCS#8 (RFC 5958), by what it is made of."""
    return {OCTETS: "EC PRIVATE KEY", INTEGER: "RSA PRIVATE KEY"}.get(tags[1] if tags[1:] else 0, "PRIVATE KEY")


def _pem(data: bytes, passphrase: bytes, *, with_keys: bool) -> Contents:
    found: list[Block] = []
    is_ordered = True
    for label, der in blocks(data):
        if len(found) > MOST_ELEMENTS:
            break
        if label.endswith(b"CERTIFICATE"):
            found.append(Block(der) if der is not None else Block(None, "its base64 is broken"))
        else:
            found += _message(der)
            is_ordered = False
    key = key_block(data) if with_keys else None
    keyed = _pem_key(key, passphrase) if key is not None else Contents()
    return Contents(tuple(found), keyed.keys, keyed.problem, is_ordered)


def _message(der: bytes | None) -> tuple[Block, ...]:
    if der is None:
        return (Block(None, "its base64 is broken"),)
    try:
        return pkcs7.certificates(der)
    except ValueError as exc:
        return (Block(None, str(exc)),)


def _pem_key(block: bytes, passphrase: bytes) -> Contents:
    if not block.startswith(f"-----BEGIN {_ENCRYPTED}-----".encode()):
        return Contents(keys=(block + b"\n",))
    der = key_der(block)
    return _key(der, _ENCRYPTED, passphrase) if der else _unreadable()


def _key(der: bytes, label: str, passphrase: bytes) -> Contents:
    if label != _ENCRYPTED:
        return Contents(keys=(pem(der, label),))
    try:
        return Contents(keys=(pem(unlocked_key(der, Passphrase(passphrase)), "PRIVATE KEY"),))
    except WrongPassphraseError:
        return Contents(problem=closed(passphrase))
    except UnsupportedError as exc:
        return Contents(problem=UnusableError(InvalidReason.OTHER, f"the private key {exc}"))
    except ValueError:
        return _unreadable()


def _unreadable() -> Contents:
    return Contents(problem=UnusableError(InvalidReason.UNREADABLE, "the private key cannot be read"))
