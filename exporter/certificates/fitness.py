"""What OpenSSL can use of what was read, or why it cannot.

OpenSSL goes first: it lets other threads run, and has the last word. Only what it refuses is looked into.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from OpenSSL import crypto

from exporter.certcheck.certificate import InvalidReason
from exporter.certificates.contents import Contents, UnusableError, closed, pem
from exporter.certificates.forms import contents
from exporter.certificates.parts import Part, Parts
from exporter.certificates.tls import client_context, load_pair

_MOST_LEAVES = 100
# The last one: both were taken, and are of different kinds.
_MISMATCH = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


@dataclass(frozen=True, slots=True)
class Used:
    """What OpenSSL takes."""

    leaf: bytes | None = None
    """DER."""
    certificate_pem: bytes = field(default=b"", repr=False)
    key_pem: bytes | None = field(default=None, repr=False)
    passphrase: bytes = field(default=b"", repr=False)


def as_opened(parts: Parts, found: Contents) -> Used:
    """Nothing of it: it is only looked at.

    Raises:
        UnusableError: not all of it could be opened.
    """
    if found.problem is not None:
        # What is wrong is first of all that the passphrase cannot be had.
        parts.passphrase.given()
        raise parts.certificate.problem(found.problem.reason, str(found.problem))
    return Used()


def as_anchors(parts: Parts, found: Contents) -> Used:
    """The certificates as trust anchors.

    Raises:
        UnusableError: it could not be opened, or OpenSSL refuses it.
    """
    as_opened(parts, found)
    certificates = b"".join(pem(der) for der in _ders(found))
    try:
        client_context(None, certificates)
    except (OSError, ValueError) as exc:
        raise _refused(parts.certificate, exc) from None
    return Used(certificate_pem=certificates)


def as_pair(parts: Parts, found: Contents) -> Used:
    """The chain, leaf first, with the key.

    Raises:
        UnusableError: it could not be opened, has no key or another's, or OpenSSL refuses it.
    """
    passphrase = parts.passphrase.given()
    as_opened(parts, found)
    holder = parts.key or parts.certificate
    opened = contents(parts.key.given(), passphrase, with_keys=True) if parts.key else found
    if opened.problem is not None:
        raise holder.problem(opened.problem.reason, str(opened.problem))
    if not opened.keys:
        reason = InvalidReason.UNREADABLE if parts.key else InvalidReason.MISSING
        raise holder.problem(reason, "has no private key" if parts.key else "has no private key; set key_file")
    key = opened.keys[0]
    return _matched(parts, found, key, passphrase if b"ENCRYPTED" in key else b"")


def _matched(parts: Parts, found: Contents, key: bytes, passphrase: bytes) -> Used:
    holder = parts.key or parts.certificate
    for chain in _chains(found):
        certificates = b"".join(pem(der) for der in chain)
        try:
            load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificates, key, passphrase)
        except (OSError, ValueError) as exc:
            if getattr(exc, "reason", None) not in _MISMATCH:
                _check_key(holder, key, passphrase)
                raise _refused(parts.certificate, exc) from None
        else:
            return Used(chain[0], certificates, key, passphrase)
    raise holder.problem(InvalidReason.KEY_MISMATCH, f"is not the key of {parts.certificate.noun}")


def _chains(found: Contents) -> Iterator[Sequence[bytes]]:
    """The chain in its order; where the form has none each certificate may be the leaf."""
    ders = _ders(found)
    if found.is_ordered:
        yield ders[: found.presented]
        return
    for index in range(min(len(ders), _MOST_LEAVES)):
        yield (ders[index], *ders[:index], *ders[index + 1 :])


def _ders(found: Contents) -> list[bytes]:
    return [block.der for block in found.blocks if block.der is not None]


def _check_key(holder: Part, key: bytes, passphrase: bytes) -> None:
    try:
        crypto.load_privatekey(crypto.FILETYPE_PEM, key, passphrase)
    except Exception:  # the library raises several kinds; none of their texts is fit to be shown beside a key
        if b"ENCRYPTED" not in key:
            raise holder.problem(InvalidReason.UNREADABLE, "the private key cannot be read") from None
        problem = closed(passphrase)
        raise holder.problem(problem.reason, str(problem)) from None


def _refused(part: Part, exc: Exception) -> UnusableError:
    reason = getattr(exc, "reason", None) or "it cannot be loaded"
    return part.problem(InvalidReason.OTHER, f"refused by OpenSSL: {reason}")
