"""Documents: what is read as what, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.documents import places_of, read_json, read_yaml, value_at
from exporter.problems import ConfigError

ENVIRONMENT = {"HOST": "orders.internal", "DAYS": "14", "ON": "true", "EMPTY": "", "TILDE": "~", "HOSTILE": "a: [b"}


def read(text: str | bytes) -> Any:
    document = read_yaml(text.encode() if isinstance(text, str) else text, "f", ENVIRONMENT)
    assert document.problems == ()
    return document.value


def problems(text: str) -> list[str]:
    return [str(each) for each in read_yaml(text.encode(), "f", ENVIRONMENT).problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: 1.5", {"a": 1.5}),
        ("a: 'x'", {"a": "x"}),
        ("a: null", {"a": None}),
        ("a: true", {"a": True}),
        ("a: [1, {b: 2}]", {"a": [1, {"b": 2}]}),
        ('{"a": [1, "x", null, true]}', {"a": [1, "x", None, True]}),
        ("\ufeffa: 1", {"a": 1}),
        ("{}", {}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        # A key is the text that was written: these would be booleans, numbers and nothing to YAML.
        ("on: 1", {"on": 1}),
        ("1: 1", {"1": 1}),
        ("~: 1", {"~": 1}),
    ],
)
def test_yaml_is_read(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${HOST}", "orders.internal"),
        ("https://${HOST}:8443/${DAYS}", "https://orders.internal:8443/14"),
        # On its own and unquoted it is what it would be had it been written there.
        ("${DAYS}", 14),
        ("${ON}", True),
        ("${EMPTY}", None),
        ("${TILDE}", None),
        ("'${DAYS}'", "14"),
        ('"${ON}"', "true"),
        ("'${EMPTY}'", ""),
        ("x${DAYS}", "x14"),
        # What a variable holds is a value, never more of the document, nor filled in again.
        ("${HOSTILE}", "a: [b"),
        ("$${HOST}", "${HOST}"),
        ("'$${HOST} ${HOST}'", "${HOST} orders.internal"),
        ("$HOST", "$HOST"),
        ("'{HOST}'", "{HOST}"),
    ],
)
def test_variables_are_filled_in(text: str, value: object) -> None:
    assert read(f"a: {text}") == {"a": value}


def test_keys_are_never_filled_in() -> None:
    assert read("${HOST}: 1") == {"${HOST}": 1}


def test_every_problem_is_found_and_the_rest_is_read_all_the_same() -> None:
    document = read_yaml(b"a: ${NONE}\nb: {c: 1, c: 2}\nd: ['${}', '${x']\ne: 5", "f", ENVIRONMENT)
    assert [each.path for each in document.problems] == ["a", "b.c", "d[0]", "d[1]"]
    assert value_at(document.value, "e") == 5


@pytest.mark.parametrize("depth", [1, 40])
def test_nesting_has_room(depth: int) -> None:
    assert read("[" * depth + "]" * depth) is not None


@pytest.mark.parametrize("depth", [41, 1000, 100_000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ("{a: ", "}"), ("[", "")])
def test_nesting_has_an_end(depth: int, start: str, end: str) -> None:
    with pytest.raises(ConfigError, match=r"^f: is nested too deeply$"):
        read(start * depth + end * depth)


def test_a_complaint_of_the_parser_quotes_nothing_of_the_file() -> None:
    with pytest.raises(ConfigError) as refused:
        read('a: "canary\\q"')
    assert str(refused.value) == "f: is not YAML: line 1: found unknown escape character"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for reader in (lambda: read_yaml(data, "f", ENVIRONMENT), lambda: read_json(data, "f")):
        with suppress(ConfigError):
            reader()


@given(st.text(st.sampled_from("a:-[]{},\n \"'&*!|>#%@${}~1.e+_<\\"), max_size=40))
def test_any_text_of_yamls_own_characters_is_read_or_refused(text: str) -> None:
    with suppress(ConfigError):
        read_yaml(text.encode(), "f", ENVIRONMENT)


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"{", ["r: is not JSON"]),
        (b"\xff", ["r: is not JSON"]),
        (b'{"a": NaN}', ["r: is not JSON"]),
        (b'{"a": Infinity}', ["r: is not JSON"]),
        (b"[" * 100_000, ["r: is not JSON"]),
        (b'{"a": 1, "a": 2}', ["r: a: is given twice"]),
        (b'{"a": {"b": 1, "b": 2}}', ["r: b: is given twice"]),
        (b'{"a": "${HOST}"}', ["r: a: has ${…}, which is filled in only in files"]),
        (b'{"a": ["\\ud800"]}', ["r: a[0]: has a character that is not text"]),
        (b'{"\\ud800": 1}', ["r: has a key with a character that is not text"]),
        (b'{"a": "\\u0000"}', ["r: a: has a character that is not text"]),
        (b"[" * 50 + b"]" * 50, ["r: [0][0][0]: is nested too deeply"]),
    ],
)
def test_json_is_refused(body: bytes, lines: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        read_json(body, "r")
    assert str(refused.value).splitlines() == lines


def test_json_is_read() -> None:
    assert read_json(b'{"a": [1, 2.5, "x", null, true, {}]}', "r") == {"a": [1, 2.5, "x", None, True, {}]}


def test_a_value_is_found_wherever_it_stands() -> None:
    document = {"a": "x", "b": [{"c": "x"}, "y", "x"]}
    assert list(places_of("x", document)) == [("a",), ("b", 0, "c"), ("b", 2)]
