from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.certcheck.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("backend.example.com", "backend.example.com"),
        ("Zoë, Łódź 東京", "Zoë, Łódź 東京"),
        ("", ""),
        ("a\nb", "a�b"),
        ("a\r\n\x1b[31mb\0", "a���[31mb�"),
        ("a\x7fb\x85c", "a�b�c"),
        ("right-to-left \u202e override", "right-to-left � override"),
        ("line \u2028 separator", "line � separator"),
        ("lone \udc80 surrogate", "lone � surrogate"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "x" * 255 + "…"),
    ],
)
def test_what_cannot_be_shown_is_replaced_and_what_is_long_is_cut(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=400))
def test_any_text_becomes_one_short_line_that_every_format_can_carry(text: str) -> None:
    shown = printable(text)

    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert len(shown) <= 256
    assert printable(shown) == shown
