"""The bytes of a certificate's parts: of its files as they are now, or given as they are."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from exporter.certcheck.certificate import InvalidReason
from exporter.certificates.contents import UnusableError

LARGEST = 4 * 1024 * 1024
_AT_ONCE = 32 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One part, and how it is called."""

    content: bytes | UnusableError = field(repr=False)
    """Or why there is none."""
    label: str = ""
    """Stands before what is said of it."""
    noun: str = ""

    def given(self) -> bytes:
        """Its content.

        Raises:
            UnusableError: there is none.
        """
        if isinstance(self.content, UnusableError):
            raise self.content
        return self.content

    def or_empty(self) -> bytes:
        """Its content, if there is any."""
        return b"" if isinstance(self.content, UnusableError) else self.content

    def problem(self, reason: InvalidReason, text: str) -> UnusableError:
        """What is wrong with it, with its name."""
        return UnusableError(reason, f"{self.label}{text}")


class Parts(NamedTuple):
    """All of one certificate."""

    certificate: Part
    key: Part | None
    """None: the key, if one is needed, is with the certificate."""
    passphrase: Part

    def digest(self) -> bytes:
        """Tells whenever a byte of a part, or why it is not there, has changed."""
        if self.key is None and self.passphrase is NOTHING:
            return _fingerprint(self.certificate)
        return sha256(b"".join(_fingerprint(part or NOTHING) for part in self)).digest()


def _fingerprint(part: Part) -> bytes:
    content = part.content
    return sha256(content if isinstance(content, bytes) else str(content).encode()).digest()


NOTHING = Part(b"")


def file_part(path: Path) -> Part:
    """A file. Blocks; a file that cannot be read is a part without content."""
    return Part(_content(path), f"{path}: ", str(path))


def given_part(content: bytes, label: str, noun: str) -> Part:
    """Bytes that are in no file."""
    if len(content) > LARGEST:
        return Part(UnusableError(InvalidReason.UNREADABLE, f"{label}larger than 4 MiB"), label, noun)
    return Part(content, label, noun)


def passphrase_part(path: Path | None, passphrase: bytes) -> Part:
    """A passphrase: the first line of a file, or itself. Blocks."""
    if path is None:
        return Part(passphrase) if passphrase else NOTHING
    content = _content(path)
    return Part(content.split(b"\n", 1)[0].rstrip(b"\r") if isinstance(content, bytes) else content)


def _content(path: Path) -> bytes | UnusableError:
    try:
        data = _read(path)
    except FileNotFoundError:
        return UnusableError(InvalidReason.MISSING, f"{path}: no such file")
    except OSError as exc:
        return UnusableError(InvalidReason.UNREADABLE, f"{path}: cannot be read: {exc.strerror}")
    except ValueError:
        return UnusableError(InvalidReason.UNREADABLE, f"{path}: is not a file name")
    if len(data) > LARGEST:
        return UnusableError(InvalidReason.UNREADABLE, f"{path}: larger than 4 MiB")
    return data


def _read(path: Path) -> bytes:
    """At most a byte more than may be. A pipe without a writer is empty, and does not wait for one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = os.read(descriptor, _AT_ONCE)
        # Nothing tells a short read from the end but another one.
        while (more := os.read(descriptor, LARGEST + 1 - len(data))) and len(data) <= LARGEST:
            data += more
        return data
    finally:
        os.close(descriptor)
