"""Which store is used: what the configuration says, or the best that there is where this process runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY = "memory"
SQLITE = "sqlite:"


@dataclass(frozen=True, slots=True)
class Place:
    """Where events are kept until they are delivered, and why there."""

    file: Path | None
    """None: in memory."""
    sentence: str
    """For the log, at start."""

    def __str__(self) -> str:
        return MEMORY if self.file is None else f"{SQLITE}{self.file}"


IN_MEMORY = Place(None, "state is kept in memory: what is not delivered is lost at the end")
"""For a process that is to leave nothing behind."""


def state_of(configured: str | None, environment: Mapping[str, str], config_file: Path) -> Place:
    """Where the configuration says; else in systemd's state directory, or beside the file, or in memory.

    A store that is shared (`redis://…`) keeps cooldowns; events are then kept as if nothing were configured.
    """
    if configured == MEMORY:
        return Place(None, "state is kept in memory, as configured: what is not delivered is lost at the end")
    if configured is not None and configured.startswith(SQLITE):
        return Place(config_file.parent / configured.removeprefix(SQLITE), "state is kept in a file, as configured")
    # One for each configuration, for two gateways may have theirs side by side.
    name = f"{config_file.stem}.state.sqlite3"
    directory = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if directory:
        return Place(Path(directory) / name, "state is kept in $STATE_DIRECTORY")
    if os.access(config_file.parent, os.W_OK | os.X_OK):
        return Place(config_file.parent / name, "state is kept beside the configuration")
    return Place(
        None, "state is kept in memory, for no directory can be written: what is not delivered is lost at the end"
    )
