"""A certificate that is not in use, to be tried: its chain, and its key if that was given."""

from __future__ import annotations

from dataclasses import dataclass, field

from exporter.certcheck.certificate import LARGE, InvalidReason, Reading
from exporter.certcheck.issuing import MOST_LINKS, Link, Linked, link_of, sort_out
from exporter.certcheck.suitability import Check, Status, fails, passes, unknown
from exporter.certificates.contents import UnusableError
from exporter.certificates.files import Material, read_bytes
from exporter.certificates.tls import Pair


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What was read, whole and readable; whether the key belongs to it is a finding."""

    chain: tuple[Link, ...]
    """In the order of the file; never empty. The first is the leaf."""
    linked: Linked
    key: Check
    pair: Pair | None = field(repr=False)
    """To be presented; None: without a key that belongs to it, it cannot be."""

    @property
    def ders(self) -> tuple[bytes, ...]:
        """The chain as it would be presented."""
        return tuple(each.der for each in self.chain)


def read_candidate(data: bytes, *, key: bytes | None = None, passphrase: bytes = b"") -> Candidate:
    """The certificate in `data`, PEM, DER or PKCS#12, with its key if it holds one or `key` is one. Blocks.

    Raises:
        UnusableError: it cannot be read, or the key cannot. The text holds nothing of the data.
    """
    material = read_bytes("candidate", data, key=key, passphrase=passphrase, needs_key=True)
    has_key = key is not None or not _lacks_key(material)
    if not has_key:
        if b"PRIVATE KEY-----" in data:
            raise UnusableError(InvalidReason.UNREADABLE, "the private key is cut off")
        material = read_bytes("candidate", data, needs_key=False, passphrase=passphrase)
    found = _key(material, passphrase) if has_key else unknown("no private key was given")
    chain = _chain(material, passphrase)
    return Candidate(chain, sort_out(chain), found, _pair(material) if found.status is Status.PASS else None)


def _lacks_key(material: Material) -> bool:
    return material.problem is not None and material.problem.invalid is InvalidReason.MISSING


def _key(material: Material, passphrase: bytes) -> Check:
    """What is wrong with the key as the key of this certificate; what is wrong with the data is raised."""
    problem = material.problem
    if problem is None:
        return passes("the private key belongs to it")
    if problem.invalid is InvalidReason.KEY_MISMATCH:
        return fails("the private key is not that of the certificate")
    if problem.invalid is InvalidReason.OTHER and problem.certificate is not None:
        return fails(problem.detail)
    raise _unusable(problem, passphrase)


def _unusable(problem: Reading, passphrase: bytes) -> UnusableError:
    if problem.invalid is InvalidReason.BAD_PASSPHRASE and not passphrase:
        # What is said of files names keys of a configuration.
        return UnusableError(problem.invalid, "it is encrypted, and no passphrase was given")
    return UnusableError(problem.invalid or InvalidReason.OTHER, problem.detail)


def _chain(material: Material, passphrase: bytes) -> tuple[Link, ...]:
    problem = material.problem
    if problem is not None and problem.invalid not in {InvalidReason.KEY_MISMATCH, InvalidReason.OTHER}:
        raise _unusable(problem, passphrase)
    ders = [der for der, _ in material.blocks()]
    if len(ders) > MOST_LINKS:
        raise UnusableError(InvalidReason.OTHER, f"holds {len(ders)} certificates, more than any chain has")
    for number, der in enumerate(ders, 1):
        if len(der) > LARGE:
            # Reading all of it would hold up everything else.
            raise UnusableError(InvalidReason.OTHER, f"certificate {number}: larger than 40 KiB")
    links = [link_of(der) for der in ders]
    for number, link in enumerate(links, 1):
        if link is None:
            raise UnusableError(InvalidReason.UNREADABLE, f"certificate {number}: cannot be read whole")
    return tuple(link for link in links if link is not None)


def _pair(material: Material) -> Pair:
    return Pair(material.certificate_pem, material.key_pem or b"", material.passphrase)
