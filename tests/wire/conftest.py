"""Fixtures of the tests on the wire."""

from __future__ import annotations

import pytest

from tests.authority import Authority


@pytest.fixture(scope="package")
def authority() -> Authority:
    return Authority()
