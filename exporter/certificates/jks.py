"""Java key stores: JKS, and of JCEKS the certificates.

The format has no standard. Numbers are big-endian; a store is magic, version, count, entries, and a SHA-1 over the
password, a phrase and all that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1
from hmac import compare_digest

from exporter.certcheck.certificate import InvalidReason
from exporter.certcheck.text import printable
from exporter.certificates.ber import MOST_ELEMENTS, children, dotted
from exporter.certificates.contents import Block, Contents, UnusableError, closed, pem, several
from exporter.certificates.pbe import is_private_key_info

MAGICS = (_JKS := b"\xfe\xed\xfe\xed", _JCEKS := b"\xce\xce\xce\xce")

_KEY, _CERTIFICATE, _SECRET_KEY = 1, 2, 3
_MARK = b"\0\5X.509"
_SUN_PROTECTOR = "1.3.6.1.4.1.42.2.17.1.1"
_PHRASE = b"Mighty Aphrodite"
_DIGEST = 20


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    chain: list[bytes]
    """Filled as it is read: what is cut off does not hide what comes before."""
    key: bytes | None = field(default=None, repr=False)
    """As it is in the store: an EncryptedPrivateKeyInfo."""


class _CutError(Exception):
    """It ends, or cannot be read further, in the middle. The text is for a person."""


class _SecretKeyError(Exception):
    """Here is something without a length."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self._left = MOST_ELEMENTS

    def count(self) -> None:
        """One more certificate, or key."""
        self._left -= 1
        if self._left < 0:
            raise _CutError(f"is one more than {MOST_ELEMENTS:,}, and what follows is not read")

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise _CutError("ends early")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str = ">I") -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def text(self) -> str:
        # Java's own UTF-8 has surrogates in pairs, and a zero in two bytes.
        return self.take(self.number(">H")).decode("utf-8", "replace")


def contents(data: bytes, passphrase: bytes, *, with_keys: bool) -> Contents:
    """What is in the store. Certificates need no password, and are there whatever it is.

    Without one, a store of certificates alone is taken as it is; with one, its digest has to be right.
    """
    entries, cut = _read(data)
    ordered = sorted(entries, key=lambda entry: entry.key is None)
    blocks = [*_blocks(ordered), *([Block(None, cut, f"entry {len(entries) + 1}")] if cut else [])]
    keyed = [entry for entry in entries if entry.key is not None]
    try:
        keys = (
            (pem(_key(data, keyed, passphrase), "PRIVATE KEY"),) if with_keys and (keyed or data[:4] == _JCEKS) else ()
        )
        # A key that the passphrase opens has a digest of its own.
        problem = None if keys or not passphrase or cut or _is_whole(data, passphrase) else closed(passphrase)
    except UnusableError as exc:
        keys, problem = (), exc
    presented = len(keyed[0].chain) if keyed else None
    return Contents(tuple(blocks), keys, problem, is_ordered=bool(keyed), presented=presented)


def _read(data: bytes) -> tuple[list[_Entry], str]:
    """The entries as far as they can be read, and what is wrong with the next one."""
    reader, entries = _Reader(data), list[_Entry]()
    try:
        magic, version, count = reader.take(4), reader.number(), reader.number()
        for number in range(1, count + 1 if version in {1, 2} else 1):
            entry, certificates = _entry(reader, number, is_jceks=magic == _JCEKS)
            entries.append(entry)
            for _ in range(certificates):
                entry.chain.append(_certificate(reader, version))
    except _SecretKeyError:
        entries.append(_Entry(f"behind entry {len(entries) + 1}", _marked(reader)))
    except _CutError as exc:
        return entries, str(exc)
    return entries, "" if version in {1, 2} else "is in a version of the format that is not known"


def _entry(reader: _Reader, number: int, *, is_jceks: bool) -> tuple[_Entry, int]:
    """An entry up to its certificates, and how many there are."""
    kind, alias, _ = reader.number(), reader.text(), reader.take(8)
    name = f"entry {number} (alias {printable(alias)!r})"
    if kind == _KEY:
        reader.count()
        return _Entry(name, [], reader.take(reader.number())), reader.number()
    if kind == _CERTIFICATE:
        return _Entry(name, []), 1
    if is_jceks and kind == _SECRET_KEY:
        raise _SecretKeyError
    raise _CutError("is of no known kind")


def _marked(reader: _Reader) -> list[bytes]:
    """What looks like certificates in the rest: only Java knows how long a secret key is, and where the next one is."""
    found: list[bytes] = []
    with suppress(_CutError):
        while len(found) < MOST_ELEMENTS and (at := reader.data.find(_MARK, reader.at)) >= 0:
            reader.at = at + len(_MARK)
            found.append(reader.take(reader.number()))
    return found


def _certificate(reader: _Reader, version: int) -> bytes:
    reader.count()
    if version == 2:
        reader.text()
    return reader.take(reader.number())


def _blocks(entries: list[_Entry]) -> Iterator[Block]:
    for entry in entries:
        for number, der in enumerate(entry.chain, 1):
            yield Block(der, name=entry.name if len(entry.chain) == 1 else f"{entry.name}, certificate {number}")


def _key(data: bytes, keyed: list[_Entry], passphrase: bytes) -> bytes:
    if data[:4] == _JCEKS:
        raise UnusableError(InvalidReason.OTHER, "the keys of a JCEKS store are not supported; make it PKCS#12")
    if len(keyed) > 1:
        raise several(len(keyed))
    try:
        algorithm, protected = children(keyed[0].key or b"")[:2]
        protector, data = dotted(children(algorithm.raw)[0]), protected.octets()
    except ValueError:
        protector, data = "", b""
    if protector != _SUN_PROTECTOR:
        raise UnusableError(InvalidReason.UNREADABLE, f"{keyed[0].name}: the private key cannot be read")
    key = _unprotected(data, _wide(passphrase))
    if key is None or not is_private_key_info(key):
        raise closed(passphrase)
    return key


def _unprotected(data: bytes, password: bytes) -> bytes | None:
    """A salt, the key mixed with digests that follow one from the other, a digest of the key. None: not this one."""
    value, mixed, check = data[:_DIGEST], data[_DIGEST:-_DIGEST], data[-_DIGEST:]
    stream = bytearray()
    while len(stream) < len(mixed):
        value = sha1(password + value, usedforsecurity=False).digest()
        stream += value
    number = int.from_bytes(mixed, "big") ^ int.from_bytes(stream[: len(mixed)], "big")
    key = number.to_bytes(len(mixed), "big")
    return key if compare_digest(sha1(password + key, usedforsecurity=False).digest(), check) else None


def _is_whole(data: bytes, passphrase: bytes) -> bool:
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    return compare_digest(sha1(_wide(passphrase) + _PHRASE + body, usedforsecurity=False).digest(), digest)


def _wide(passphrase: bytes) -> bytes:
    return passphrase.decode("utf-8", "replace").encode("utf-16-be")
