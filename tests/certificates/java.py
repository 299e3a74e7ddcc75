"""Java key stores, written as the Java tools write them."""

from __future__ import annotations

import struct
from hashlib import sha1
from itertools import count

from exporter.certificates.ber import OCTETS, SEQUENCE

JKS, JCEKS = 0xFEEDFEED, 0xCECECECE
_PROTECTOR = bytes.fromhex("060a2b060104012a02110101")


def store(*entries: bytes, password: str = "", magic: int = JKS, version: int = 2, entries_said: int = -1) -> bytes:
    """A store; its digest is right for `password`."""
    said = entries_said if entries_said >= 0 else len(entries)
    body = struct.pack(">III", magic, version, said) + b"".join(entries)
    return body + sha1(_wide(password) + b"Mighty Aphrodite" + body).digest()


def trusted(alias: str, der: bytes, version: int = 2) -> bytes:
    return struct.pack(">I", 2) + _head(alias) + _certificate(der, version)


def private_key(alias: str, pkcs8: bytes, *chain: bytes, password: str) -> bytes:
    protected = _element(SEQUENCE, _element(SEQUENCE, _PROTECTOR + b"\x05\0") + _element(OCTETS, _mix(pkcs8, password)))
    certificates = b"".join(_certificate(der, 2) for der in chain)
    head = struct.pack(">I", 1) + _head(alias) + struct.pack(">I", len(protected))
    return head + protected + struct.pack(">I", len(chain)) + certificates


def secret_key(alias: str) -> bytes:
    """A serialised object, whose length stands nowhere."""
    return (
        struct.pack(">I", 3) + _head(alias) + b"\xac\xed\0\5sr\0\x33com.sun.crypto.provider.SealedObjectForKeyProtector"
    )


def _mix(pkcs8: bytes, password: str) -> bytes:
    salt, stream, value = bytes(range(20)), b"", bytes(range(20))
    for _ in count():
        if len(stream) >= len(pkcs8):
            break
        value = sha1(_wide(password) + value).digest()
        stream += value
    mixed = bytes(one ^ other for one, other in zip(pkcs8, stream, strict=False))
    return salt + mixed + sha1(_wide(password) + pkcs8).digest()


def _wide(password: str) -> bytes:
    return password.encode("utf-16-be")


def _head(alias: str) -> bytes:
    name = alias.encode()
    return struct.pack(">H", len(name)) + name + struct.pack(">Q", 1_700_000_000_000)


def _certificate(der: bytes, version: int) -> bytes:
    kind = b"\0\x05X.509" if version == 2 else b""
    return kind + struct.pack(">I", len(der)) + der


def _element(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x82]) + struct.pack(">H", len(content)) + content
