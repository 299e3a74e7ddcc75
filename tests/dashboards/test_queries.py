"""Every query of every panel, put to a real Prometheus that scrapes a real certgauge in which everything is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.dashboards.world import World, board, board_world, queries, substitute
from tests.prometheus import Prometheus, prometheus

BOARDS = ("certgauge-overview", "certgauge-api")
ALL = [(name, title, expression) for name in BOARDS for title, expression in queries(board(name))]


COMING = {"certificate_event_deliveries_pending"}
"""What certgauge has not yet; the boards do without."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with board_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def asked(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has scraped three times, so that there are rates."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), world.target) as server:
        server.wait("count_over_time(certificate_batchers[1m]) >= 3", series=1, seconds=20)
        yield server


@pytest.mark.parametrize(("name", "title", "expression"), ALL)
def test_a_query_returns_something(name: str, title: str, expression: str, asked: Prometheus) -> None:
    assert asked.query(substitute(expression)), (name, title)


@pytest.mark.parametrize("title", dict.fromkeys(title for name, title, _ in ALL if name == "certgauge-api"))
def test_a_panel_has_something_for_an_api_that_was_picked(title: str, asked: Prometheus) -> None:
    # Not each query: an API may be without clients.
    picked = {"api_id": "billing", "http_route": "/billing/"}
    own = [each for name, panel, each in ALL if (name, panel) == ("certgauge-api", title)]
    assert any(asked.query(substitute(each, **picked)) for each in own)


def test_every_metric_that_is_asked_for_is_there(asked: Prometheus) -> None:
    # A query that falls back to 0 returns something also without its metric.
    named = {metric for _, _, expression in ALL for metric in re.findall(r"\b([a-z_]+)\{", expression)}
    absent = {metric for metric in named if not asked.query(f"{metric}")}
    assert len(named) > 15
    assert absent <= COMING
