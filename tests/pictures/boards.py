"""The boards, drawn by Grafana's own components: `scripts/boards` installs those."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from tests.dashboards import pictures

_SECONDS = 75


async def take(directory: Path, into: Path) -> list[Path]:
    """Both, in a world in which everything is wrong; the overview dark as well. None where they cannot be drawn."""
    if not (pictures.RENDER / "node_modules").is_dir():
        return []
    return await asyncio.to_thread(_take, directory, into)


def _take(directory: Path, into: Path) -> list[Path]:
    pictures.bundle(directory)
    wanted = {
        "certgauge-overview-wrong-light": "board-overview-light",
        "certgauge-overview-wrong-dark": "board-overview-dark",
        "certgauge-api-wrong-light": "board-api-light",
    }
    made = {file.stem: file for file in pictures.pictures("wrong", directory, _SECONDS)}
    return [Path(shutil.copy(made[name], into / f"{file}.png")) for name, file in wanted.items()]
