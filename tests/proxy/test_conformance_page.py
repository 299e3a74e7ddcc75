"""The page on other proxies' suites names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs" / "conformance.md").read_text("utf-8")
CITED = [
    (file, name)
    for cell in re.findall(r"\| ([^|\n]*`[^|\n]*) \|\n", PAGE)
    for file, names in re.findall(r"`(\w+)` ((?:\w+_\w+(?:, )?)+)", cell)
    for name in names.split(", ")
    if name
]


@pytest.mark.parametrize(("file", "name"), CITED)
def test_what_the_page_cites_is_a_test(file: str, name: str) -> None:
    assert f"def test_{name}(" in (TESTS / f"test_{file}.py").read_text("utf-8")


def test_the_page_cites_tests() -> None:
    assert len(CITED) > 50
