"""What a terminal is shown, and a pipe is not."""

from __future__ import annotations

import io
import re

import pytest

from exporter.terminal import Progress, Screen, aligned, counted

LINES = [("STATE", "NAME"), ("expired", "a"), ("valid", "a long name"), ("expiring", "b")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(stream: io.StringIO, *times: float) -> Progress:
    """One that is made at 0, and told of something at each of these seconds."""
    clock = iter([0.0, *times])
    return Progress(stream, lambda: next(clock))


def test_a_pipe_has_neither_colour_nor_a_width() -> None:
    assert Screen.of(io.StringIO(), {}) == Screen(colour=False, width=None)


@pytest.mark.parametrize(
    ("environment", "colour"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm"}, True),
    ],
)
def test_a_terminal_has_colour_unless_that_is_turned_off(environment: dict[str, str], *, colour: bool) -> None:
    assert Screen.of(Terminal(), environment).colour is colour


def test_columns_are_aligned_and_nothing_trails() -> None:
    assert [*aligned(LINES)] == ["STATE     NAME", "expired   a", "valid     a long name", "expiring  b"]


def test_a_state_that_is_not_fine_is_coloured_and_says_so_in_words_too() -> None:
    coloured = [*aligned(LINES, Screen(colour=True))]
    assert coloured == [
        "STATE     NAME",
        "\033[1;31mexpired\033[0m   a",
        "valid     a long name",
        "\033[33mexpiring\033[0m  b",
    ]
    assert [re.sub(r"\033\[[\d;]*m", "", line) for line in coloured] == [*aligned(LINES)]


@pytest.mark.parametrize(
    ("width", "third"), [(15, "valid     a lo…"), (20, "valid     a long na…"), (21, "valid     a long name")]
)
def test_a_line_is_cut_to_the_width_of_the_terminal(width: int, third: str) -> None:
    assert [*aligned(LINES, Screen(width=width))][2] == third


def test_progress_is_one_line_that_is_gone_in_the_end() -> None:
    stream = Terminal()
    with progress(stream, 0.5, 0.7) as shown:
        shown.tell("1 of 2")
        shown.tell("2 of 2")
    assert stream.getvalue() == "\r\033[K1 of 2\r\033[K2 of 2\r\033[K"


def test_what_is_quickly_done_shows_no_progress() -> None:
    stream = Terminal()
    with progress(stream, 0.1, 0.29) as shown:
        shown.tell("1 of 2")
        shown.tell("2 of 2")
    assert stream.getvalue() == ""


def test_progress_is_shown_ten_times_a_second_at_most() -> None:
    stream = Terminal()
    with progress(stream, 0.3, 0.35, 0.39, 0.41) as shown:
        for number in range(4):
            shown.tell(str(number))
    assert stream.getvalue() == "\r\033[K0\r\033[K3\r\033[K"


def test_a_pipe_sees_no_progress() -> None:
    stream = io.StringIO()
    with progress(stream, 1.0, 2.0) as shown:
        shown.tell("1 of 2")
    assert stream.getvalue() == ""


def test_items_are_counted_as_they_are_taken() -> None:
    told: list[str] = []
    items = counted(range(1000), "reading APIs", told.append)
    assert (next(items), told) == (0, ["reading APIs: 1 of 1,000"])
