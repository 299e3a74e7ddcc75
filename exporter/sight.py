"""What a file looks like from outside, to notice when it has been replaced."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeAlias

Sight: TypeAlias = dict[str, tuple[int, int, int, int] | None]
"""Each path with its modification time (ns), size, inode and device; None: nothing is there."""


def look(paths: Iterable[str]) -> Sight:
    """Look at each path, symlinks followed: the swap of a mounted secret's `..data` is seen at its files. Blocks."""
    return {path: _signature(path) for path in paths}


def _signature(path: str) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev
