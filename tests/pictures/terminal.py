"""The terminal: what `certgauge certs` prints of a real gateway, as a terminal shows it, light and dark."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path

from exporter.check import SERVED, table
from exporter.remote import Remote
from exporter.terminal import Screen
from tests.admin.page.worlds import few, many
from tests.browser import browse
from tests.fakes import NOON, FakeClock

_MADE_UP = 6
_WIDTH = 132
# Terminals have palettes of their own; this is xterm's, with what is dim and yellow made readable on white.
_COLOURS = {
    "light": {"page": "#ffffff", "text": "#1b1f24", "31": "#c00000", "33": "#8a6000", "35": "#8b008b", "36": "#006f7f"},
    "dark": {"page": "#101418", "text": "#dfe5ea", "31": "#ff6b6b", "33": "#e5c07b", "35": "#d38bf0", "36": "#56c8d8"},
}


async def take(directory: Path, into: Path) -> list[Path]:
    """Light and dark."""
    async with few(directory, FakeClock(NOON), all_hear=True) as world:
        world.inventory.put(many(_MADE_UP, NOON))
        rows = await asyncio.to_thread(Remote(world.running.admin_url).certificates, {}, lambda _: None)
    lines = [*table(rows, SERVED, Screen(colour=True, width=_WIDTH))]
    pictures = {scheme: into / f"terminal-{scheme}.png" for scheme in _COLOURS}
    for scheme, file in pictures.items():
        page = directory / f"{scheme}.html"
        page.write_text(_page(["$ certgauge certs", *lines], _COLOURS[scheme]), "utf-8")
        await browse({"url": page.as_uri(), "scheme": scheme, "picture": file, "width": 1180, "height": 330})
    return [*pictures.values()]


def _page(lines: list[str], colours: dict[str, str]) -> str:
    text = re.sub(
        r"\033\[(?:1;)?(\d+)m(.*?)\033\[0m",
        lambda found: f'<b style="color:{colours.get(found[1], colours["text"])}">{found[2]}</b>',
        html.escape("\n".join(lines), quote=False),
    )
    style = f"margin:0;padding:16px;background:{colours['page']};color:{colours['text']};font:14px/1.4 monospace"
    style += ";min-height:100vh;box-sizing:border-box"
    return f'<!doctype html><meta charset="utf-8"><body style="margin:0"><pre style="{style}">{text}</pre>'
