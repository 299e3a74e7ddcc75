"""Histograms of durations."""

from __future__ import annotations

import pytest

from exporter.durations import BOUNDARIES, ClientKey, Durations, Histogram, ServerKey, known_method


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.005, 0), (0.0050001, 1), (0.01, 1), (10.0, 13), (10.1, 14), (1e9, 14)],
)
def test_a_bucket_includes_its_upper_boundary(seconds: float, bucket: int) -> None:
    histogram = Histogram()
    histogram.record(seconds)
    assert histogram.counts == [int(index == bucket) for index in range(len(BOUNDARIES) + 1)]
    assert histogram.total == seconds


@pytest.mark.parametrize(
    ("method", "known"), [("GET", "GET"), ("PATCH", "PATCH"), ("get", "_OTHER"), ("PROPFIND", "_OTHER"), ("", "_OTHER")]
)
def test_an_unknown_method_makes_no_series_of_its_own(method: str, known: str) -> None:
    assert known_method(method) == known


def test_the_series_of_an_api_that_is_gone_are_dropped_and_no_others() -> None:
    durations = Durations()
    for api_id in ("a", "b", None):
        durations.server[ServerKey(api_id, "/", "GET", "http", 200, None)] = Histogram()
    for api_id in ("a", "b"):
        durations.client[ClientKey(api_id, "GET", "localhost", 1, 200, None)] = Histogram()
    durations.forget({"a"})
    assert [key.api_id for key in durations.server] == ["b", None]
    assert [key.api_id for key in durations.client] == ["b"]
