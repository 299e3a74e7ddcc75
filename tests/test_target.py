from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.target import Target, is_address, match_pattern, normalise_host, normalise_pattern, parse_target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://orders.internal", Target("https", "orders.internal", 443, "/")),
        ("http://orders.internal", Target("http", "orders.internal", 80, "/")),
        ("https://orders.internal:8443/v1/", Target("https", "orders.internal", 8443, "/v1/")),
        ("https://orders.internal:443/v1", Target("https", "orders.internal", 443, "/v1")),
        ("https://orders.internal:/v1", Target("https", "orders.internal", 443, "/v1")),
        ("HTTPS://Orders.INTERNAL./V1", Target("https", "orders.internal", 443, "/V1")),
        ("https://orders.internal/a%2Fb/%zz/;x=1", Target("https", "orders.internal", 443, "/a%2Fb/%zz/;x=1")),
        ("https://bücher.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
        ("https://BÜCHER.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
        ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
        ("https://faß.example/", Target("https", "xn--fa-hia.example", 443, "/")),
        ("https://10.0.0.1:8443/", Target("https", "10.0.0.1", 8443, "/")),
        ("https://[2001:DB8::0001]/", Target("https", "2001:db8::1", 443, "/")),
        ("https://[2001:db8:0:0:0:0:0:1]:8443/x", Target("https", "2001:db8::1", 8443, "/x")),
        ("https://service_name/", Target("https", "service_name", 443, "/")),
        ("https://h:65535/", Target("https", "h", 65535, "/")),
    ],
)
def test_a_target_url_is_taken_apart(url: str, target: Target) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://orders.internal:443/", "orders.internal"),
        ("http://orders.internal:80/", "orders.internal"),
        ("https://orders.internal:80/", "orders.internal:80"),
        ("http://orders.internal:443/", "orders.internal:443"),
        ("https://orders.internal:8443/", "orders.internal:8443"),
        ("https://[2001:db8::1]/", "[2001:db8::1]"),
        ("https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
    ],
)
def test_the_authority_has_no_default_port(url: str, authority: str) -> None:
    assert parse_target(url).authority == authority


def whole(message: str) -> str:
    """A pattern for exactly this message: the URL is not quoted in it."""
    return f"^{re.escape(message)}$"


SCHEME = "must begin with https:// or http://"
CREDENTIALS = "must not carry credentials"
QUERY = "must not have a query or a fragment"
UNREADABLE = "is not a URL: its host or port cannot be read"
NO_HOST_NAME = "is not a host name"
SPACES = "must not contain spaces or control characters"
PATH = "must have a path of visible ASCII characters; percent-encode the others"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", SCHEME),
        ("canary.example", SCHEME),
        ("canary.example:8443", SCHEME),
        ("ftp://canary.example", SCHEME),
        ("//canary.example", SCHEME),
        ("https:canary.example", "must name a host"),
        ("https:///canary", "must name a host"),
        ("https://:8443/canary", "must name a host"),
        ("https://canary@example.com/", CREDENTIALS),
        ("https://user:canary@example.com/", CREDENTIALS),
        ("https://@canary.example/", CREDENTIALS),
        ("https://:canary@example.com/", CREDENTIALS),
        ("https://h/?token=canary", QUERY),
        ("https://canary?", QUERY),
        ("https://h/#canary", QUERY),
        ("https://canary/#", QUERY),
        ("https://canary:0/", "must not have port 0"),
        ("https://canary:65536/", UNREADABLE),
        ("https://h:canary/", UNREADABLE),
        ("https://canary:-1/", UNREADABLE),
        ("https://[canary/", UNREADABLE),
        ("https://[::1/canary", UNREADABLE),
        ("https://h/canary/é", PATH),
        ("https://h/canary/\x7f", PATH),
        ("https://h/canary/\u2028", PATH),
        ("https://canary\u3000.internal/", NO_HOST_NAME),
        ("https://h/canary x", SPACES),
        ("https://ca..nary/", NO_HOST_NAME),
        ("https://.canary/", NO_HOST_NAME),
        ("https://canary%2Fx/", NO_HOST_NAME),
        ("https://canary\\x/", NO_HOST_NAME),
        ("https://*.canary/", NO_HOST_NAME),
        (f"https://{'canary' * 11}/", NO_HOST_NAME),
        (f"https://{'canary.' * 40}x/", NO_HOST_NAME),
        ("https://canary\u0660\u0661é*/", NO_HOST_NAME),
    ],
)
def test_a_url_that_is_no_target_is_refused_in_a_sentence_that_does_not_quote_it(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=whole(message)) as refused:
        parse_target(url)

    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        # The library removes these without a word: the request would go elsewhere than it reads.
        "https://orders\n.internal/",
        "https://orders.internal/a\tb",
        "https://orders.internal/\r\nX-Injected: y",
        " https://orders.internal/",
        "\x00https://orders.internal/",
        "https://orders.internal/ ",
        "https://orders.internal/a b",
        "https://orders .internal/",
    ],
)
def test_white_space_and_control_characters_are_refused_and_not_removed(url: str) -> None:
    with pytest.raises(ValueError, match=whole(SPACES)):
        parse_target(url)


def taken(url: str) -> Target | None:
    try:
        return parse_target(url)
    except ValueError:
        return None


@given(st.text("htps:/@?#[]%.*0159abü \t\n\x00", max_size=40).map("https://".__add__))
def test_no_text_fails_in_another_way_and_what_is_taken_is_normal(url: str) -> None:
    if (target := taken(url)) is not None:
        assert normalise_host(target.host) == target.host
        assert 0 < target.port <= 65535
        assert target.path.startswith("/")


