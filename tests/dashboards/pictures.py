"""Pictures of both boards, to be looked at: `scripts/boards DIRECTORY`.

A real Prometheus scrapes a real certgauge, and what it answers to each query is drawn by Grafana's own components in
headless Chromium: light and dark, with three certificates and with thousands.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.dashboards.world import BOARDS, board, board_world, panels, substitute
from tests.process import COMMAND, environment
from tests.prometheus import Prometheus, prometheus

RENDER = Path(__file__).parent / "render"
APIS, WATCHED = 450, 2200
"""Together with what upstreams present, more than 3,000 certificates."""

STEP = 3
"""Seconds between two points."""

PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title><link rel="stylesheet" href="page.css">
<div id="board"></div><script>window.SHOWN = {shown}</script><script src="page.js"></script>
"""


def main() -> None:
    """Draw everything into a directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seconds", type=int, default=75, help="how long to watch before the pictures are taken")
    parser.add_argument("--only", choices=WORLDS, help="just one of the worlds")
    options = parser.parse_args()
    directory: Path = options.directory
    directory.mkdir(parents=True, exist_ok=True)
    bundle(directory)
    for name in [options.only] if options.only else WORLDS:
        for picture in pictures(name, directory, options.seconds):
            print(picture, flush=True)  # noqa: T201 (it takes minutes)


def pictures(world: str, directory: Path, seconds: int) -> Iterator[Path]:
    """Those of one world, each as soon as it is drawn."""
    with (
        tempfile.TemporaryDirectory(prefix="certgauge-boards-") as made,
        WORLDS[world](Path(made)) as (target, api_id),
        tempfile.TemporaryDirectory(prefix="certgauge-prometheus-") as kept,
        prometheus(Path(kept), target) as server,
    ):
        seen = server.wait("certificate_batchers", series=1, seconds=60)
        time.sleep(max(0, seconds - seen))  # The boards show what happens over time.
        for file in sorted(BOARDS.glob("*.json")):
            shown = _answered(board(file.stem), server, seconds, api_id)
            for mode in ("light", "dark"):
                yield _draw(directory, f"{file.stem}-{world}-{mode}", {**shown, "mode": mode})


@contextmanager
def _few(_directory: Path) -> Iterator[tuple[str, str]]:
    """The demo: three certificates of ours."""
    demo = subprocess.Popen([COMMAND, "demo"], stdout=subprocess.PIPE, env=environment(), text=True)
    try:
        assert demo.stdout is not None
        admin = next(found[1] for line in demo.stdout if (found := re.match(r"admin +http://([^/]+)/", line)))
        yield admin, "billing"
    finally:
        demo.terminate()
        demo.communicate(timeout=20)


@contextmanager
def _wrong(directory: Path) -> Iterator[tuple[str, str]]:
    """Everything wrong at once; the API is one whose calls fail."""
    with board_world(directory) as world:
        yield world.target, "legacy"


@contextmanager
def _many(directory: Path) -> Iterator[tuple[str, str]]:
    """Likewise, with thousands."""
    with board_world(directory, apis=APIS, watched=WATCHED) as world:
        yield world.target, "billing"


WORLDS = {"few": _few, "wrong": _wrong, "many": _many}


def _answered(document: dict[str, Any], server: Prometheus, seconds: int, api_id: str) -> dict[str, Any]:
    """A board with what each of its queries gave."""
    end = int(time.time())
    chosen = {"api_id": api_id, "http_route": f"/{api_id}/"} if document["uid"] == "certgauge-api" else {}
    windows = {"__range": f"{seconds}s", "__interval": f"{STEP}s", "__rate_interval": "10s"}
    answers = {
        panel["id"]: [
            _ask(server, substitute(target["expr"], **chosen, **windows), end, seconds if target["range"] else 0)
            for target in panel["targets"]
        ]
        for panel in panels(document)
    }
    for panel in document["panels"]:
        panel["title"] = substitute(panel["title"], api_id=api_id)
    return {"board": document, "answers": answers, "range": [end - seconds, end]}


def _ask(server: Prometheus, expression: str, end: int, seconds: int) -> list[dict[str, Any]]:
    """Series with `values`, one for an instant."""
    if not seconds:
        asked = urlencode({"query": expression, "time": end})
        answer = server._get(f"/api/v1/query?{asked}")["data"]["result"]
        return [{**each, "values": [each["value"]]} for each in answer]
    asked = urlencode({"query": expression, "start": end - seconds, "end": end, "step": STEP})
    result: list[dict[str, Any]] = server._get(f"/api/v1/query_range?{asked}")["data"]["result"]
    return result


def bundle(directory: Path) -> None:
    """The program of the pages that are drawn; the components themselves come from npm."""
    alias = f"--alias:react-custom-scrollbars-2={RENDER / 'scrollbars.js'}"
    loaders = [alias, "--loader:.svg=dataurl", "--loader:.png=dataurl", "--loader:.ttf=empty"]
    more = ['--define:process.env.NODE_ENV="production"', "--format=iife", "--log-level=warning"]
    command = [
        str(RENDER / "node_modules/.bin/esbuild"),
        str(RENDER / "page.jsx"),
        "--bundle",
        f"--outfile={directory / 'page.js'}",
    ]
    subprocess.run([*command, *loaders, *more], check=True)


def _draw(directory: Path, name: str, shown: dict[str, Any]) -> Path:
    page, picture = directory / f"{name}.html", directory / f"{name}.png"
    text = json.dumps(shown).replace("</", "<\\/")
    page.write_text(PAGE.format(title=name, shown=text), "utf-8")
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in shown["board"]["panels"]) * 38 + 16
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
    options = ["--headless=new", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=10000", "--disable-gpu"]
    command = [chromium, *options, f"--window-size=1552,{height}", f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return picture


if __name__ == "__main__":
    main()
