"""A name in its parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.certcheck.distinguished_name import first_values


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("CN=orders,O=Example,C=DE", {"CN": "orders", "O": "Example", "C": "DE"}),
        # RFC 4514 has the last of a name first; what is first in the certificate counts.
        ("OU=second,OU=first", {"OU": "first"}),
        (r"CN=a\,b", {"CN": "a,b"}),
        (r"CN=a\0Ab", {"CN": "a\N{REPLACEMENT CHARACTER}b"}),
        ("emailAddress=ops@example.com,CN=a", {}),
        ("1.2.840.113549.1.9.1=ops@example.com,CN=a", {"CN": "a"}),
        ("CN=cut of…,O", {}),
        ("", {}),
        (None, {}),
    ],
)
def test_the_first_value_of_each_attribute(name: str | None, values: dict[str, str]) -> None:
    assert first_values(name) == values


@given(st.text())
def test_no_text_is_too_strange(name: str) -> None:
    assert all(value.isprintable() for value in first_values(name).values())
