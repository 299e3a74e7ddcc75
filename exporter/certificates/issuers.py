"""Paths from what was presented to issuers that are trusted (RFC 5280 section 6), times aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from exporter.certcheck.certificate import Certificate, read_certificate

# X509_V_FLAG_NO_CHECK_TIME, for which the library has no name: the dates are looked at for each request.
_FLAGS = 0x200000 | crypto.X509StoreFlags.PARTIAL_CHAIN

_MOST_PRESENTED = 10

E = TypeVar("E", bound=x509.ExtensionType)


class Issuers:
    """Certificates that are trusted to issue others, intermediates as well as roots."""

    def __init__(self, certificates: Iterable[bytes]) -> None:
        # A store for each. In one together, of two issuers that fit OpenSSL takes any, be it the one that has expired.
        self._stores = [store for der in certificates for store in _stores(der)]

    def paths(self, chain: tuple[bytes, ...]) -> list[tuple[Certificate, ...]]:
        """The paths from the first of these certificates (DER), one for each trusted issuer that can be reached.

        The other certificates may be in any order, and may have nothing to do with it; more than ten are not looked at.
        A certificate that is trusted as an issuer is verified by itself.
        """
        leaf, *others = [_loaded(der) for der in chain[: 1 + _MOST_PRESENTED]]
        if leaf is None:
            return []
        # Of two that fit OpenSSL takes the first.
        between = sorted((each for each in others if each is not None), key=_not_after, reverse=True)
        paths = (_path(store, leaf, between) for store in self._stores)
        return [path for path in paths if path]


def _stores(der: bytes) -> Iterator[crypto.X509Store]:
    """One, or none where OpenSSL cannot use the certificate."""
    certificate = _loaded(der)
    if certificate is not None:
        store = crypto.X509Store()
        store.set_flags(_FLAGS)
        store.add_cert(certificate)
        yield store


def _loaded(der: bytes) -> crypto.X509 | None:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error:
        return None


def _not_after(certificate: crypto.X509) -> bytes:
    return certificate.get_notAfter() or b""


def _path(store: crypto.X509Store, leaf: crypto.X509, between: list[crypto.X509]) -> tuple[Certificate, ...]:
    """The verified path; empty if there is none."""
    try:
        verified = crypto.X509StoreContext(store, leaf, between).get_verified_chain()
        path = [each.to_cryptography() for each in verified]
        fits = _is_for_clients(path)
    except (crypto.X509StoreContextError, ValueError, x509.DuplicateExtension):
        # The last two: what OpenSSL reads and the library does not. Nobody is let in by what cannot be looked at.
        return ()
    readings = [read_certificate(each.public_bytes(Encoding.DER)).certificate for each in path]
    certificates = tuple(each for each in readings if each is not None)
    return certificates if fits and len(certificates) == len(path) else ()


def _is_for_clients(path: list[x509.Certificate]) -> bool:
    """What the library cannot be told: that it is for clients of TLS (RFC 5280 sections 4.2.1.3 and 4.2.1.12)."""
    usage = _extension(path[0], x509.KeyUsage)
    signs = usage is None or usage.digital_signature or usage.key_agreement
    # As OpenSSL and others take it: what an issuer is not for, nothing that it issued is for.
    return signs and all(_allows_clients(each) for each in path)


def _allows_clients(certificate: x509.Certificate) -> bool:
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    named = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return purposes is None or any(purpose in purposes for purpose in named)


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
