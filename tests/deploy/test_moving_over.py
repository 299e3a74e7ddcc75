"""What the page on moving over says of queries can be asked, and asks for metrics that there are."""

from __future__ import annotations

import re
import subprocess
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import yaml

from exporter.certcheck.chain import ChainPosition
from exporter.certcheck.expiry import State
from exporter.certcheck.slot import Role
from exporter.telemetry import names
from exporter.telemetry.names import Instrument, Kind
from tests.prometheus import program

PAGE = (Path(__file__).parents[2] / "docs" / "moving-over.md").read_text("utf-8")
QUERIES = re.findall(r"^```promql\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
THEIRS = re.compile(r"\b(?:x509|probe|ssl|tlscheck)_\w+")
OURS = re.compile(r"\b(?:certificate|http_client)_\w+")
SUFFIXES = {Kind.COUNTER: ("_total",), Kind.HISTOGRAM: ("", "_bucket", "_count", "_sum")}


def families() -> set[str]:
    """Every name under which Prometheus has something of ours."""
    instruments = [each for each in vars(names).values() if isinstance(each, Instrument)]
    return {each.family + suffix for each in instruments for suffix in SUFFIXES.get(each.kind, ("",))}


def test_every_query_can_be_parsed(tmp_path: Path) -> None:
    rules = [{"record": f"q{n}", "expr": query} for n, query in enumerate(QUERIES)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "docs", "rules": rules}]}))
    command = [program("promtool"), "check", "rules", str(tmp_path / "rules.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_each_query_of_theirs_has_one_of_ours_behind_it() -> None:
    assert all(OURS.search(after) for before, after in pairwise(QUERIES) if THEIRS.search(before))
    assert not [query for query in QUERIES if THEIRS.search(query) and OURS.search(query)]


def test_what_is_named_of_ours_is_there() -> None:
    assert set(OURS.findall(PAGE)) <= families()


def test_values_of_labels_are_those_that_there_are() -> None:
    labels: dict[str, type[StrEnum]] = {"state": State, "cert_role": Role, "chain_position": ChainPosition}
    for label, values in labels.items():
        named = set(re.findall(rf'\b{label}="(\w+)"', PAGE))
        assert named
        assert named <= set(values)
