"""What files look like from outside, to notice when one has been replaced."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

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

    def look(self) -> Sight:
        """How it looks now. Blocks."""
        matches = (match for pattern in self.globs for match in glob.iglob(pattern, recursive=True))
        return look({*self.files, *matches})

    def __or__(self, other: Watched) -> Watched:
        """Both; where both looked at a file, `other` was later."""
        return Watched(self.files | other.files, self.globs | other.globs, self.sight | other.sight)


def look(paths: Iterable[str]) -> Sight:
    """Look at each path, symlinks followed: the swap of a mounted secret's `..data` is seen at its files. Blocks."""
    return {path: _signature(path) for path in paths}


def _signature(path: str) -> str | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return f"{status.st_mtime_ns} {status.st_size} {status.st_ino} {status.st_dev}"
