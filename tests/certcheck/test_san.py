"""Which names are for which hosts."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from exporter.certcheck.san import ServerNames, server_names
from tests.authority import DAY, Authority, unreadable
from tests.proxy.upstreams import without_names

AUTHORITY = Authority()


def names(*sans: str) -> ServerNames:
    found = server_names(AUTHORITY.issue("common.example", DAY, *sans).certificate)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("san", "host", "matches"),
    [
        ("a.example.com", "a.example.com", True),
        ("A.Example.COM", "a.example.com", True),
        ("a.example.com.", "a.example.com", True),
        ("a.example.com", "b.example.com", False),
        ("a.example.com", "x.a.example.com", False),
        ("a.example.com", "example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "x.a.example.com", False),
        ("*.example.com", ".example.com", False),
        ("a*.example.com", "ab.example.com", False),
        ("a.*.com", "a.example.com", False),
        ("*.*.com", "a.example.com", False),
        ("*.com", "example.com", False),
        ("*", "localhost", False),
        ("localhost", "localhost", True),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::1", "::1", True),
        ("*.0.0.1", "10.0.0.1", False),
    ],
)
def test_a_name_matches_as_rfc_9525_says(san: str, host: str, *, matches: bool) -> None:
    assert names(san).match(host) is matches


def test_an_address_written_as_a_dns_name_is_for_nobody() -> None:
    assert not ServerNames(("10.0.0.1",)).match("10.0.0.1")


def test_the_common_name_does_not_count() -> None:
    found = server_names(without_names(AUTHORITY, "a.example.com").certificate)
    assert found is not None
    assert (len(found), found.match("a.example.com"), str(found)) == (0, False, "no name")


@pytest.mark.parametrize(
    ("candidate", "present", "missing"),
    [
        (["a.example.com"], ["a.example.com"], []),
        (["*.example.com"], ["a.example.com", "b.example.com"], []),
        (["a.example.com"], ["*.example.com"], ["*.example.com"]),
        (["*.example.com"], ["*.example.com"], []),
        (["*.example.com"], ["example.com"], ["example.com"]),
        (["a.example.com"], ["a.example.com", "10.0.0.1"], ["10.0.0.1"]),
        (["10.0.0.1"], ["10.0.0.1"], []),
    ],
)
def test_what_is_missing_is_told_name_by_name(candidate: list[str], present: list[str], missing: list[str]) -> None:
    assert list(names(*candidate).missing(names(*present))) == missing


def test_more_than_a_hundred_names_are_all_looked_at() -> None:
    many = [f"n{number}.example.com" for number in range(150)]
    assert names(*many).match("n149.example.com")


@given(st.text(), st.text())
def test_no_text_makes_it_raise(pattern: str, host: str) -> None:
    assert isinstance(ServerNames((pattern,), (ip_address("10.0.0.1"),)).match(host), bool)


def test_names_that_cannot_be_read_are_unknown() -> None:
    assert server_names(unreadable(AUTHORITY, x509.SubjectAlternativeName.oid).certificate) is None
