"""A file that is watched: what it means, how it looked when it was read, and what is observed of it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from exporter.certcheck.certificate import InvalidReason, Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.text import one_line
from exporter.certificates.files import CertificateFiles, read_watched
from exporter.globs import Found, Pattern
from exporter.settings import Settings
from exporter.sight import is_settled, signature_of

_UNREAD = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the configuration's `watch`, with nothing left to look up but files."""

    pattern: Pattern
    name: str | None
    role: Role
    passphrase_file: Path | None
    passphrase: bytes = field(repr=False)
    policy: ExpiryPolicy | None
    """None: the gateway's."""

    def reference(self, path: str, root: str) -> str:
        """The `cert_ref` of a file: its path; with a name, that and the path from `root`."""
        below = path.removeprefix(root).lstrip("/")
        return one_line(path if self.name is None else f"{self.name}/{below}")


def entries_of(settings: Settings) -> tuple[Entry, ...]:
    """What a configuration watches; nothing where nothing is monitored."""
    configuration = settings.configuration
    monitor = configuration.certificate_expiry_monitor
    if not monitor.enabled:
        return ()
    policy = monitor.policy()
    return tuple(
        Entry(
            settings.pattern(each),
            each.name,
            Role(each.role),
            settings.file.parent / each.passphrase_file if each.passphrase_file else None,
            each.passphrase.get_secret_value().encode() if each.passphrase else b"",
            each.policy(policy),
        )
        for each in configuration.watch
    )


def path_of(settings: Settings, reference: str) -> str:
    """The file behind a certificate reference. That of a watched file without a name is its path already."""
    if reference not in settings.configuration.certificates:
        return reference
    return str(settings.certificate_files(reference).cert_file.absolute())


@dataclass(frozen=True, slots=True)
class Meant:
    """What the configuration and the directories make of a path now."""

    found: Found
    entry: Entry
    cert_ref: str
    passphrase_sight: str | None
    """How the entry's passphrase file looks."""

    def is_read_like(self, other: Meant) -> bool:
        """Whether what was read for the other is what would be read for this."""
        mine, theirs = ((each.found, each.entry.passphrase, each.passphrase_sight) for each in (self, other))
        return mine == theirs

    def observation(self, chain: tuple[Reading, ...]) -> Observation:
        """What was read, in use in the slots of this file."""
        return Observation(None, self.entry.role, chain, self.cert_ref, policy=self.entry.policy)


@dataclass(slots=True, eq=False)
class WatchedFile:
    """One file, and what was read of it. All of this blocks."""

    meant: Meant
    observation: Observation | None = None
    seen: str | None = _UNREAD
    """How it looked the last time, where it did not look as it does here."""
    looks: int = 0
    """How many looks have gone by since."""
    is_queued: bool = False
    """It is to be looked at again, or read."""
    is_dropped: bool = False
    _read_as: str | None = _UNREAD
    _digest: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """Where it is."""
        return self.meant.found.path

    def look(self) -> str | None:
        """How it looks now. None: it is not there, or cannot be looked at."""
        if self.meant.found.problem:
            return self.meant.found.problem
        try:
            return signature_of(os.stat(self.path))
        except OSError:
            return None

    def looks_as_read(self, sight: str | None) -> bool:
        """Whether it looks as it did when it was read, and that can be relied on."""
        return sight == self._read_as

    def has_gone(self) -> bool:
        """Whether the directory has it no more. What the configuration names itself is then missing, not gone."""
        if self.meant.found.is_named or self.meant.found.problem:
            return False
        try:
            os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return False

    def become(self, meant: Meant) -> bool:
        """Take what it means now; True: it has to be read again."""
        again = not meant.is_read_like(self.meant)
        self.meant = meant
        if again:
            self._read_as, self._digest = _UNREAD, b""
        return again

    def read(self) -> bool:
        """Read it; True: it holds something else than before, and `chain` is for a new observation."""
        self._read_as, chain, digest = self._content()
        if digest == self._digest:
            return False
        self._digest = digest
        self.observation = self.meant.observation(chain)
        return True

    def _content(self) -> tuple[str | None, tuple[Reading, ...], bytes]:
        """How it looks, what it holds, and a digest of that."""
        problem = self.meant.found.problem
        if problem:
            return problem, *_unread(f"{self.path}: cannot be listed: {problem}")
        try:
            status = os.stat(self.path)
        except OSError:
            return None, *self._read()
        sight = signature_of(status) if is_settled(status) else _UNREAD
        if not stat.S_ISREG(status.st_mode):
            # To open a pipe or a device may block for ever.
            return sight, *_unread(f"{self.path}: is not a file")
        return sight, *self._read()

    def _read(self) -> tuple[tuple[Reading, ...], bytes]:
        entry = self.meant.entry
        files = CertificateFiles(Path(self.path), None, entry.passphrase_file, entry.passphrase)
        material = read_watched(self.meant.cert_ref, files)
        return tuple(_shown(reading) for reading in material.chain), material.digest


def _unread(detail: str) -> tuple[tuple[Reading, ...], bytes]:
    reading = Reading(None, InvalidReason.UNREADABLE, one_line(detail))
    return (reading,), sha256(reading.detail.encode()).digest()


def _shown(reading: Reading) -> Reading:
    """The same, with the file's name made safe to show."""
    if reading.detail.isprintable():
        return reading
    return Reading(reading.certificate, reading.invalid, one_line(reading.detail))
