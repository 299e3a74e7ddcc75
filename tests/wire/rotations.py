"""A pair of files that is replaced in every way there is, well or badly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TypeAlias

from tests.authority import Authority
from tests.wire.wires import Wire

HALF_WRITTEN_SECONDS = 1.5
LIVE_SECONDS = 2.0
"""A good pair is presented this long after it was written."""

_BAD = 9000


@dataclass
class Pair:
    """`client.pem`, a leaf and its intermediate, and `client.key`. Good ones are numbered; bad ones from 9001 on."""

    directory: Path
    root: Authority
    number: int = 0
    written: list[tuple[float, float, int]] = field(default_factory=list)
    """When each good one was begun and complete (`time.monotonic`), and its number."""
    bad: int = _BAD

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._intermediate = self.root.intermediate("intermediate of clients")

    @property
    def certificate(self) -> Path:
        return self.directory / "client.pem"

    @property
    def key(self) -> Path:
        return self.directory / "client.key"

    def issue(self, number: int) -> tuple[bytes, bytes]:
        """The contents of both files."""
        issued = self._intermediate.issue(f"client {number}")
        return issued.pem + self._intermediate.root.pem, issued.key_pem()

    def next_bad(self) -> tuple[bytes, bytes]:
        self.bad += 1
        return self.issue(self.bad)

    def good(self, write: Callable[[bytes, bytes], None]) -> None:
        """Replace it by a good one."""
        contents = self.issue(self.number + 1)
        began_at = time.monotonic()
        write(*contents)
        self.number += 1
        self.written.append((began_at, time.monotonic(), self.number))

    def in_place(self, certificate: bytes, key: bytes) -> None:
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)

    def by_rename(self, certificate: bytes, key: bytes) -> None:
        for path, content in ((self.key, key), (self.certificate, certificate)):
            new = path.with_suffix(path.suffix + ".new")
            new.write_bytes(content)
            new.rename(path)

    def by_data_symlink(self, certificate: bytes, key: bytes) -> None:
        """As Kubernetes swaps a mounted secret: `..data` is re-pointed, the files' own symlinks stay."""
        fresh = self.directory / f"..{time.monotonic_ns()}"
        fresh.mkdir()
        (fresh / self.certificate.name).write_bytes(certificate)
        (fresh / self.key.name).write_bytes(key)
        (self.directory / "..data.new").symlink_to(fresh.name)
        (self.directory / "..data.new").rename(self.directory / "..data")
        for path in (self.certificate, self.key):
            if not path.is_symlink():
                path.symlink_to(f"..data/{path.name}")

    def half_written(self, certificate: bytes, key: bytes) -> None:
        """Stops within a file; where, differs each time. The rest comes later."""
        cuts = [(1 / 4, 1.0), (3 / 4, 1.0), (1.0, 1 / 2), (0.0, 1.0)]
        of_certificate, of_key = cuts[(self.number + self.bad) % len(cuts)]
        self.key.write_bytes(_cut(key, of_key))
        self.certificate.write_bytes(_cut(certificate, of_certificate))

    def slowly(self, certificate: bytes, key: bytes) -> None:
        self.half_written(certificate, key)
        Event().wait(HALF_WRITTEN_SECONDS)
        self.in_place(certificate, key)


def _cut(content: bytes, part: float) -> bytes:
    return content[: int(len(content) * part)]


Noticed: TypeAlias = Callable[[Callable[[], None]], None]
"""Does what it is given, and waits until it has been refused."""


def swap(pair: Pair, _turn: int, _noticed: Noticed) -> None:
    pair.good(pair.by_data_symlink)


def rename(pair: Pair, _turn: int, _noticed: Noticed) -> None:
    pair.good(pair.by_rename)


def in_place(pair: Pair, _turn: int, _noticed: Noticed) -> None:
    pair.good(pair.in_place)


def half_written(pair: Pair, turn: int, noticed: Noticed) -> None:
    """Completed a moment later, and for good, in turn."""
    if turn % 2:
        noticed(lambda: pair.half_written(*pair.next_bad()))
        pair.good(pair.in_place)
    else:
        pair.good(pair.slowly)


def mismatched(pair: Pair, turn: int, noticed: Noticed) -> None:
    """One file of a new pair, and another one's other file; which is which, in turn."""
    (one_certificate, _), (_, another_key) = pair.next_bad(), pair.next_bad()
    write = pair.in_place if turn % 2 else pair.by_rename
    noticed(lambda: write(one_certificate, another_key))
    pair.good(write)


KINDS: dict[str, Callable[[Pair, int, Noticed], None]] = {
    "swap": swap,
    "rename": rename,
    "in-place": in_place,
    "half-written": half_written,
    "mismatched": mismatched,
}


@dataclass
class Seen:
    """What requests were answered: of each, when it began and ended, its status, and whom the upstream saw."""

    path: str
    requests: list[tuple[float, float, int, int]] = field(default_factory=list)

    def request(self, wire: Wire) -> None:
        began_at = time.monotonic()
        response = wire.ask(self.path)
        number = int(response.content.split()[-1]) if response.status == 200 else 0
        self.requests.append((began_at, time.monotonic(), response.status, number))

    @property
    def failed(self) -> list[int]:
        return [status for _, _, status, _ in self.requests if status != 200]

    @property
    def latest(self) -> int:
        return self.requests[-1][3] if self.requests else 0

    def wrong(self, pair: Pair) -> list[tuple[int, range]]:
        """Who was seen though it should have been another one: each with what was right."""
        found = []
        for began_at, ended_at, _, number in self.requests:
            least = max(which for _, complete_at, which in pair.written if complete_at + LIVE_SECONDS <= began_at)
            most = max(which for written_at, _, which in pair.written if written_at <= ended_at)
            if not least <= number <= most:
                found.append((number, range(least, most + 1)))
        return found
