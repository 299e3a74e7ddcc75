"""The process log's lines."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import pytest

from exporter.logs import LogfmtFormatter


def line(message: str = "API loaded", **extra: Any) -> str:
    record = logging.makeLogRecord({"name": "exporter.gateway", "levelname": "INFO", "msg": message, **extra})
    return LogfmtFormatter().format(record)


def test_a_line_has_its_time_level_logger_and_message_first() -> None:
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf'time={time} level=INFO logger=exporter\.gateway message="API loaded"', line())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("orders", "orders"),
        (8443, "8443"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        ("a\nlevel=ERROR forged", r'"a\nlevel=ERROR forged"'),
        (("a", "b"), "a,b"),
        ((), '""'),
        ("über", "über"),
    ],
)
def test_a_fact_is_one_field_whatever_it_holds(value: object, shown: str) -> None:
    assert line(fact=value).endswith(f" fact={shown}")


def test_what_is_unknown_is_left_out() -> None:
    assert "api_id" not in line(api_id=None)


def test_a_traceback_stays_on_its_line() -> None:
    try:
        int("broken")
    except ValueError:
        text = line(exc_info=sys.exc_info())
    assert "\n" not in text
    assert "ValueError: invalid literal" in text
