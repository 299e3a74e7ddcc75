"""What files look like from outside, to notice when one has been replaced."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

_PART = 300
_COARSEST_TICK_NS = 2_000_000_000

Sight: TypeAlias = dict[str, str | None]
"""Each path with its modification time (ns), size, inode and device; None: nothing is there.

Text, not tuples: tens of thousands of those each second would keep the garbage collector walking the heap.
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """What to look at, and how it looked before it was read."""

    files: frozenset[str] = frozenset()
    globs: frozenset[str] = frozenset()
    """Patterns whose matches may come and go."""
    sight: Sight = field(default_factory=dict, repr=False)

    def parts(self) -> Iterator[Sight]:
        """How it looks now, some hundred files at a time: each part blocks for a moment."""
        matches = (match for pattern in self.globs for match in glob.iglob(pattern, recursive=True))
        paths = chain(self.files, (match for match in matches if match not in self.files))
        while part := look(islice(paths, _PART)):
            yield part

    def look(self) -> Sight:
        """How it looks now. Blocks."""
        return {path: signature for part in self.parts() for path, signature in part.items()}

    def __or__(self, other: Watched) -> Watched:
        """Both; where both looked at a file, `other` was later."""
        return Watched(self.files | other.files, self.globs | other.globs, self.sight | other.sight)


def look(paths: Iterable[str]) -> Sight:
    """Look at each path, symlinks followed: the swap of a mounted secret's `..data` is seen at its files. Blocks."""
    return {path: _signature(path) for path in paths}


def signature_of(status: os.stat_result) -> str:
    """What a file looks like."""
    return f"{status.st_mtime_ns} {status.st_size} {status.st_ino} {status.st_dev}"


def is_settled(status: os.stat_result) -> bool:
    """Whether a change after now will show in its signature.

    Clocks of file systems tick every few milliseconds, and every two seconds on some: what was changed just now may be
    changed once more with nothing to see of it.
    """
    return abs(time.time_ns() - status.st_mtime_ns) > _COARSEST_TICK_NS


def settled_look(paths: Iterable[str]) -> Sight | None:
    """Look at each path; None: one is not there, or not settled. Blocks."""
    sight: Sight = {}
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        if not is_settled(status):
            return None
        sight[path] = signature_of(status)
    return sight


def _signature(path: str) -> str | None:
    try:
        return signature_of(os.stat(path))
    except (OSError, ValueError):
        return None


def is_one_of(path: Path, files: Iterable[str]) -> bool:
    """Whether a file is one of these, under whatever name."""
    return path.is_file() and any(Path(each).exists() and path.samefile(each) for each in files)
