"""Which fields pass, and where a path leads: tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter.proxy.core import Headers
from exporter.proxy.endpoint import outgoing_path
from exporter.proxy.headers import has_body, request_headers, response_headers, value_of

SEEN = [(b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-proto", b"https")]


def sent(*received: tuple[bytes, bytes]) -> Headers:
    """What goes out for these fields, without what is always there."""
    outgoing = request_headers(list(received), host=b"orders.internal", client="192.0.2.1", scheme="https")
    assert outgoing[0] == (b"host", b"orders.internal")
    assert [field for field in outgoing if field in SEEN] == SEEN
    return [field for field in outgoing[1:] if field not in SEEN]


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Authenticate",
        b"Proxy-Authentication-Info",
        b"Proxy-Authorization",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Transfer-Encoding",
        b"Upgrade",
    ],
)
@pytest.mark.parametrize("change", [bytes.lower, bytes.upper, bytes])
def test_hop_by_hop_fields_pass_in_neither_direction(name: bytes, change: Callable[[bytes], bytes]) -> None:
    fields = [(change(name), b"x"), (b"x-kept", b"1")]
    assert sent(*fields) == [(b"x-kept", b"1")]
    assert response_headers(fields) == [(b"x-kept", b"1")]


@pytest.mark.parametrize(
    "nominated",
    [b"x-hop", b"X-HOP", b"close, x-hop", b"close,x-hop", b" x-hop ,", b",,x-hop", b"x-hop;q=1, x-hop"],
)
def test_fields_that_connection_names_pass_in_neither_direction(nominated: bytes) -> None:
    fields = [(b"x-hop", b"1"), (b"Connection", nominated), (b"X-Hop", b"2"), (b"x-hops", b"3")]
    assert sent(*fields) == [(b"x-hops", b"3")]
    assert response_headers(fields) == [(b"x-hops", b"3")]


def test_every_connection_field_counts() -> None:
    fields = [(b"connection", b"x-a"), (b"Connection", b"x-b"), (b"x-a", b"1"), (b"x-b", b"2"), (b"x-c", b"3")]
    assert sent(*fields) == response_headers(fields) == [(b"x-c", b"3")]


@pytest.mark.parametrize("name", [b"content-length", b"Content-Length", b"cache-control"])
def test_connection_cannot_remove_what_a_message_depends_on(name: bytes) -> None:
    fields = [(b"connection", b"close, " + name.upper()), (name, b"5")]
    assert sent(*fields) == [(name, b"5")]
    assert response_headers(fields) == [(name.lower(), b"5")]


def test_connection_cannot_remove_what_the_proxy_adds() -> None:
    fields = [(b"connection", b"host, x-forwarded-for, x-forwarded-proto, x-forwarded-host"), (b"host", b"asked")]
    assert sent(*fields) == [(b"x-forwarded-host", b"asked")]


@pytest.mark.parametrize(
    "name",
    [b"X-Forwarded-For", b"x-forwarded-proto", b"X-FORWARDED-HOST", b"Forwarded", b"X-Real-IP", b"X-Forwarded-Port"],
)
def test_what_others_say_of_the_client_is_dropped(name: bytes) -> None:
    assert sent((name, b"evil"), (name, b"again"), (b"host", b"asked")) == [(b"x-forwarded-host", b"asked")]


def test_the_host_that_was_asked_for_is_passed_on_beside_the_one_that_is_set() -> None:
    assert sent((b"Host", b"asked:8443")) == [(b"x-forwarded-host", b"asked:8443")]


def test_without_a_host_nothing_is_said_of_it() -> None:
    assert sent() == []
    assert sent((b"host", b"")) == []


def test_expect_is_answered_by_the_listener() -> None:
    assert sent((b"Expect", b"100-continue")) == []


def test_everything_else_passes_in_order_with_its_duplicates() -> None:
    fields = [
        (b"Cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"Authorization", b"Bearer x"),
        (b"traceparent", b"00-1-2-01"),
        (b"X-Bytes", b"\xff\xfe"),
        (b"cookie", b"a=1"),
        (b"via", b"1.1 other"),
        (b"accept-encoding", b"br"),
    ]
    assert sent(*fields) == fields


def test_fields_of_a_response_keep_order_and_duplicates() -> None:
    fields = [(b"Set-Cookie", b"a=1"), (b"X-B", b"\xff"), (b"set-cookie", b"a=2"), (b"Server", b"x"), (b"Date", b"y")]
    assert response_headers(fields) == [(name.lower(), value) for name, value in fields]


def test_forwarding_fields_of_a_response_are_its_own_business() -> None:
    assert response_headers([(b"X-Forwarded-For", b"1")]) == [(b"x-forwarded-for", b"1")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b" 0 ")], False),
        ([(b"Content-Length", b"1")], True),
        ([(b"Transfer-Encoding", b"chunked")], True),
        ([(b"x", b"1"), (b"content-length", b"10")], True),
        ([(b"content-type", b"text/plain")], False),
    ],
)
def test_a_request_has_content_if_a_field_says_so(fields: Headers, expected: bool) -> None:  # noqa: FBT001
    assert has_body(fields) is expected


def test_the_first_value_of_a_field_is_found_whatever_its_case() -> None:
    assert value_of([(b"X", b"0"), (b"HoSt", b"1"), (b"host", b"2")], b"host") == b"1"
    assert value_of([], b"host") is None


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
    assert outgoing_path(raw, listen_path, base) == expected
