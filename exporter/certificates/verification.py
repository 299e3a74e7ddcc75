"""Paths from what an upstream would present to what an API trusts, verified at an instant, as on a connection."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from exporter.certcheck.issuing import Link, link_of
from exporter.certificates.pem import certificate_blocks

# X509_V_FLAG_NO_CHECK_TIME, for which the library has no name.
_NO_CHECK_TIME = 0x200000
# X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED.
_OF_TIME = frozenset({9, 10})


class Verified(NamedTuple):
    """What OpenSSL made of a chain (RFC 5280 section 6), its dates aside if nothing else was wrong."""

    path: tuple[Link, ...]
    """From the leaf to the anchor; empty where there is none."""
    why: str = ""
    """Why there is none."""


class Anchors:
    """What an API trusts its upstream by: PEM, or the system's store. Everything here blocks."""

    def __init__(self, pem: bytes | None) -> None:
        self._pem = pem

    def verify(self, chain: Sequence[Link], now: datetime) -> Verified:
        """The path that a connection would take at `now`; where only a date is in its way, the path without it."""
        self._store.set_time(now)
        verified, code = _verify(self._store, chain)
        return _verify(self._timeless, chain)[0] if code in _OF_TIME else verified

    def links(self) -> tuple[Link, ...]:
        """Those that were given; the system's are not looked at one by one."""
        blocks = certificate_blocks(self._pem or b"")
        return tuple(link for der in blocks if der is not None and (link := link_of(der)) is not None)

    @cached_property
    def _store(self) -> crypto.X509Store:
        return self._made()

    @cached_property
    def _timeless(self) -> crypto.X509Store:
        store = self._made()
        store.set_flags(_NO_CHECK_TIME)
        return store

    def _made(self) -> crypto.X509Store:
        store = crypto.X509Store()
        if self._pem is None:
            paths = ssl.get_default_verify_paths()
            # As a context does: without a store there is nothing that is trusted.
            with suppress(crypto.Error):
                store.load_locations(paths.cafile, paths.capath)
            return store
        for der in certificate_blocks(self._pem):
            certificate = _loaded(der) if der is not None else None
            if certificate is not None:
                store.add_cert(certificate)
        return store


def _loaded(der: bytes) -> crypto.X509 | None:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error:
        return None


def _verify(store: crypto.X509Store, chain: Sequence[Link]) -> tuple[Verified, int | None]:
    """What came of it, and OpenSSL's code for why nothing did."""
    leaf, *others = [crypto.X509.from_cryptography(each.parsed) for each in chain]
    try:
        path = crypto.X509StoreContext(store, leaf, others).get_verified_chain()
        links = [link_of(each.to_cryptography().public_bytes(Encoding.DER)) for each in path]
    except crypto.X509StoreContextError as exc:
        code, _, text = exc.errors
        return Verified((), str(text)), int(code)
    except ValueError:
        return Verified((), "a certificate cannot be read"), None
    known = tuple(each for each in links if each is not None)
    # Nothing is said to be fine that cannot be looked at.
    return (Verified(known) if len(known) == len(links) else Verified((), "an anchor cannot be read")), None