@pytest.mark.parametrize(
    ("pattern", "normal"),
    [
        ("orders.internal", "orders.internal"),
        ("ORDERS.Internal.", "orders.internal"),
        ("orders.internal:8443", "orders.internal:8443"),
        ("orders.internal:08443", "orders.internal:8443"),
        ("*.internal", "*.internal"),
        ("*.INTERNAL:8443", "*.internal:8443"),
        ("*", "*"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example:443", "*.xn--bcher-kva.example:443"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:8443", "10.0.0.1:8443"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("[2001:DB8:0::1]:8443", "[2001:db8::1]:8443"),
    ],
)
def test_a_pattern_has_one_spelling(pattern: str, normal: str) -> None:
    assert normalise_pattern(pattern) == normal
    assert normalise_pattern(normal) == normal


WILDCARD = "must not be a wildcard for an IP address: addresses match only exactly"
FORMS = "must be host, host:port, *.domain, *.domain:port or *"


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        ":8443",
        "orders.internal:",
        "orders.internal:0",
        "orders.internal:65536",
        "orders.internal:https",
        "orders.internal:-1",
        "orders.internal:\u0668\u0664",
        "orders.internal:8443:1",
        "https://orders.internal",
        "orders.internal/v1",
        "orders internal",
        "orders..internal",
        "*:8443",
        "*.",
        "**",
        "*orders.internal",
        "*.*.internal",
        "orders.*.internal",
        "orders.*",
        "[orders.internal]:8443",
        "[2001:db8::1]8443",
        "[2001:db8::1]x:8443",
        "[2001:db8::1",
        "[2001:db8::1]:",
        "o" * 64,
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=whole(FORMS)):
        normalise_pattern(pattern)


@pytest.mark.parametrize("pattern", ["*.0.0.1.10", "*.10.0.0.1", "*.10.0.0.1:8443"])
def test_a_wildcard_for_an_address_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=whole(WILDCARD)):
        normalise_pattern(pattern)


# SPEC section 3: exact `host:port`, then `host`, then `*.rest:port`, then `*.rest` (one label), then `*`.
ORDER = ["a.b.internal:8443", "a.b.internal", "*.b.internal:8443", "*.b.internal", "*"]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_the_most_exact_pattern_wins(first: int) -> None:
    patterns = {pattern: f"ref {pattern}" for pattern in reversed(ORDER[first:])}

    assert match_pattern(patterns, parse_target("https://a.b.internal:8443/")) == f"ref {ORDER[first]}"


@pytest.mark.parametrize(
    ("pattern", "url", "matches"),
    [
        ("orders.internal", "https://orders.internal/", True),
        ("orders.internal", "https://orders.internal:8443/", True),
        ("orders.internal", "http://orders.internal/", True),
        ("ORDERS.internal.", "https://orders.INTERNAL/", True),
        ("orders.internal:8443", "https://orders.internal:8443/", True),
        ("orders.internal:8443", "https://orders.internal/", False),
        # The scheme's default port equals no port.
        ("orders.internal:443", "https://orders.internal/", True),
        ("orders.internal:443", "http://orders.internal/", False),
        ("orders.internal:80", "http://orders.internal/", True),
        ("orders.internal", "https://eu.orders.internal/", False),
        ("orders.internal", "https://myorders.internal/", False),
        ("*.internal", "https://orders.internal/", True),
        ("*.internal", "https://orders.internal:8443/", True),
        ("*.internal:8443", "https://orders.internal:8443/", True),
        ("*.internal:8443", "https://orders.internal/", False),
        ("*.internal:443", "https://orders.internal/", True),
        # One label, and at least one.
        ("*.internal", "https://eu.orders.internal/", False),
        ("*.internal", "https://internal/", False),
        ("*.orders.internal", "https://eu.orders.internal/", True),
        ("*", "https://eu.orders.internal:8443/", True),
        ("*", "https://localhost/", True),
        ("bücher.example", "https://xn--bcher-kva.example/", True),
        ("xn--bcher-kva.example", "https://BÜCHER.example/", True),
        ("*.example", "https://bücher.example/", True),
        # Addresses match only exactly.
        ("10.0.0.1", "https://10.0.0.1/", True),
        ("10.0.0.1:8443", "https://10.0.0.1:8443/", True),
        ("10.0.0.1:443", "https://10.0.0.1/", True),
        ("10.0.0.1", "https://10.0.0.2/", False),
        ("*", "https://10.0.0.1/", False),
        ("*", "https://[2001:db8::1]/", False),
        ("2001:db8::1", "https://[2001:DB8:0:0::1]/", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443/", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]/", False),
        ("[2001:db8::1]:443", "https://[2001:db8::1]/", True),
        ("2001:db8::1", "https://[2001:db8::2]/", False),
    ],
)
def test_a_pattern_matches_what_it_names_and_no_more(pattern: str, url: str, matches: bool) -> None:  # noqa: FBT001
    found = match_pattern({normalise_pattern(pattern): "ref"}, parse_target(url))

    assert found == ("ref" if matches else None)


def test_without_patterns_there_is_no_certificate() -> None:
    assert match_pattern({}, parse_target("https://orders.internal/")) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [("10.0.0.1", True), ("2001:db8::1", True), ("orders.internal", False), ("1.2.3", False), ("", False)],
)
def test_an_address_is_told_from_a_name(host: str, expected: bool) -> None:  # noqa: FBT001
    assert is_address(host) is expected
