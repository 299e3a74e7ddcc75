from __future__ import annotations

from pathlib import Path

import pytest

from exporter.state.place import state_of

HERE = Path("/etc/certgauge/certgauge.yaml")


@pytest.mark.parametrize(
    ("configured", "file"),
    [
        ("memory", None),
        ("sqlite:state/events.db", "/etc/certgauge/state/events.db"),
        ("sqlite:/var/lib/events.db", "/var/lib/events.db"),
        ("sqlite:a b:c", "/etc/certgauge/a b:c"),
    ],
)
def test_what_is_configured_is_used_wherever_it_runs(configured: str, file: str | None) -> None:
    place = state_of(configured, {"STATE_DIRECTORY": "/var/lib/certgauge"}, HERE)

    assert place.file == (Path(file) if file else None)
    assert place.sentence.endswith("as configured") or file is None


@pytest.mark.parametrize("configured", [None, "redis://store/", "rediss://store:6380/1"])
@pytest.mark.parametrize("directories", ["/var/lib/certgauge", "/var/lib/certgauge:/var/lib/other"])
def test_without_a_file_it_is_the_first_of_systemds_state_directories(configured: str | None, directories: str) -> None:
    place = state_of(configured, {"STATE_DIRECTORY": directories}, HERE)

    assert place.file == Path("/var/lib/certgauge/certgauge.state.sqlite3")
    assert place.sentence == "state is kept in $STATE_DIRECTORY"


def test_else_it_is_beside_the_configuration_and_named_after_it(tmp_path: Path) -> None:
    place = state_of(None, {"STATE_DIRECTORY": ""}, tmp_path / "orders.yaml")

    assert place.file == tmp_path / "orders.state.sqlite3"
    assert str(place) == f"sqlite:{tmp_path}/orders.state.sqlite3"
    assert place.sentence == "state is kept beside the configuration"


def test_else_it_is_in_memory() -> None:
    place = state_of(None, {}, Path("/nowhere/certgauge.yaml"))

    assert (place.file, str(place)) == (None, "memory")
    assert place.sentence == (
        "state is kept in memory, for no directory can be written: what is not delivered is lost at the end"
    )
