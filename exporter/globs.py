"""Which files a pattern means now, found in small steps."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

SUFFIXES = (".pem", ".crt", ".cer", ".cert", ".der", ".p12", ".pfx", ".jks", ".keystore", ".truststore")
"""The ends of the names of files that are meant by their directory."""

_ANY_DEPTH = "**"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A file, a directory, or a glob: `*`, `?`, `[…]`, and `**` for any number of directories."""

    directory: str
    """The part that is fixed, absolute."""
    segments: tuple[str, ...]
    """What is matched below it; none: `directory` itself is meant, be it a file or a directory."""
    exclude: tuple[str, ...] = ()
    """What is left out: globs of names, of paths from `directory`, and of whole paths; `*` includes slashes here."""

    @classmethod
    def of(cls, base: Path, files: str, exclude: Iterable[str] = ()) -> Pattern:
        """From what a configuration in the directory `base` says. `..` stays, for a symlink may come before it."""
        segments = [segment for segment in files.split("/") if segment not in {"", "."}]
        fixed = next((index for index, segment in enumerate(segments) if is_magic(segment)), len(segments))
        start = Path("/") if files.startswith("/") else base.absolute()
        return cls(str(start.joinpath(*segments[:fixed])), tuple(segments[fixed:]), tuple(exclude))

    @property
    def root(self) -> str:
        """What the names in references begin after, where an entry has a name."""
        if self.segments or _is_directory(self.directory):
            return self.directory
        return self.directory.rpartition("/")[0]

    def leaves_out(self, path: str) -> bool:
        """Whether it is excluded."""
        if not self.exclude:
            return False
        below = path.removeprefix(self.directory).lstrip("/")
        texts = (path.rpartition("/")[2], below, path)
        return any(_compiled(pattern).match(text) for pattern in self.exclude for text in texts)


@dataclass(frozen=True, slots=True)
class Found:
    """A path that is meant."""

    path: str
    is_named: bool = False
    """It is what the configuration names: it has to be there."""
    problem: str = ""
    """Why what is in this directory cannot be told; empty: it is to be read."""


Step: TypeAlias = Found | None
"""What was found, or None: nothing in this step."""


def is_magic(segment: str) -> bool:
    """Whether it stands for more than one name."""
    return any(character in segment for character in "*?[")


def expand(pattern: Pattern) -> Iterator[Step]:
    """What the pattern means now. Every step is short; each blocks. Never raises for what is on the disk."""
    steps = _walk(pattern.directory, pattern.segments) if pattern.segments else _named(pattern.directory)
    for step in steps:
        is_left_out = step is not None and not step.problem and pattern.leaves_out(step.path)
        yield None if is_left_out else step


class _Kind(Enum):
    FILE = auto()
    DIRECTORY = auto()
    LINKED = auto()
    """A symlink to a directory."""
    OTHER = auto()
    """A pipe, a device, a socket: opening one may block for ever."""
    PROBLEM = auto()
    """Not a name, but why there are no more."""


def _listed(path: str) -> Iterator[tuple[str, _Kind]]:
    """The names in a directory, a few system calls at a time."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                yield entry.name, _kind(entry)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        yield exc.strerror or "error", _Kind.PROBLEM


def _joined(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


def _kind(entry: os.DirEntry[str]) -> _Kind:
    if not entry.is_symlink():
        return _Kind.DIRECTORY if entry.is_dir() else _Kind.FILE if entry.is_file() else _Kind.OTHER
    try:
        mode = os.stat(entry.path).st_mode
    except OSError:
        # It leads nowhere: whoever reads it is told, and so tells.
        return _Kind.FILE
    return _Kind.LINKED if stat.S_ISDIR(mode) else _Kind.FILE if stat.S_ISREG(mode) else _Kind.OTHER


def _is_directory(path: str) -> bool:
    """False also where that cannot be told, for the way there is closed: whoever reads it is told, and so tells."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _named(path: str) -> Iterator[Step]:
    if not _is_directory(path):
        yield Found(path, is_named=True)
        return
    for name, kind in _listed(path):
        if kind is _Kind.PROBLEM:
            yield Found(path, is_named=True, problem=name)
        elif kind is _Kind.FILE and name.lower().endswith(SUFFIXES) and not name.startswith("."):
            yield Found(_joined(path, name))
        else:
            yield None


@dataclass(frozen=True, slots=True)
class _Place:
    """A directory to look into: how many segments may have matched, and whether a symlink led here."""

    path: str
    states: frozenset[int]
    linked: bool = False


def _walk(directory: str, segments: tuple[str, ...]) -> Iterator[Step]:
    """Directory by directory. The segments are an automaton: its states are how many of them have matched."""
    places = [_Place(directory, _closed({0}, segments))]
    while places:
        place = places.pop()
        for name, kind in _listed(place.path):
            path = _joined(place.path, name)
            if kind is _Kind.PROBLEM:
                yield Found(place.path, problem=name)
            elif kind is _Kind.FILE:
                yield Found(path) if len(segments) in _after(place.states, name, segments) else None
            elif kind is not _Kind.OTHER:
                places += _below(place, path, name, kind, segments)
                yield None
        yield None


def _below(place: _Place, path: str, name: str, kind: _Kind, segments: tuple[str, ...]) -> Iterator[_Place]:
    linked = kind is _Kind.LINKED
    deep = not linked or not (place.linked or _leads_back(place.path, path))
    states = _after(place.states, name, segments, deep=deep) - {len(segments)}
    if states:
        yield _Place(path, states, linked=place.linked or linked)


def _leads_back(directory: str, link: str) -> bool:
    target = os.path.realpath(link).rstrip("/")
    return f"{os.path.realpath(directory)}/".startswith(f"{target}/")


def _closed(states: Iterable[int], segments: tuple[str, ...]) -> frozenset[int]:
    """With those that are reached because `**` may stand for nothing; at the end, it stands for any name."""
    closed = set(states)
    for index, segment in enumerate(segments):
        if index in closed and segment == _ANY_DEPTH:
            closed.add(index + 1)
    return frozenset(closed)


def _after(states: frozenset[int], name: str, segments: tuple[str, ...], *, deep: bool = True) -> frozenset[int]:
    """The states behind a name. Not `deep`: `**` does not stand for it.

    So `**` goes through one symlink at most, and never back to where it came from.
    """
    after: set[int] = set()
    for state in states:
        segment = segments[state] if state < len(segments) else None
        if segment == _ANY_DEPTH:
            if deep and not name.startswith("."):
                after.add(state)
        elif segment is not None and _fits(segment, name):
            after.add(state + 1)
    return _closed(after, segments)


def _fits(segment: str, name: str) -> bool:
    if not is_magic(segment):
        return segment == name
    # As in a shell: a name that begins with a dot is matched by what does, too.
    return name.startswith(".") == segment.startswith(".") and _compiled(segment).match(name) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))
