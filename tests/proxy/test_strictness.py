"""Hostile and unusual messages, each on a connection of its own, with a recording upstream behind the proxy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.proxy.rivals import Outcome, Proxy, Whole, certgauge, haproxy_proxy, nginx_proxy, outcome, read
from tests.proxy.vectors import ACCEPTED, BODIES, HEADS, Accepted, Refused

SHORT = 400
PAGE = Path(__file__).parents[2] / "docs" / "strictness.md"


def by_name(vector: Refused | Accepted) -> str:
    return vector.name


def bytewise(message: bytes) -> list[bytes]:
    return [message[at : at + 1] for at in range(len(message))]


def head_is_refused(vector: Refused, came: Outcome) -> None:
    assert came.wires == ()
    assert came.status in vector.statuses
    assert came.closed


def content_is_cut_off(vector: Refused, came: Outcome) -> None:
    assert came.whole == []
    assert came.status in {*vector.statuses, None}
    assert came.closed


def request_passes(vector: Accepted, came: Outcome) -> None:
    assert came.whole == [Whole(vector.line, vector.content)]
    assert came.status == 204


@pytest.mark.parametrize("vector", HEADS, ids=by_name)
async def test_a_malformed_head_is_refused_and_reaches_no_upstream(vector: Refused) -> None:
    head_is_refused(vector, await outcome(certgauge, vector.message))


@pytest.mark.parametrize("vector", BODIES, ids=by_name)
async def test_malformed_content_never_arrives_whole(vector: Refused) -> None:
    content_is_cut_off(vector, await outcome(certgauge, vector.message))


@pytest.mark.parametrize("vector", ACCEPTED, ids=by_name)
async def test_a_well_formed_request_arrives_as_it_was_sent(vector: Accepted) -> None:
    request_passes(vector, await outcome(certgauge, vector.message))


# However it is cut into segments, it is the same message.


@pytest.mark.parametrize("vector", [each for each in HEADS if len(each.message) < SHORT], ids=by_name)
async def test_a_malformed_head_is_refused_byte_by_byte(vector: Refused) -> None:
    head_is_refused(vector, await outcome(certgauge, *bytewise(vector.message)))


@pytest.mark.parametrize("vector", [each for each in BODIES if len(each.message) < SHORT], ids=by_name)
async def test_malformed_content_never_arrives_whole_byte_by_byte(vector: Refused) -> None:
    content_is_cut_off(vector, await outcome(certgauge, *bytewise(vector.message)))


@pytest.mark.parametrize("vector", [each for each in ACCEPTED if len(each.message) < SHORT], ids=by_name)
async def test_a_well_formed_request_arrives_byte_by_byte(vector: Accepted) -> None:
    request_passes(vector, await outcome(certgauge, *bytewise(vector.message)))


# What the above is judged by.


@pytest.mark.parametrize("proxy", [nginx_proxy, haproxy_proxy])
async def test_others_forward_what_is_well_formed(proxy: Proxy) -> None:
    vector = next(each for each in ACCEPTED if each.name == "one chunk")
    request_passes(vector, await outcome(proxy, vector.message))


@pytest.mark.parametrize("proxy", [nginx_proxy, haproxy_proxy])
async def test_others_refuse_what_is_not(proxy: Proxy) -> None:
    vector = next(each for each in HEADS if each.name == "a space before a colon")
    head_is_refused(vector, await outcome(proxy, vector.message))


@pytest.mark.parametrize(
    ("framing", "sent", "content"),
    [
        (b"X-A: 1", b"", b""),
        (b"X-A: 1", b"more", b""),
        (b"Content-Length: 2", b"hi", b"hi"),
        (b"content-length:2", b"h", None),
        (b"Transfer-Encoding: chunked", b"2\r\nhi\r\n0\r\n\r\n", b"hi"),
        (b"Transfer-Encoding: chunked", b"2;a\r\nhi\r\n0\r\nX-A: 1\r\n\r\n", b"hi"),
        (b"Transfer-Encoding: chunked", b"2\r\nhi\r\n0\r\nX-A: 1\r\n", None),
        (b"Transfer-Encoding: chunked", b"2\r\nhi\r\n0\r\n", None),
        (b"Transfer-Encoding: chunked", b"2\r\nhi\r\n", None),
        (b"Transfer-Encoding: chunked", b"2\r\nh", None),
        (b"Transfer-Encoding: chunked", b"2", None),
        # Where its end is depends on who reads it.
        (b"Transfer-Encoding: chunked", b"2\nhi\n0\n\n", b""),
        (b"Transfer-Encoding: chunked", b"2\r\nhi!\r\n0\r\n\r\n", b""),
    ],
)
def test_an_upstream_tells_where_a_message_ends(framing: bytes, sent: bytes, content: bytes | None) -> None:
    whole = read(b"POST / HTTP/1.1\r\n%b\r\n\r\n%b" % (framing, sent))
    assert whole == (None if content is None else Whole(b"POST / HTTP/1.1", content))


def test_a_head_that_does_not_end_is_not_whole() -> None:
    assert read(b"GET / HTTP/1.1\r\nHost: a.example\r\n") is None


def test_no_two_messages_have_one_name_or_are_the_same() -> None:
    vectors = (*HEADS, *BODIES, *ACCEPTED)
    assert Counter(each.name for each in vectors).most_common(1)[0][1] == 1
    assert Counter(each.message for each in vectors).most_common(1)[0][1] == 1


# The page.


def rows(heading: str) -> list[list[str]]:
    table = PAGE.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


REFUSED = [("Heads that must be refused", HEADS), ("Content that must not arrive whole", BODIES)]


@pytest.mark.parametrize(("heading", "vectors"), REFUSED)
def test_the_page_has_a_row_for_each_message_to_refuse(heading: str, vectors: tuple[Refused, ...]) -> None:
    sections = [(each.name, each.section + (" †" if each.tolerable else "")) for each in vectors]
    assert [(name, section) for name, section, *_ in rows(heading)] == sections


def test_the_page_has_a_row_for_each_message_to_accept() -> None:
    names = [(name, section) for name, section, *_ in rows("Requests that must pass")]
    assert names == [(each.name, each.section) for each in ACCEPTED]


@pytest.mark.parametrize(("heading", "vectors"), REFUSED)
def test_the_page_shows_what_this_proxy_answers(heading: str, vectors: tuple[Refused, ...]) -> None:
    answers = [{f"`{status}`" for status in each.statuses} for each in vectors]
    wrong = [row for row, allowed in zip(rows(heading), answers, strict=True) if row[2] not in allowed | {"closed"}]
    assert wrong == []


def test_the_page_shows_that_this_proxy_forwards_what_is_well_formed() -> None:
    assert {row[2] for row in rows("Requests that must pass")} == {"forwarded"}
