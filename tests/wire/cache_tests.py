"""The npm package `http-cache-tests`: its origin server, and its client, which sees what a cache in between does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.process import wait_until

_HERE = Path(__file__).with_name("http-cache-tests")
_MODULES = _HERE / "node_modules"
_PACKAGE = _MODULES / "http-cache-tests"

Results: TypeAlias = dict[str, Any]
"""By the test's name: true, or in what it failed, and why."""


def require_cache_tests() -> None:
    """Skips the test where node is not there, or the package has not been installed."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed (Debian: apt-get install nodejs npm)")
    if not (_MODULES / ".installed").exists():
        pytest.skip("http-cache-tests is not installed (scripts/parts does, where npm is)")


@contextmanager
def origin(directory: Path) -> Iterator[str]:
    """The package's origin server on loopback; its URL."""
    log = directory / "origin.log"
    command = ["node", "--require", str(_HERE / "loopback.cjs"), "server/server.mjs"]
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=_PACKAGE, env=_environment(), stdout=output, stderr=output) as process,
    ):
        try:
            wait_until(lambda: "Listening on" in log.read_text() or process.poll() is not None)
            listening = re.search(r"Listening on (http://127\.0\.0\.1:\d+)/", log.read_text())
            assert listening is not None, log.read_text()
            yield listening[1]
        finally:
            process.terminate()


@contextmanager
def client(directory: Path, name: str, url: str) -> Iterator[Path]:
    """The package's client, at work on this URL; where its results are when left, which is when it has done."""
    output = directory / f"{name}.json"
    command = ["node", "--no-warnings", "cli.mjs"]
    with (
        output.open("w") as results,
        subprocess.Popen(command, cwd=_PACKAGE, env=_environment(base=url), stdout=results) as process,
    ):
        try:
            yield output
            assert process.wait(90) == 0
        finally:
            process.kill()


def read(output: Path) -> Results:
    """The results, without what is new in every run: addresses, and the names of resources."""
    results: Results = json.loads(re.sub(r"http://[\d.:]+/test/[0-9a-f-]+", "URL", output.read_text()))
    return results


def _environment(**more: str) -> dict[str, str]:
    # As `npm run` hands its settings to the package's scripts.
    settings = {"protocol": "http", "port": "0", "pidfile": os.devnull, **more}
    return {**os.environ, "npm_package_config_id": "", **{f"npm_config_{name}": it for name, it in settings.items()}}
