"""Which certificate of a chain has issued which, by their signatures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from exporter.certcheck.certificate import Certificate, read_certificate

MOST_LINKS = 11
"""A leaf and ten issuers: more are no chain, and cost a signature for each pair of them."""


class Link(NamedTuple):
    """One certificate of a chain."""

    certificate: Certificate
    parsed: x509.Certificate

    @property
    def der(self) -> bytes:
        """As it was read."""
        return self.parsed.public_bytes(Encoding.DER)


class Linked(NamedTuple):
    """A chain, sorted out."""

    path: tuple[Link, ...]
    """From the leaf to its issuer, to that one's issuer, as far as the chain goes."""
    strays: tuple[Link, ...]
    """What has issued nothing of the chain."""
    in_order: bool
    """Whether each of the others has issued one that stands before it (RFC 8446 section 4.4.2)."""

    @property
    def top(self) -> Link:
        """The last of the path."""
        return self.path[-1]


def link_of(der: bytes) -> Link | None:
    """A certificate, to be linked; None where its dates, its names or its key cannot be read."""
    certificate = read_certificate(der).certificate
    try:
        parsed = x509.load_der_x509_certificate(der)
        named = parsed.subject, parsed.issuer, parsed.public_key()
    except Exception:  # the library raises many kinds for what it cannot read
        return None
    return Link(certificate, parsed) if certificate is not None and named else None


def links_of(chain: Iterable[bytes]) -> tuple[Link, ...]:
    """Those of a chain (DER) that can be linked, at most eleven."""
    links = (link_of(der) for _, der in zip(range(MOST_LINKS), chain, strict=False))
    return tuple(link for link in links if link is not None)


def issued(issuer: Link, subject: Link) -> bool:
    """Whether one is a CA and has signed the other."""
    if not issuer.certificate.is_ca:
        return False
    try:
        subject.parsed.verify_directly_issued_by(issuer.parsed)
    except Exception:  # another name, a wrong signature, an algorithm that the library does not know
        return False
    return True


def is_self_signed(link: Link) -> bool:
    """Whether a certificate is its own issuer, by its signature."""
    try:
        link.parsed.verify_directly_issued_by(link.parsed)
    except Exception:  # as above
        return False
    return True


def sort_out(chain: Sequence[Link]) -> Linked:
    """Link a chain from its first certificate on, whatever the order of the others."""
    return Linked(_path(chain), _strays(chain), _is_in_order(chain))


def same_issuer(one: Link, other: Link, known: Iterable[Link]) -> Link | str | None:
    """What issued both: the issuer where it is among the `known`, else its name; None where they differ.

    A name is taken for the issuer only where no key is known that has signed either of the two, and where the
    identifiers of the issuer's key (RFC 5280 section 4.2.1.1), if both have one, are the same.
    """
    keys = [each for each in known if issued(each, one) or issued(each, other)]
    if keys:
        return next((each for each in keys if issued(each, one) and issued(each, other)), None)
    if one.parsed.issuer != other.parsed.issuer or is_self_signed(one) or is_self_signed(other):
        return None
    key_ids = {key_id for each in (one, other) if (key_id := _authority_key_id(each)) is not None}
    return one.certificate.issuer if len(key_ids) < 2 else None


def _path(chain: Sequence[Link]) -> tuple[Link, ...]:
    path, left = [chain[0]], list(chain[1:])
    while not is_self_signed(path[-1]):
        issuer = next((each for each in left if issued(each, path[-1])), None)
        if issuer is None:
            break
        path.append(issuer)
        left.remove(issuer)
    return tuple(path)


def _strays(chain: Sequence[Link]) -> tuple[Link, ...]:
    known, left = [chain[0]], list(chain[1:])
    while found := [each for each in left if any(issued(each, subject) for subject in known)]:
        known += found
        left = [each for each in left if each not in found]
    return tuple(left)


def _is_in_order(chain: Sequence[Link]) -> bool:
    return all(any(issued(each, before) for before in chain[:index]) for index, each in enumerate(chain) if index)


def _authority_key_id(link: Link) -> bytes | None:
    try:
        extension = link.parsed.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_KEY_IDENTIFIER).value
    except Exception:  # none, or one that the library cannot read
        return None
    return extension.key_identifier if isinstance(extension, x509.AuthorityKeyIdentifier) else None
