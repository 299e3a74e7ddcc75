"""Reading a certificate and its key as they are on disk now, with a clear reason for what cannot be used."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509 import load_der_x509_certificate

from exporter.certcheck.certificate import InvalidReason, Reading, read_certificate
from exporter.certcheck.text import one_line
from exporter.certificates.pem import certificate_blocks, key_block
from exporter.certificates.tls import client_context, load_pair

_LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the parts of a named certificate are."""

    cert_file: Path
    key_file: Path | None = None
    """None: the key, if one is needed, is in `cert_file`."""
    passphrase_file: Path | None = None

    def paths(self) -> Iterator[Path]:
        """Every file there is to read."""
        yield from (path for path in (self.cert_file, self.key_file, self.passphrase_file) if path is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What the files held at one moment: those very bytes are what is judged and what is used."""

    ref: str
    chain: tuple[Reading, ...]
    """In the order of the file; never empty."""
    digest: bytes
    """Of every byte that was read."""
    certificate_pem: bytes = field(repr=False)
    key_pem: bytes | None = field(repr=False)
    passphrase: bytes = field(repr=False)
    problem: Reading | None = None
    """Why it cannot be presented (as a key pair) or trusted (as anchors): `invalid` and `detail`. None: it can be."""

    def blocks(self) -> Iterator[tuple[bytes, Reading]]:
        """Each certificate that could be decoded: its DER, and what was read of it."""
        ders = certificate_blocks(self.certificate_pem)
        yield from ((der, reading) for der, reading in zip(ders, self.chain, strict=False) if der is not None)


class UnusableError(Exception):
    """The files cannot be used, for a reason of the published set. The text is for a person and holds no secret."""

    def __init__(self, reason: InvalidReason, detail: str) -> None:
        super().__init__(one_line(detail))
        self.reason = reason


def read_pair(ref: str, files: CertificateFiles) -> Material:
    """A certificate with its private key, to be presented. Blocks; never raises for what the files hold."""
    return _read(ref, files, needs_key=True)


def read_certificates(ref: str, files: CertificateFiles) -> Material:
    """Certificates alone: trust anchors, or those that clients may present. Blocks; never raises."""
    return _read(ref, files, needs_key=False)


def _read(ref: str, files: CertificateFiles, *, needs_key: bool) -> Material:
    contents: dict[Path, bytes | UnusableError] = {path: _content(path) for path in files.paths()}
    digest = sha256(b"".join(_fingerprint(content) for content in contents.values())).digest()
    certificate = contents[files.cert_file]
    key: bytes | None = None
    passphrase = b""
    try:
        chain = _chain(files.cert_file, certificate)
    except UnusableError as exc:
        problem = Reading(None, exc.reason, str(exc))
        return Material(ref, (problem,), digest, b"", None, b"", problem)
    pem = certificate if isinstance(certificate, bytes) else b""
    unfit = _first_problem(chain)
    try:
        if needs_key:
            passphrase = _given(contents, files.passphrase_file).split(b"\n")[0].rstrip(b"\r")
            key = _key(files, contents)
            _check_pair(files, pem, key, passphrase)
        elif unfit is None:
            _check_anchors(files, pem)
    except UnusableError as exc:
        # What was found in a block is clearer than what OpenSSL says of it.
        if unfit is None or exc.reason is not InvalidReason.OTHER:
            unfit = Reading(None, exc.reason, str(exc))
        unfit = Reading(chain[0].certificate, unfit.invalid, unfit.detail)
        if needs_key or chain[0].invalid is None:
            chain = (unfit, *chain[1:])
    return Material(ref, chain, digest, pem, key, passphrase, unfit)


def _content(path: Path) -> bytes | UnusableError:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return UnusableError(InvalidReason.MISSING, f"{path}: no such file")
    except OSError as exc:
        return UnusableError(InvalidReason.UNREADABLE, f"{path}: cannot be read: {exc.strerror}")
    except ValueError:
        return UnusableError(InvalidReason.UNREADABLE, f"{path}: is not a file name")
    if len(data) > _LARGEST:
        return UnusableError(InvalidReason.UNREADABLE, f"{path}: larger than 4 MiB")
    return data


def _fingerprint(content: bytes | UnusableError) -> bytes:
    return sha256(content if isinstance(content, bytes) else str(content).encode()).digest()


def _chain(path: Path, content: bytes | UnusableError) -> tuple[Reading, ...]:
    if isinstance(content, UnusableError):
        raise content
    chain = tuple(
        Reading(None, InvalidReason.UNREADABLE, "its base64 is broken") if der is None else read_certificate(der)
        for der in certificate_blocks(content)
    )
    if not chain:
        what = "empty" if not content.strip() else "not PEM: it has no BEGIN CERTIFICATE block"
        raise UnusableError(InvalidReason.UNREADABLE, f"{path}: {what}")
    return tuple(
        Reading(each.certificate, each.invalid, each.detail and f"{path}: certificate {number}: {each.detail}")
        for number, each in enumerate(chain, 1)
    )


def _first_problem(chain: tuple[Reading, ...]) -> Reading | None:
    return next((each for each in chain if each.invalid is not None), None)


def _given(contents: dict[Path, bytes | UnusableError], path: Path | None) -> bytes:
    content = b"" if path is None else contents[path]
    if isinstance(content, UnusableError):
        raise content
    return content


def _key(files: CertificateFiles, contents: dict[Path, bytes | UnusableError]) -> bytes:
    path = files.key_file or files.cert_file
    key = key_block(_given(contents, path))
    if key is None:
        if files.key_file is None:
            raise UnusableError(InvalidReason.MISSING, f"{path}: has no private key; set key_file")
        raise UnusableError(InvalidReason.UNREADABLE, f"{path}: has no PRIVATE KEY block")
    return key


def _check_pair(files: CertificateFiles, certificate: bytes, key: bytes, passphrase: bytes) -> None:
    """Six different defects read alike to OpenSSL: tell them apart first, and let it have the last word."""
    path = files.key_file or files.cert_file
    public = _public_key(path, key, passphrase)
    if not _belongs(certificate, public):
        raise UnusableError(InvalidReason.KEY_MISMATCH, f"{path}: is not the key of {files.cert_file}")
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key, passphrase)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or "it cannot be loaded"
        raise UnusableError(InvalidReason.OTHER, f"{files.cert_file}: refused by OpenSSL: {reason}") from None


def _public_key(path: Path, key: bytes, passphrase: bytes) -> bytes:
    encrypted = b"ENCRYPTED" in key
    try:
        # The check of an RSA key takes tens of milliseconds and holds the interpreter; OpenSSL makes its own.
        private = load_pem_private_key(key, passphrase if encrypted else None, unsafe_skip_rsa_key_validation=True)
        return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # the library raises a dozen kinds; none of their texts is fit to be shown beside a key
        if not encrypted:
            raise UnusableError(InvalidReason.UNREADABLE, f"{path}: the private key cannot be read") from None
        why = "the passphrase does not open it" if passphrase else "it is encrypted; set passphrase_file"
        raise UnusableError(InvalidReason.BAD_PASSPHRASE, f"{path}: {why}") from None


def _belongs(certificate: bytes, public: bytes) -> bool:
    leaf = next(certificate_blocks(certificate), None)
    try:
        own = load_der_x509_certificate(leaf or b"").public_key()
        return own.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public
    except Exception:  # a leaf that the library cannot read is left to OpenSSL to match
        return True


def _check_anchors(files: CertificateFiles, certificates: bytes) -> None:
    try:
        client_context(None, certificates)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or "it cannot be loaded"
        raise UnusableError(InvalidReason.OTHER, f"{files.cert_file}: refused by OpenSSL: {reason}") from None
