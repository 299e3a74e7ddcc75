"""Reading a certificate and its key as they are on disk now, with a clear reason for what cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from exporter.certcheck.certificate import InvalidReason, Reading, read_certificate
from exporter.certificates.contents import Contents, UnusableError
from exporter.certificates.fitness import Used, as_anchors, as_opened, as_pair
from exporter.certificates.forms import contents
from exporter.certificates.parts import Part, Parts, file_part, given_part, passphrase_part

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the parts of a named certificate are."""

    cert_file: Path
    key_file: Path | None = None
    """None: the key, if one is needed, is in `cert_file`."""
    passphrase_file: Path | None = None
    passphrase: bytes = field(default=b"", repr=False)
    """Itself, where it is in no file."""

    def paths(self) -> Iterator[Path]:
        """Every file there is to read."""
        yield from (path for path in (self.cert_file, self.key_file, self.passphrase_file) if path is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What the files held at one moment: those very bytes are what is judged and what is used."""

    ref: str
    chain: tuple[Reading, ...]
    """In the order of the file, but with the leaf first; never empty."""
    digest: bytes
    """Of every byte that was read."""
    certificate_pem: bytes = field(repr=False)
    """What OpenSSL takes; empty if it cannot be used, or is only watched."""
    key_pem: bytes | None = field(repr=False)
    passphrase: bytes = field(repr=False)
    """What OpenSSL needs for the key; empty where the key has been opened already."""
    problem: Reading | None = None
    """Why it cannot be presented (as a key pair) or trusted (as anchors): `invalid` and `detail`. None: it can be."""
    ders: tuple[bytes | None, ...] = field(default=(), repr=False)
    """Of each reading; None where nothing could be decoded. Empty if it is only watched."""

    def blocks(self) -> Iterator[tuple[bytes, Reading]]:
        """Each certificate that could be decoded: its DER, and what was read of it."""
        pairs = zip(self.ders, self.chain, strict=False)
        yield from ((der, reading) for der, reading in pairs if der is not None)


def read_pair(ref: str, files: CertificateFiles) -> Material:
    """A certificate with its private key, to be presented. Blocks; never raises for what the files hold."""
    return _read(ref, _parts(files), as_pair)


def read_certificates(ref: str, files: CertificateFiles) -> Material:
    """Certificates alone: trust anchors, or those that clients may present. Blocks; never raises."""
    return _read(ref, _parts(files, without_key=True), as_anchors)


def read_watched(ref: str, files: CertificateFiles) -> Material:
    """Certificates that are only watched: not checked for any use. Blocks; never raises for what the files hold."""
    return _read(ref, _parts(files, without_key=True), as_opened)


def read_bytes(
    ref: str, data: bytes, *, key: bytes | None = None, passphrase: bytes = b"", needs_key: bool
) -> Material:
    """What is in no file, judged as if it were: as `read_pair` with `needs_key`, else as `read_certificates`.

    `key` None: the key, if one is needed, is in `data`. Blocks; never raises for what the bytes hold; names no file.
    """
    certificate = given_part(data, "", "the certificate")
    parts = Parts(certificate, None if key is None else given_part(key, "key: ", "the key"), Part(passphrase))
    return _read(ref, parts, as_pair if needs_key else as_anchors)


def _parts(files: CertificateFiles, *, without_key: bool = False) -> Parts:
    return Parts(
        file_part(files.cert_file),
        file_part(files.key_file) if files.key_file and not without_key else None,
        passphrase_part(files.passphrase_file, files.passphrase),
    )


def _read(ref: str, parts: Parts, use: Callable[[Parts, Contents], Used]) -> Material:
    needs_key = use is as_pair
    digest = parts.digest()
    try:
        found = contents(
            parts.certificate.given(), parts.passphrase.or_empty(), with_keys=needs_key and parts.key is None
        )
        chain = _chain(parts, found)
    except UnusableError as exc:
        problem = Reading(None, exc.reason, str(exc))
        return Material(ref, (problem,), digest, b"", None, b"", problem)
    used = Used()
    unfit = _first_problem(chain)
    concerns_all = needs_key
    try:
        used = use(parts, found)
    except UnusableError as exc:
        # What was found in a block is clearer than what OpenSSL says of it.
        if unfit is None or exc.reason is not InvalidReason.OTHER:
            unfit, concerns_all = Reading(None, exc.reason, str(exc)), True
    if unfit is not None and concerns_all:
        unfit = Reading(chain[0].certificate, unfit.invalid, unfit.detail)
        chain = (unfit, *chain[1:])
    ders = tuple(block.der for block in found.blocks)
    first = ders.index(used.leaf) if used.leaf else 0 if found.is_ordered else _leaf(chain)
    if first:
        ders, chain = _from_first(ders, first), _from_first(chain, first)
    return Material(ref, chain, digest, used.certificate_pem, used.key_pem, used.passphrase, unfit, ders)


def _leaf(chain: tuple[Reading, ...]) -> int:
    """The first that is no CA. What a file allows goes by its first certificate, which must not be one by chance."""
    certificates = (each.certificate for each in chain)
    return next((index for index, each in enumerate(certificates) if each is not None and not each.is_ca), 0)


def _from_first(items: tuple[T, ...], first: int) -> tuple[T, ...]:
    return (items[first], *items[:first], *items[first + 1 :])


def _chain(parts: Parts, found: Contents) -> tuple[Reading, ...]:
    chain = tuple(
        Reading(None, InvalidReason.UNREADABLE, block.why) if block.der is None else read_certificate(block.der)
        for block in found.blocks
    )
    if not chain:
        # What keeps the file closed is the passphrase that could not be read.
        raise _nothing_in(parts, found)
    if _first_problem(chain) is None:
        return chain
    names = (block.name or f"certificate {number}" for number, block in enumerate(found.blocks, 1))
    return tuple(_located(parts.certificate, name, each) for name, each in zip(names, chain, strict=True))


def _nothing_in(parts: Parts, found: Contents) -> UnusableError:
    part = parts.certificate
    if found.problem is not None:
        parts.passphrase.given()
        return part.problem(found.problem.reason, str(found.problem))
    what = "has no certificate, in any known form" if part.given().strip() else "empty"
    return part.problem(InvalidReason.UNREADABLE, what)


def _located(part: Part, name: str, reading: Reading) -> Reading:
    if reading.invalid is None:
        return reading
    return Reading(reading.certificate, reading.invalid, f"{part.label}{name}: {reading.detail}")


def _first_problem(chain: tuple[Reading, ...]) -> Reading | None:
    return next((each for each in chain if each.invalid is not None), None)
