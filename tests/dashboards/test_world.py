"""The world that the boards are tried in."""

from __future__ import annotations

import pytest

from tests.dashboards.world import queries, substitute

BOARD = {
    "panels": [
        {"type": "row", "title": "a row", "panels": [{"type": "stat", "title": "inner", "targets": [{"expr": "up"}]}]},
        {"type": "text", "title": "words"},
        {"type": "table", "title": "two", "targets": [{"expr": "a"}, {"expr": "b"}]},
    ]
}


def test_queries_are_those_of_every_panel_also_in_a_collapsed_row() -> None:
    assert queries(BOARD) == [("inner", "up"), ("two", "a"), ("two", "b")]


def test_variables_are_put_in_as_grafana_does() -> None:
    assert substitute('a{job=~"$job"}[$__range] + ${api_id:regex}') == 'a{job=~".*"}[3600s] + .*'
    assert substitute('a{api_id=~"$api_id"}', api_id="orders|billing") == 'a{api_id=~"orders|billing"}'


def test_a_variable_that_no_board_has_is_an_error() -> None:
    with pytest.raises(KeyError):
        substitute("$apiid")
