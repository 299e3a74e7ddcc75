"""What files look like, and when that can be relied on."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from exporter.plan import ApiPlan
from exporter.planning import Planner
from exporter.settings import Settings, read_settings
from exporter.sight import Watched, settled_look
from tests.authority import Authority
from tests.served import WITH_CERTIFICATE, configuration, definition, write


def test_many_files_are_looked_at_in_parts(tmp_path: Path) -> None:
    files = {str(tmp_path / str(number)) for number in range(1000)}
    (tmp_path / "x").write_bytes(b"")
    parts = [*Watched(frozenset(files), frozenset({f"{tmp_path}/*"})).parts()]
    assert max(len(part) for part in parts) <= 300
    assert {path for part in parts for path in part} == files | {str(tmp_path / "x")}


@pytest.mark.parametrize(("seconds", "looks"), [(0, 0), (1.5, 0), (3, 1), (-1.5, 0), (-3600, 1)])
def test_a_look_is_relied_on_once_the_file_is_older_than_a_clock_may_be_coarse(
    tmp_path: Path, seconds: float, looks: int
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"")
    at = time.time_ns() - int(seconds * 1e9)
    os.utime(file, ns=(at, at))
    assert len(settled_look([str(file)]) or {}) == looks


def test_what_is_not_there_is_not_relied_on(tmp_path: Path) -> None:
    assert settled_look([str(tmp_path / "none")]) is None


def age(*files: Path) -> None:
    for file in files:
        at = file.stat().st_mtime_ns - 60 * 10**9
        os.utime(file, ns=(at, at))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    Authority().issue("orders").write(tmp_path, "orders")
    write(tmp_path, "certgauge.yaml", configuration(apis=[definition("orders", **WITH_CERTIFICATE)]))
    age(tmp_path / "orders.pem", tmp_path / "orders.key")
    return read_settings(tmp_path / "certgauge.yaml", {}, ["httptools"])


def plan(planner: Planner, settings: Settings) -> ApiPlan:
    planner.listeners(settings)
    [made] = planner.apis(settings, [each.api for each in settings.apis])
    return made


def chain(made: ApiPlan) -> object:
    assert made.monitor is not None
    return made.monitor.observations[0].chain


def test_what_looks_as_before_is_not_read_again(settings: Settings) -> None:
    planner = Planner()
    first, second = (plan(planner, settings) for _ in range(2))
    assert chain(first) is chain(second)
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("name", ["orders.pem", "orders.key"])
def test_what_has_changed_is_read_again(tmp_path: Path, settings: Settings, name: str) -> None:
    planner = Planner()
    first = plan(planner, settings)
    Authority().issue("orders").write(tmp_path, "new")
    (tmp_path / name).write_bytes((tmp_path / f"new{Path(name).suffix}").read_bytes())
    age(tmp_path / name)
    second = plan(planner, settings)
    assert first.fingerprint != second.fingerprint
    assert second.unusable is not None
    assert "is not the key of" in second.unusable


def test_what_was_changed_just_now_is_read_again_for_it_may_change_with_nothing_to_see(
    tmp_path: Path, settings: Settings
) -> None:
    planner = Planner()
    os.utime(tmp_path / "orders.pem")
    first, second = (plan(planner, settings) for _ in range(2))
    assert chain(first) is not chain(second)


def test_what_is_configured_no_more_is_forgotten(tmp_path: Path, settings: Settings) -> None:
    planner = Planner()
    first = plan(planner, settings)
    write(tmp_path, "certgauge.yaml", configuration(certificates={}, apis=[]))
    planner.listeners(read_settings(tmp_path / "certgauge.yaml", {}, ["httptools"]))
    assert chain(plan(planner, settings)) is not chain(first)
