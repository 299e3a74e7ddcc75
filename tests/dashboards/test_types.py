"""The boards, held against Grafana's own types: of the oldest and of the newest version that they are for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.world import board, panels
from tests.foreground import require

PACKAGES = Path(__file__).parents[1] / "npm/dashboards/node_modules"
BOARDS = ("certgauge-overview", "certgauge-api")
VERSIONS = {"grafana-schema-oldest": "dist/index.d.ts", "grafana-schema-newest": "dist/types/index.d.ts"}
"""Where the types of `@grafana/schema` begin: in 11.0, and in 13."""

KINDS = {
    "stat": "Stat",
    "table": "Table",
    "timeseries": "TimeSeries",
    "state-timeline": "StateTimeline",
}
PLAIN = ("stat",)
"""The kinds that add nothing to a field."""

LATER = {"stat": ["percentChangeColorMode"]}
"""Options that 11.0 does not know, nor minds, and that later versions ask for."""

PRELUDE = """
import type { Dashboard } from "@grafana/schema";
// JSON has the value of an enum where TypeScript wants its name.
type Plain<T> = T extends string ? `${T}` : T extends boolean | null | undefined | number ? T
  : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""


def compiled(document: dict[str, Any], directory: Path, package: str) -> str:
    """What the compiler has against a board; nothing if it is right."""
    node = require("node", "nodejs")
    if not (PACKAGES / "typescript").is_dir():
        pytest.skip("tests/npm/dashboards is not installed (npm ci --ignore-scripts)")
    (directory / "board.ts").write_text(program(document), "utf-8")
    root = PACKAGES / package
    paths = {"@grafana/schema": [str(root / VERSIONS[package])], "@grafana/schema/*": [str(root / "*")]}
    options = {
        "strict": True,
        "noEmit": True,
        "skipLibCheck": True,
        "moduleResolution": "node10",
        "paths": paths,
        "types": [],
    }
    (directory / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["board.ts"]}))
    command = [node, str(PACKAGES / "typescript/bin/tsc"), "-p", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False).stdout


def program(document: dict[str, Any]) -> str:
    """TypeScript that compiles if a board has the right types, and so has what each panel is made of."""
    constants = [("Dashboard", document), *(part for panel in panels(document) for part in parts(panel))]
    lines = (
        f"export const part{number}: Plain<{kind}> = {json.dumps(value, ensure_ascii=False)};"
        for number, (kind, value) in enumerate(constants)
    )
    return "\n".join([PRELUDE, *imports(), *lines])


def imports() -> Iterator[str]:
    for kind, module in KINDS.items():
        fields = "" if kind in PLAIN else f", FieldConfig as {module}Fields"
        path = f"@grafana/schema/dist/esm/raw/composable/{module.lower()}/panelcfg/x/{module}PanelCfg_types.gen"
        yield f'import type {{ Options as {module}Options{fields} }} from "{path}";'


def parts(panel: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The options of a panel, and what its kind adds to a field: by default, and where that is overridden."""
    module = KINDS[panel["type"]]
    yield f"{module}Options", panel["options"]
    if panel["type"] in PLAIN:
        return
    default = panel["fieldConfig"]["defaults"]["custom"]
    yield f"{module}Fields", default
    for override in panel["fieldConfig"]["overrides"]:
        named = {each["id"]: each["value"] for each in override["properties"]}
        own = {name.removeprefix("custom."): value for name, value in named.items() if name.startswith("custom.")}
        yield f"{module}Fields", default | own


@pytest.mark.parametrize("package", VERSIONS)
@pytest.mark.parametrize("name", BOARDS)
def test_a_board_has_the_types_of_grafana(name: str, package: str, tmp_path: Path) -> None:
    document = board(name)
    if package == "grafana-schema-oldest":
        for panel in panels(document):
            for option in LATER.get(panel["type"], ()):
                del panel["options"][option]
    assert compiled(document, tmp_path, package) == ""


def test_a_mistake_is_found_in_the_board_and_in_what_a_panel_is_made_of(tmp_path: Path) -> None:
    document = board("certgauge-api")
    document["graphTooltip"] = 7
    first = {panel["type"]: panel for panel in reversed(panels(document))}
    first["stat"]["options"]["colorMode"] = "rainbow"
    first["table"]["fieldConfig"]["overrides"][0]["properties"].append({"id": "custom.align", "value": "askew"})
    first["state-timeline"]["options"]["rowHight"] = 1
    found = compiled(document, tmp_path, "grafana-schema-newest")
    assert found.count("error TS") == 4
    assert all(mistake in found for mistake in ("'7'", "rainbow", "askew", "rowHight"))
