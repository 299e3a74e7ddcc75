"""The event loop goes on while files are opened beside it, whatever it takes to open them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from exporter.certificates.files import Material, read_bytes
from tests.authority import KEYS, Authority
from tests.pauses import longest_pause

MOST = timedelta(milliseconds=20)
SECRET = b"canary-passphrase"
AUTHORITY = Authority(key=KEYS["rsa"]())
ORDERS = AUTHORITY.issue("orders.example", key=KEYS["rsa"]())


def store(rounds: int, *, old: bool = False) -> bytes:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(rounds)
    if old:
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
    encryption = builder.build(SECRET)
    issuers = [AUTHORITY.root.certificate]
    return pkcs12.serialize_key_and_certificates(b"orders", ORDERS.key, ORDERS.certificate, issuers, encryption)


def key(form: PrivateFormat, *, encrypted: bool) -> bytes:
    encryption = BestAvailableEncryption(SECRET) if encrypted else NoEncryption()
    return ORDERS.key.private_bytes(Encoding.PEM, form, encryption)


def pair(data: bytes, key: bytes | None = None, passphrase: bytes = SECRET) -> Callable[[], Material]:
    return lambda: read_bytes("orders", data, key=key, passphrase=passphrase, needs_key=True)


def anchors(data: bytes) -> Callable[[], Material]:
    return lambda: read_bytes("anchors", data, needs_key=False)


def with_names(count: int) -> bytes:
    return AUTHORITY.issue("large", timedelta(days=9), *(f"host-{n}.example.internal" for n in range(count))).der


WORK = {
    "a store with a million iterations": pair(store(1_000_000)),
    "an old store with two hundred thousand": pair(store(200_000, old=True)),
    "a store with a wrong passphrase": pair(store(1_000_000), passphrase=b"another"),
    "an encrypted key": pair(ORDERS.pem, key(PrivateFormat.PKCS8, encrypted=True)),
    "an encrypted key of the older form": pair(ORDERS.pem, key(PrivateFormat.TraditionalOpenSSL, encrypted=True)),
    "a key": pair(ORDERS.pem, key(PrivateFormat.PKCS8, encrypted=False)),
    "another certificate's key": pair(AUTHORITY.root.pem, key(PrivateFormat.PKCS8, encrypted=False)),
    "a bundle": anchors(ORDERS.pem * 500),
    "a certificate with many names": anchors(with_names(20_000)),
    "one that is larger still": anchors(with_names(80_000)),
    "empty blocks": anchors(b"-----BEGIN CERTIFICATE----------END CERTIFICATE-----\n" * 70_000),
    "keys without an end": pair(ORDERS.pem, b"-----BEGIN PRIVATE KEY-----\n" * 140_000),
    "one large block": anchors(b"-----BEGIN CERTIFICATE-----" + b"A" * 4_000_000 + b"-----END CERTIFICATE-----"),
    "two million empty elements": anchors(b"\x30\x83\x3f\x00\x00" + b"\x30\x00" * (0x3F0000 // 2)),
}


@pytest.mark.parametrize("name", WORK)
async def test_nothing_that_is_opened_stops_the_loop(name: str) -> None:
    # The machine has other things to do as well: what counts is what it can be at best.
    pauses = [await longest_pause(partial(asyncio.to_thread, WORK[name])) for _ in range(3)]

    assert min(pauses) < MOST
