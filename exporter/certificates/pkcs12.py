"""PKCS#12 (RFC 7292): the certificates and keys of a `.p12` or `.pfx` file.

Read here, not by `cryptography`: that one fails as a whole for one certificate that it does not like, and lets nothing
else run while it derives keys.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field

from exporter.certcheck.certificate import InvalidReason
from exporter.certificates.ber import BerError, Element, children, dotted, elements
from exporter.certificates.contents import Block, Contents, UnusableError, closed, pem, several
from exporter.certificates.pbe import (
    HASHES,
    Passphrase,
    UnsupportedError,
    WrongPassphraseError,
    algorithm_of,
    decrypt,
    known,
    pbkdf2,
    pkcs12_derived,
    unlocked_key,
)

_DATA, _ENCRYPTED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.6"
_BAGS = "1.2.840.113549.1.12.10.1."
_KEY_BAG, _SHROUDED_BAG, _CERTIFICATE_BAG, _SAFE_BAG = (f"{_BAGS}{number}" for number in (1, 2, 3, 6))
_X509 = "1.2.840.113549.1.9.22.1"
_PBMAC1 = "1.2.840.113549.1.5.14"
_DEEPEST = 4

# Of the first kind also what is not there to be unpacked.
_CLOSED = (ValueError, UnsupportedError, WrongPassphraseError)


@dataclass(slots=True)
class _Found:
    certificates: list[Block] = field(default_factory=list)
    keys: list[tuple[str, bytes]] = field(default_factory=list, repr=False)
    closed: list[Exception] = field(default_factory=list)
    """Why parts of the file could not be opened."""


def contents(data: bytes, passphrase: bytes, *, with_keys: bool) -> Contents:
    """What is in the file. What a passphrase is not needed for is there whatever it is.

    Raises:
        BerError: it is no such file.
    """
    outer = children(data)
    safes = _octets_of(outer[1])
    secret = Passphrase(passphrase)
    found = _opened(safes, secret)
    if not passphrase and found.closed:
        secret.is_null = True
        found = _opened(safes, secret)
    try:
        keys = _keys(found, secret) if with_keys else ()
        _check(found, outer, safes, secret, is_needed=bool(passphrase or with_keys))
    except (*_CLOSED, UnusableError) as exc:
        return Contents(tuple(found.certificates), (), _problem(exc, passphrase), is_ordered=False)
    return Contents(tuple(found.certificates), keys, is_ordered=False)


def _problem(exc: Exception, passphrase: bytes) -> UnusableError:
    match exc:
        case UnusableError():
            return exc
        case UnsupportedError():
            return UnusableError(InvalidReason.OTHER, str(exc))
        case WrongPassphraseError():
            return closed(passphrase)
    return UnusableError(InvalidReason.UNREADABLE, "part of it is broken")


def _check(found: _Found, outer: list[Element], safes: bytes, secret: Passphrase, *, is_needed: bool) -> None:
    """Raises the first reason why not all of the file could be had."""
    if found.closed:
        raise found.closed[0]
    if is_needed and len(outer) > 2 and not _is_authentic(outer[2], safes, secret):
        raise WrongPassphraseError


def _opened(safes: bytes, secret: Passphrase) -> _Found:
    found = _Found()
    for info in children(safes):
        try:
            for bag in children(_plain(info, secret)):
                _add(found, bag, 0)
        except _CLOSED as exc:
            found.closed.append(exc)
    return found


def _plain(info: Element, secret: Passphrase) -> bytes:
    """The SafeContents in a ContentInfo (RFC 7292 section 4.1)."""
    name, content = children(info.raw)[:2]
    if dotted(name) == _DATA:
        return _octets_of(info)
    if dotted(name) != _ENCRYPTED_DATA:
        raise UnsupportedError("is encrypted for a certificate, not with a passphrase")
    [encrypted] = elements(content.content)
    _, encrypted_info = children(encrypted.raw)[:2]
    _, algorithm, data = children(encrypted_info.raw)[:3]
    plain = decrypt(algorithm, data.octets(), secret)
    if plain[:1] != b"\x30":
        raise WrongPassphraseError
    return plain


def _octets_of(info: Element) -> bytes:
    """What a ContentInfo of plain data holds (RFC 5652 section 4)."""
    name, content = children(info.raw)[:2]
    if dotted(name) != _DATA:
        raise BerError("PKCS#12, but not of the kind that has a passphrase")
    [octets] = elements(content.content)
    return octets.octets()


def _add(found: _Found, bag: Element, depth: int) -> None:
    name, value = children(bag.raw)[:2]
    kind = dotted(name)
    if kind == _CERTIFICATE_BAG:
        found.certificates += _certificate(value)
    elif kind in {_KEY_BAG, _SHROUDED_BAG}:
        found.keys.append((kind, value.content))
    elif kind == _SAFE_BAG and depth < _DEEPEST:
        for each in children(value.content):
            _add(found, each, depth + 1)


def _certificate(value: Element) -> Iterator[Block]:
    try:
        name, certificate = children(value.content)[:2]
        if dotted(name) == _X509:
            [octets] = elements(certificate.content)
            yield Block(octets.octets())
    except ValueError:
        yield Block(None, "it is broken")


def _keys(found: _Found, secret: Passphrase) -> tuple[bytes, ...]:
    opened = {value if kind == _KEY_BAG else unlocked_key(value, secret) for kind, value in found.keys}
    if len(opened) > 1:
        raise several(len(opened))
    return tuple(pem(each, "PRIVATE KEY") for each in opened)


def _is_authentic(mac_data: Element, safes: bytes, secret: Passphrase) -> bool:
    """RFC 7292 section 4: a MAC over the whole, of a key from the passphrase; RFC 9579 for a newer way to derive it."""
    info, salt, *count = children(mac_data.raw)
    algorithm, digest = children(info.raw)[:2]
    name, parameters = algorithm_of(algorithm)
    if name == _PBMAC1:
        derivation, scheme = children(parameters.raw)[:2]
        hashed = known(HASHES, algorithm_of(scheme)[0])
        key = pbkdf2(algorithm_of(derivation)[1], None, secret)
    else:
        hashed = known(HASHES, name)
        iterations = count[0].number() if count else 1
        key = pkcs12_derived(hashed, secret, salt.octets(), iterations, 3, len(digest.octets()))
    return hmac.compare_digest(hmac.digest(key, safes, hashed), digest.octets())
