"""What is found in a file of certificates, whatever its form."""

from __future__ import annotations

from binascii import b2a_base64
from dataclasses import dataclass, field

from exporter.certcheck.certificate import InvalidReason
from exporter.certcheck.text import one_line


class UnusableError(Exception):
    """The files cannot be used, for a reason of the published set. The text is for a person and holds no secret."""

    def __init__(self, reason: InvalidReason, detail: str) -> None:
        super().__init__(one_line(detail))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Block:
    """A place where a certificate should be."""

    der: bytes | None
    """None: there is none that could be decoded."""
    why: str = ""
    """What keeps it from being decoded."""
    name: str = ""
    """Where it is, in words, if a number in the order of the file does not tell."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Certificates and keys, decoded."""

    blocks: tuple[Block, ...] = ()
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    """In PEM. Only a key in a form that OpenSSL alone knows is still encrypted."""
    problem: UnusableError | None = None
    """What keeps the file, or its keys, closed. The certificates that can be read without are there all the same."""
    is_ordered: bool = True
    """Whether the form puts the leaf first."""
    presented: int | None = None
    """How many of the first blocks are the key's own chain; None: all."""


def closed(passphrase: bytes) -> UnusableError:
    """A passphrase is wrong, or missing."""
    return UnusableError(
        InvalidReason.BAD_PASSPHRASE,
        "the passphrase does not open it" if passphrase else "it is encrypted; set passphrase or passphrase_file",
    )


def several(keys: int) -> UnusableError:
    """Nothing says which key is meant; a request must not go out under another identity."""
    return UnusableError(InvalidReason.OTHER, f"has {keys} private keys; put the one to use into a file of its own")


def pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    """A block of PEM (RFC 7468 section 3)."""
    text = b2a_base64(der, newline=False)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label.encode(), lines, label.encode())
