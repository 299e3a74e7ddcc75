"""The page: three real APIs among some that are made up, on a day that does not change."""

from __future__ import annotations

from pathlib import Path

from tests.admin.page.worlds import few, many
from tests.browser import browse
from tests.fakes import NOON, FakeClock

_MADE_UP = 6


async def take(directory: Path, into: Path) -> list[Path]:
    """Light and dark."""
    pictures = {scheme: into / f"page-{scheme}.png" for scheme in ("light", "dark")}
    async with few(directory, FakeClock(NOON), all_hear=True) as world:
        world.inventory.put(many(_MADE_UP, NOON))
        url = f"{world.running.admin_url}/"
        await browse(
            *(
                {"url": url, "scheme": scheme, "picture": file, "width": 1280, "whole": True}
                for scheme, file in pictures.items()
            )
        )
    return [*pictures.values()]
