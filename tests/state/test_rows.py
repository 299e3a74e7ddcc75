from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from exporter.outbox import Delivery, Outcome
from exporter.state.rows import RowError, delivery_of, delivery_row, record_of, record_row, sealed
from tests.fakes import NOON
from tests.state import record

WRONG_RECORDS: list[dict[str, Any]] = [
    {"event_id": 1},
    {"api_id": 1},
    {"kind": "CertificateLost"},
    {"announced_at": "2026-01-27T12:00:00"},
    {"announced_at": "9999-12-31T23:59:59+00:00"},
    {"announced_at": "yesterday"},
    {"payload": []},
    {"semantic": {"a": None}},
    {"key": ["orders", "upstream", "of 1"]},
    {"key": ["orders", "nobody", "of 1", "CertificateExpired"]},
    {"cooldown": -1},
    {"cooldown": 1e12},
    {"cooldown": float("nan")},
    {"cooldown": "1"},
]
WRONG_DELIVERIES: list[dict[str, Any]] = [
    {"attempts": -1},
    {"attempts": 10**9},
    {"next_at": None},
    {"next_at": "0001-01-01T00:00:00+00:00"},
    {"error": None},
    {"outcome": "lost"},
    {"settled_at": 1},
]


@pytest.mark.parametrize("wrong", WRONG_RECORDS, ids=str)
def test_a_record_with_a_value_out_of_range_is_not_believed_though_its_checksum_is_right(wrong: dict[str, Any]) -> None:
    number, body, _ = record_row(1, record("1"))

    assert record_of(sealed(number, str(body))) == (1, record("1"))
    with pytest.raises(RowError):
        record_of(sealed(number, json.dumps(json.loads(str(body)) | wrong)))


@pytest.mark.parametrize("wrong", WRONG_DELIVERIES, ids=str)
def test_a_delivery_with_a_value_out_of_range_is_not_believed_though_its_checksum_is_right(
    wrong: dict[str, Any],
) -> None:
    *place, body, _ = delivery_row(1, Delivery(record("1"), "a", 1, NOON))

    with pytest.raises(RowError):
        delivery_of(sealed(*place, json.dumps(json.loads(str(body)) | wrong)), record("1"))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "1" * 2_000_000, "null"], ids=range(6))
def test_what_is_no_record_is_not_believed(text: str) -> None:
    with pytest.raises(RowError):
        record_of(sealed(1, text))


@pytest.mark.parametrize("number", [0, -1, 2**63 - 1])
def test_a_number_out_of_range_is_not_believed(number: int) -> None:
    with pytest.raises(RowError):
        record_of(record_row(number, record("1")))


@pytest.mark.parametrize("row", [(1, "{}", 0), (None, None, None), (1, b"{}", 1)])
def test_a_row_with_another_checksum_is_not_believed(row: tuple[Any, ...]) -> None:
    with pytest.raises(RowError):
        record_of(row)


def test_a_row_comes_back_as_it_was() -> None:
    mine = replace(record("1"), api_id=None, key=None, cooldown=timedelta(microseconds=1))
    delivery = Delivery(mine, "/ops", 3, NOON + timedelta(microseconds=1), "503", Outcome.FAILED, NOON)

    assert record_of(record_row(7, mine)) == (7, mine)
    assert delivery_of(delivery_row(7, delivery), mine) == delivery


def test_the_text_of_an_error_is_cut_and_on_one_line() -> None:
    long = replace(Delivery(record("1"), "a", 1, NOON), error="a\n\ud800" + "x" * 1000)

    assert len(delivery_of(delivery_row(1, long), record("1")).error) == 256
    assert "\n" not in delivery_of(delivery_row(1, long), record("1")).error
