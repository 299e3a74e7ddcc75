"""Pages as a person sees them: in headless Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.foreground import require

_HERE = Path(__file__).parent / "npm" / "page"
_WITHIN_SECONDS = 90


def require_browser() -> str:
    """Where Chromium is; skips the test where it, node, or what drives it is not installed."""
    require("node", "nodejs npm")
    if not (_HERE / "node_modules" / ".installed").exists():
        pytest.skip("tests/npm/page is not installed (scripts/parts does, where npm is)")
    return require("chromium", "chromium")


async def browse(*visits: dict[str, Any]) -> list[dict[str, Any]]:
    """What was seen on each visit; `browse.mjs` says what a visit may have."""
    environment = {**os.environ, "CHROMIUM": shutil.which("chromium") or ""}
    process = await asyncio.create_subprocess_exec(
        "node", "browse.mjs", cwd=_HERE, env=environment, stdin=-1, stdout=-1, stderr=-1
    )
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            seen, errors = await process.communicate(json.dumps(_whole(visits)).encode())
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    found: list[dict[str, Any]] = json.loads(seen)
    return found


def _whole(visits: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**visit, **({"picture": str(visit["picture"])} if "picture" in visit else {})} for visit in visits]
