"""The boards as documents: made by the builder, and to the house rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from math import dist
from typing import Any

import pytest

from dashboards.builder.__main__ import files
from dashboards.builder.words import BLUE, EVENTS, FILLS, GREY, ORANGE, PURPLE, ROLES, SKY, STATES, VERMILLION, fill
from exporter.certcheck.events import EventKind
from exporter.certcheck.expiry import State
from exporter.certcheck.slot import Role
from tests.dashboards.world import board, panels

BOARDS = ("certgauge-overview", "certgauge-api")
each_board = pytest.mark.parametrize("name", BOARDS)
each_panel = pytest.mark.parametrize(
    "panel", [pytest.param(panel, id=f"{name}: {panel['title']}") for name in BOARDS for panel in panels(board(name))]
)

BUILT_IN = {"__range", "__interval", "__rate_interval", "__url_time_range", "__all", "__value.raw"}
ALERTS = {
    "cardinality-overflow",
    "certificate-expired",
    "certificate-expiring",
    "certificate-expiring-critical",
    "certificate-file-not-in-use",
    "certificate-invalid",
    "certificate-not-yet-valid",
    "deliveries-failing",
    "exporter-failing",
    "monitor-silent",
    "reload-failed",
}


def test_the_files_are_what_the_builder_makes() -> None:
    made = files()  # Where they differ: scripts/dashboards.
    assert {path.name: path.read_text("utf-8") for path in made} == {path.name: text for path, text in made.items()}


def test_the_words_are_complete() -> None:
    assert {*STATES, "superseded"} == set(State)
    assert set(ROLES) == set(Role)
    assert set(EVENTS) == set(EventKind)


@each_panel
def test_a_panel_says_what_it_shows_and_what_to_do(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert re.search(r"\. To do: .+\.$", panel["description"])


@each_panel
def test_a_panel_has_a_unit(panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]
    for override in panel["fieldConfig"]["overrides"]:
        assert panel["type"] != "table" or "unit" in {each["id"] for each in override["properties"]}


@each_panel
def test_a_panel_asks_the_source_that_was_picked(panel: dict[str, Any]) -> None:
    picked = {"type": "prometheus", "uid": "${datasource}"}
    assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [
        picked,
        *(picked for _ in panel["targets"]),
    ]


@each_panel
def test_a_state_is_told_in_words(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        if re.search(r"max by \([\w,]+\) \(1 \* certificate_state", target["expr"]):
            words = [text for _, text, _ in results(mappings(panel, target["refId"]))]
            assert [words_ for _, words_, _ in STATES.values()] == words[1:]


@each_panel
def test_a_colour_has_a_symbol_and_a_word_or_a_number_beside_it(panel: dict[str, Any]) -> None:
    for kind, text, colour in results(panel):
        assert not colour or text == "no certificate" or (kind == "range" and not text) or re.match(r"[✓✗▲◷!] \w", text)


@each_panel
def test_no_threshold_is_a_constant(panel: dict[str, Any]) -> None:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps == [{"color": GREY, "value": None}]


@each_board
def test_the_colours_are_those_that_everybody_tells_apart(name: str) -> None:
    colours = re.findall(r'(?:"color"|"fixedColor"): "(.+?)"', json.dumps(board(name)))
    assert set(colours) <= {BLUE, SKY, ORANGE, VERMILLION, PURPLE, GREY, *FILLS.values()}


DEFICIENCIES = {
    # Machado, Oliveira, Fernandes (2009), severity 1: what of red, green and blue is seen as each of the three.
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_no_two_states_look_alike_to_a_colour_blind_person(deficiency: str) -> None:
    seen = {state: _seen(fill(colour), DEFICIENCIES[deficiency]) for state, (_, _, colour) in STATES.items()}
    for one, other in combinations(seen, 2):
        assert dist(seen[one], seen[other]) > 0.15, (one, other)


def _seen(colour: str, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, ...]:
    """Red, green and blue as they are seen: 0 to 1, each step as large to the eye."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    light = [part**2.2 for part in parts]
    mixed = (sum(share * part for share, part in zip(row, light, strict=True)) for row in matrix)
    return tuple(min(max(part, 0), 1) ** (1 / 2.2) for part in mixed)


@each_board
def test_panels_have_numbers_of_their_own_and_do_not_overlap(name: str) -> None:
    document = board(name)
    everything = document["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    for one, other in combinations([panel["gridPos"] for panel in everything], 2):
        assert one["x"] + one["w"] <= 24
        assert not (_overlap(one, other, "x", "w") and _overlap(one, other, "y", "h"))


def _overlap(one: dict[str, int], other: dict[str, int], begin: str, length: str) -> bool:
    return one[begin] < other[begin] + other[length] and other[begin] < one[begin] + one[length]


@each_board
def test_the_variables_that_are_used_are_those_that_are_there(name: str) -> None:
    document = board(name)
    declared = {variable["name"] for variable in document["templating"]["list"]}
    used = {first or second for first, second in re.findall(r"\$(?:(\w+)|\{([\w.]+)(?::\w+)?\})", json.dumps(document))}
    assert used - BUILT_IN == declared


@each_board
def test_a_board_can_be_imported_and_provisioned(name: str) -> None:
    document = board(name)
    assert document["uid"] == name
    assert document["schemaVersion"] == 39
    # What only an export for others has, and provisioning cannot fill in; and what the server gives.
    assert not {"__inputs", "__requires", "id"} & set(document)


@each_board
def test_links_lead_to_the_other_board_and_to_the_runbooks(name: str) -> None:
    text = json.dumps(board(name))
    assert set(re.findall(r"/d/([\w-]+)", text)) == set(BOARDS) - {name}
    linked = set(re.findall(r"\$\{runbooks:raw\}/([\w-]+)\.md", text))
    assert linked <= ALERTS
    assert name == "certgauge-api" or linked == ALERTS


def mappings(panel: dict[str, Any], reference: str) -> list[dict[str, Any]]:
    """Those of the field that a query makes."""
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] in {f"Value #{reference}", "Value"}:
            found = {each["id"]: each["value"] for each in override["properties"]}
            return list(found.get("mappings", []))
    return list(panel["fieldConfig"]["defaults"]["mappings"])


def results(part: Any) -> Iterator[tuple[str, str, str]]:
    """Of every mapping in there: its type, and of each case the text and the colour."""
    if isinstance(part, list):
        for each in part:
            yield from results(each)
    elif isinstance(part, dict):
        if part.get("type") in {"value", "range", "special"} and "options" in part:
            cases = part["options"].values() if part["type"] == "value" else [part["options"]["result"]]
            yield from ((part["type"], case.get("text", ""), case.get("color", "")) for case in cases)
        else:
            yield from results(list(part.values()))
