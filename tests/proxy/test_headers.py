"""Which field lines pass, and where a path leads: tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.gateway import Api
from exporter.proxy.core import Fields
from exporter.proxy.headers import connection_options, divide, lines, reader_of, split, tokens, without
from exporter.proxy.heads import HeadReader
from exporter.proxy.httptools_response import ResponseReader
from exporter.proxy.outgoing import outgoing, outgoing_target
from tests.proxy.front import api

CLIENT = b"x-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\n"
OURS = b"host: 127.0.0.1:1\r\n"
ASKED = b"Host: asked\r\n"
SAID_OF_IT = CLIENT + b"x-forwarded-host: asked\r\n"


def sent(received: Fields, request_line: bytes = b"GET /orders/ HTTP/1.1") -> Fields:
    """What goes out for these fields."""
    found = HeadReader().read(b"%b\r\n%b\r\n" % (request_line, received))
    assert found is not None
    nobody: Any = None
    return outgoing(found[0], b"", Api(api(), nobody), CLIENT).fields


def passed(received: Fields) -> Fields:
    """What passes of these fields, of a request that has a Host besides."""
    outgoing = sent(ASKED + received)
    assert outgoing.startswith(OURS)
    assert outgoing.endswith(SAID_OF_IT)
    return outgoing[len(OURS) : -len(SAID_OF_IT)]


def came(received: Fields, status: int = 200) -> Fields:
    """What comes back for these fields."""
    found = ResponseReader("GET").feed(b"HTTP/1.1 %d OK\r\n%b\r\n" % (status, received))
    assert found is not None
    return found[0].fields


both = pytest.mark.parametrize("through", [passed, came])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"Connection", b"x"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Proxy-Authentication-Info", b"x"),
        (b"Proxy-Authorization", b"Basic eDp5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"TE", b"trailers"),
        (b"Trailer", b"x-sum"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"websocket"),
    ],
)
@pytest.mark.parametrize("change", [bytes.lower, bytes.upper, bytes])
@both
def test_hop_by_hop_fields_pass_in_neither_direction(
    through: Callable[[Fields], Fields], name: bytes, value: bytes, change: Callable[[bytes], bytes]
) -> None:
    assert through(b"X-A: 1\r\n%b: %b\r\nX-B: 2\r\n" % (change(name), value)) == b"X-A: 1\r\nX-B: 2\r\n"


@pytest.mark.parametrize(
    "nominated",
    [
        b"x-hop",
        b"X-HOP",
        b"close, x-hop",
        b"close,x-hop",
        b" x-hop ,",
        b"\tx-hop\t",
        b",,x-hop",
        b"x-hop;q=1, x-hop",
        b"keep-alive , X-Hop",
    ],
)
@both
def test_fields_that_connection_names_pass_in_neither_direction(
    through: Callable[[Fields], Fields], nominated: bytes
) -> None:
    fields = b"x-hop: 1\r\nConnection:%b\r\nX-Hop:2\r\nx-hops: 3\r\nx-ho: 4\r\n" % nominated
    assert through(fields) == b"x-hops: 3\r\nx-ho: 4\r\n"


@both
def test_every_connection_field_counts(through: Callable[[Fields], Fields]) -> None:
    fields = b"connection: x-a\r\nConnection: x-b\r\nx-a: 1\r\nX-B: 2\r\nx-c: 3\r\n"
    assert through(fields) == b"x-c: 3\r\n"


@pytest.mark.parametrize(
    "field", [b"content-length: 5", b"Content-Length: 5", b"cache-control: no-store", b"Expect: 100-continue"]
)
@both
def test_connection_cannot_remove_what_a_message_depends_on(through: Callable[[Fields], Fields], field: bytes) -> None:
    name = field.partition(b":")[0].upper()
    assert through(b"connection: close, %b, x-a\r\n%b\r\n" % (name, field)) == b"%b\r\n" % field


def test_connection_cannot_remove_what_the_proxy_adds() -> None:
    nominated = b"host, x-forwarded-for, x-forwarded-proto, x-forwarded-host"
    assert passed(b"connection: %b\r\n" % nominated) == b""


@pytest.mark.parametrize(
    "name",
    [b"X-Forwarded-For", b"x-forwarded-proto", b"X-FORWARDED-HOST", b"Forwarded", b"X-Real-IP", b"X-Forwarded-Port"],
)
def test_what_others_say_of_the_client_is_dropped(name: bytes) -> None:
    assert passed(b"%b: evil\r\nx-a: 1\r\n%b:again\r\n%b: evil\r\n" % (name, name, name)) == b"x-a: 1\r\n"


@pytest.mark.parametrize("name", [b"X-Forwarded", b"X-Forwarde", b"XX-Forwarded-For", b"Forwarded-By", b"X-Real-IPs"])
def test_what_is_only_called_alike_passes(name: bytes) -> None:
    assert passed(b"%b: 1\r\n" % name) == b"%b: 1\r\n" % name


def test_the_host_that_was_asked_for_is_passed_on_beside_the_one_that_is_set() -> None:
    assert sent(b"Host:asked:8443 \r\n") == OURS + CLIENT + b"x-forwarded-host: asked:8443\r\n"


def test_without_a_host_nothing_is_said_of_it() -> None:
    assert sent(b"", b"GET /orders/ HTTP/1.0") == OURS + CLIENT


@pytest.mark.parametrize("field", [b"Expect: 100-continue", b"expect:100-Continue", b"Expect: x"])
def test_expect_is_the_upstreams_to_answer(field: bytes) -> None:
    assert passed(b"Content-Length: 5\r\n%b\r\n" % field) == b"Content-Length: 5\r\n%b\r\n" % field


@pytest.mark.parametrize(
    "fields",
    [
        b"Cookie: a=1\r\ncookie: b=2\r\nCOOKIE: a=1\r\n",
        b"Authorization: Bearer x\r\ntraceparent: 00-1-2-01\r\n",
        b"X-Bytes: \xff\xfe\r\nx-empty:\r\nx-blank: \t \r\n",
        b"x-none:1\r\nX-Two:  2  \r\nX-Tab:\t3\t\r\n",
        b"Set-Cookie: a=1\r\nX-B: b\r\nset-cookie: a=2\r\nServer: x\r\nDate: y\r\n",
        b"Content-Length: 5\r\nvia: 1.1 other\r\naccept-encoding: br\r\n",
        b"X-Hosts: Host: evil\r\nX-Connection: connection: close\r\n",
        b"!#$%&'*+-.^_`|~: 1\r\n",
    ],
)
@both
def test_everything_else_passes_byte_for_byte(through: Callable[[Fields], Fields], fields: Fields) -> None:
    assert through(fields) == fields


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"Forwarded", b"Host", b"Expect", b"X-Real-IP"])
def test_fields_of_a_response_that_only_a_request_has_a_meaning_for_pass(name: bytes) -> None:
    assert came(b"%b: 1\r\n" % name) == b"%b: 1\r\n" % name


# RFC 9110 section 8.6.
@pytest.mark.parametrize("status", [100, 103, 204])
def test_a_response_that_can_have_no_content_has_no_length(status: int) -> None:
    assert came(b"X-A: 1\r\nContent-Length: 5\r\nX-B: 2\r\n", status) == b"X-A: 1\r\nX-B: 2\r\n"


@pytest.mark.parametrize("status", [200, 205, 304])
def test_a_length_passes_byte_for_byte(status: int) -> None:
    assert came(b"content-Length:005 \r\n", status) == b"content-Length:005 \r\n"


# What is read, and what is left.

READER = reader_of({b"a", b"b-*", b"kept"})
KEPT = frozenset({b"kept"})


@pytest.mark.parametrize(
    ("fields", "read", "left"),
    [
        (b"", {}, b""),
        (b"c: 1\r\n", {}, b"c: 1\r\n"),
        (b"a: 1\r\n", {b"a": [b"1"]}, b""),
        (b"A:1\r\nc: 2\r\na:  3 \t\r\n", {b"a": [b"1", b"3"]}, b"c: 2\r\n"),
        (b"a:\r\na: \t\r\n", {b"a": [b"", b""]}, b""),
        (b"B-C: 1\r\nb-: 2\r\nb: 3\r\n", {b"b-c": [b"1"], b"b-": [b"2"]}, b"b: 3\r\n"),
        (b"Kept:1\r\na: 1\r\nkept: 2\r\n", {b"kept": [b"1", b"2"], b"a": [b"1"]}, b"Kept:1\r\nkept: 2\r\n"),
        (b"c: a: 1\r\na: a: 1\r\naa: 1\r\n", {b"a": [b"a: 1"]}, b"c: a: 1\r\naa: 1\r\n"),
        # Lines that are alike, of which one is the beginning of another.
        (b"a: 1\r\na: 11\r\na: 1\r\n", {b"a": [b"1", b"11", b"1"]}, b""),
    ],
)
def test_fields_are_divided_into_what_is_read_and_what_is_left(
    fields: Fields, read: dict[bytes, list[bytes]], left: Fields
) -> None:
    assert divide(b"\r\n" + fields, READER, KEPT) == (read, left)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (None, set()),
        ([b"close"], {b"close"}),
        ([b"Keep-Alive"], {b"keep-alive"}),
        ([b"CLOSE"], {b"close"}),
        ([b"close", b"X-A"], {b"close", b"x-a"}),
        ([b"a,B\t, c"], {b"a", b"b", b"c"}),
        ([b""], {b""}),
    ],
)
def test_connection_options_are_a_set_in_lower_case(values: list[bytes] | None, options: set[bytes]) -> None:
    read = {} if values is None else {b"connection": values}
    assert connection_options(read) - {b""} == options - {b""}


def test_tokens_are_trimmed_of_spaces_and_tabs_alone() -> None:
    assert tokens([b" A\t,b", b"\x0bc"]) == {b"a", b"b", b"\x0bc"}


def test_fields_are_dropped_by_name_in_any_case() -> None:
    assert without(b"A: 1\r\nb: 2\r\na: 3\r\nab: 4\r\n", frozenset({b"a"})) == b"b: 2\r\nab: 4\r\n"


names = st.text("abcXYZ-!~", min_size=1).map(str.encode)
values = st.text("ab :,\t\xe4", max_size=8).map(lambda text: text.strip().encode("latin-1"))


def grouped(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    groups: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        groups.setdefault(name.lower(), []).append(value)
    return groups


@given(st.lists(st.tuples(names, values)))
def test_fields_can_be_split_and_joined_again(fields: list[tuple[bytes, bytes]]) -> None:
    assert split(lines(fields)) == fields


@given(st.lists(st.tuples(names, values)), st.sets(names, min_size=1))
def test_what_is_read_and_what_is_left_are_all_there_was(fields: list[tuple[bytes, bytes]], read: set[bytes]) -> None:
    wanted = {name.lower() for name in read}
    found, left = divide(b"\r\n" + lines(fields), reader_of(wanted), frozenset())
    assert split(left) == [field for field in fields if field[0].lower() not in wanted]
    assert found == grouped(field for field in fields if field[0].lower() in wanted)


# Where a path leads.


@pytest.mark.parametrize(
    ("raw", "listen_path", "base", "expected"),
    [
        # Stripped, a listen path that ends in a slash.
        (b"/orders/1", b"/orders/", b"/", b"/1"),
        (b"/orders/1", b"/orders/", b"/v1", b"/v1/1"),
        (b"/orders/1", b"/orders/", b"/v1/", b"/v1/1"),
        (b"/orders/", b"/orders/", b"/v1/", b"/v1/"),
        (b"/orders/", b"/orders/", b"/v1", b"/v1/"),
        (b"/orders/", b"/orders/", b"/", b"/"),
        (b"/orders//1", b"/orders/", b"/v1/", b"/v1//1"),
        (b"/orders/%2e%2E/x%2Fy", b"/orders/", b"/v1/", b"/v1/%2e%2E/x%2Fy"),
        (b"/orders/../x", b"/orders/", b"/v1/", b"/v1/../x"),
        # Stripped, one that does not.
        (b"/orders/1", b"/orders", b"/", b"/1"),
        (b"/orders/1", b"/orders", b"/v1", b"/v1/1"),
        (b"/orders/1", b"/orders", b"/v1/", b"/v1/1"),
        (b"/orders", b"/orders", b"/", b"/"),
        (b"/orders", b"/orders", b"/v1", b"/v1"),
        (b"/orders", b"/orders", b"/v1/", b"/v1/"),
        (b"/orders//1", b"/orders", b"/v1", b"/v1//1"),
        # A query is not a part of the path, and stays what it is.
        (b"/orders?/x", b"/orders", b"/", b"/?/x"),
        (b"/orders?x", b"/orders", b"/v1", b"/v1?x"),
        (b"/orders/?x", b"/orders", b"/v1", b"/v1/?x"),
        (b"/orders/?x", b"/orders/", b"/v1", b"/v1/?x"),
        (b"/orders/1?", b"/orders/", b"/", b"/1?"),
        # The root.
        (b"/", b"/", b"/", b"/"),
        (b"/a/b", b"/", b"/", b"/a/b"),
        (b"/a/b", b"/", b"/v1", b"/v1/a/b"),
        (b"//a", b"/", b"/", b"//a"),
        # Not stripped.
        (b"/orders/1", b"", b"/", b"/orders/1"),
        (b"/orders/1", b"", b"/v1/", b"/v1/orders/1"),
        (b"/orders/1", b"", b"/v1", b"/v1/orders/1"),
        (b"/", b"", b"/", b"/"),
        (b"/", b"", b"/v1", b"/v1/"),
    ],
)
def test_a_path_is_appended_to_the_targets(raw: bytes, listen_path: bytes, base: bytes, expected: bytes) -> None:
    assert outgoing_target(raw, listen_path, base) == expected
