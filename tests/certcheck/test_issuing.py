"""Which certificate has issued which."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from cryptography import x509

from exporter.certcheck.issuing import Link, issued, link_of, links_of, same_issuer, sort_out
from tests.authority import DAY, Authority, Issued

ROOT = Authority("root CA")
BETWEEN = ROOT.intermediate("intermediate CA")
LEAF = BETWEEN.issue("leaf")


def link(each: Issued) -> Link:
    found = link_of(each.der)
    assert found is not None
    return found


def links(*every: Issued) -> list[Link]:
    return [link(each) for each in every]


def names(found: Sequence[Link]) -> list[str]:
    return [each.certificate.cert_name for each in found]


@pytest.mark.parametrize("others", list(permutations([BETWEEN.root, ROOT.root])))
def test_a_path_is_found_in_any_order(others: tuple[Issued, ...]) -> None:
    found = sort_out(links(LEAF, *others))
    assert names(found.path) == ["leaf", "intermediate CA", "root CA"]
    assert (found.strays, found.in_order) == ((), others[0] is BETWEEN.root)


def test_what_has_issued_nothing_is_a_stray() -> None:
    other = ROOT.intermediate("other CA")
    found = sort_out(links(LEAF, BETWEEN.root, other.root))
    assert (names(found.path), names(found.strays)) == (["leaf", "intermediate CA"], ["other CA"])
    assert not found.in_order


def test_an_issuer_of_the_right_name_and_another_key_is_a_stray() -> None:
    impostor = ROOT.intermediate("intermediate CA")
    assert names(sort_out(links(LEAF, impostor.root)).strays) == ["intermediate CA"]


def test_what_is_no_ca_has_issued_nothing() -> None:
    key = ROOT.root.key
    impostor = ROOT.issue("root CA", key=key)
    assert not issued(link(impostor), link(BETWEEN.root))
    assert issued(link(ROOT.root), link(BETWEEN.root))


def test_two_certificates_of_one_issuer_are_both_part_of_the_chain() -> None:
    again = Authority("intermediate CA", by=ROOT, key=BETWEEN.root.key, left=20 * DAY)
    found = sort_out(links(LEAF, BETWEEN.root, again.root, ROOT.root))
    assert (names(found.strays), found.in_order) == ([], True)


def test_a_certificate_alone_is_its_own_path() -> None:
    found = sort_out(links(LEAF))
    assert (names(found.path), found.in_order, found.top) == (["leaf"], True, link(LEAF))


def test_an_issuer_is_the_same_by_its_signatures_where_its_key_is_known() -> None:
    other, impostor = BETWEEN.issue("other"), Authority("intermediate CA").issue("other")
    known = links(BETWEEN.root)
    assert same_issuer(link(LEAF), link(other), known) == known[0]
    assert same_issuer(link(LEAF), link(impostor), known) is None


def test_an_issuer_is_the_same_by_its_name_where_no_key_is_known() -> None:
    assert same_issuer(link(LEAF), link(BETWEEN.issue("other")), []) == "CN=intermediate CA"
    assert same_issuer(link(LEAF), link(ROOT.issue("other")), []) is None


@pytest.mark.parametrize(("one", "other", "same"), [(b"a", b"a", True), (b"a", b"b", False), (b"a", None, True)])
def test_identifiers_of_an_issuers_key_tell_two_of_one_name_apart(
    one: bytes, other: bytes | None, *, same: bool
) -> None:
    first, second = (
        BETWEEN.issue("x", extensions=[x509.AuthorityKeyIdentifier(key_id, None, None)] if key_id else [])
        for key_id in (one, other)
    )
    assert (same_issuer(link(first), link(second), []) is not None) is same


def test_two_self_signed_certificates_have_no_issuer_in_common() -> None:
    assert same_issuer(link(Authority("self").root), link(Authority("self").root), []) is None


def test_no_more_than_eleven_are_linked() -> None:
    assert len(links_of([LEAF.der] * 20)) == 11


@pytest.mark.parametrize("der", [b"", b"\x30\x00", LEAF.der[:-1], b"x" * 100])
def test_what_cannot_be_read_is_no_link(der: bytes) -> None:
    assert link_of(der) is None
