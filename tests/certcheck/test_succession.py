"""Whether a chain can take the place of another."""

from __future__ import annotations

import pytest

from exporter.certcheck.issuing import links_of, sort_out
from exporter.certcheck.succession import check_chain_of_listener, check_chain_to_upstream
from exporter.certcheck.suitability import Check
from tests.authority import Authority, Issued

ROOT = Authority("root CA")
BETWEEN = ROOT.intermediate("intermediate CA")
NEXT = ROOT.intermediate("next CA")
STRANGE = Authority("strange CA")
SELF = Authority("self").root

PRESENT = [BETWEEN.issue("leaf"), BETWEEN.root]
LEAF, NEXT_LEAF, STRANGER = BETWEEN.issue("leaf"), NEXT.issue("leaf"), STRANGE.issue("leaf")


def links(every: list[Issued]) -> list[bytes]:
    return [each.der for each in every]


def to_upstream(candidate: list[Issued], present: list[Issued], *known: Issued) -> Check:
    found = links_of(links(candidate)), links_of(links(present)), links_of(links([*known]))
    return check_chain_to_upstream(sort_out(found[0]), *found[1:])


def of_listener(candidate: list[Issued], present: list[Issued]) -> Check:
    return check_chain_of_listener(sort_out(links_of(links(candidate))), links_of(links(present)))


@pytest.mark.parametrize(
    ("candidate", "present", "upstream", "listener"),
    [
        ([LEAF, BETWEEN.root], PRESENT, "pass", "pass"),
        ([LEAF, BETWEEN.root, ROOT.root], PRESENT, "pass", "pass"),
        ([LEAF, ROOT.root, BETWEEN.root], PRESENT, "pass", "fail"),
        ([LEAF], PRESENT, "unknown", "fail"),
        ([LEAF], PRESENT[:1], "pass", "pass"),
        ([NEXT_LEAF, NEXT.root], PRESENT, "pass", "pass"),
        ([NEXT_LEAF], PRESENT, "unknown", "unknown"),
        ([LEAF, NEXT.root], PRESENT, "fail", "fail"),
        ([LEAF, BETWEEN.root, STRANGE.root], PRESENT, "fail", "fail"),
        ([STRANGER], PRESENT, "unknown", "unknown"),
        ([STRANGER, STRANGE.root], PRESENT, "unknown", "pass"),
        ([SELF], PRESENT, "unknown", "unknown"),
        ([SELF], [SELF], "unknown", "unknown"),
        ([LEAF, BETWEEN.root], [], "unknown", "unknown"),
        ([PRESENT[0]], PRESENT[:1], "pass", "pass"),
    ],
)
def test_a_chain_is_held_against_the_one_in_use(
    candidate: list[Issued], present: list[Issued], upstream: str, listener: str
) -> None:
    assert to_upstream(candidate, present).status == upstream
    assert of_listener(candidate, present).status == listener


def test_a_key_that_is_known_tells_an_issuer_from_its_namesake() -> None:
    namesake = Authority("strange CA").issue("leaf")
    assert to_upstream([STRANGER], [namesake]).status == "pass"
    assert to_upstream([STRANGER], [namesake], STRANGE.root).status == "unknown"


def test_what_is_missing_is_named() -> None:
    assert of_listener([LEAF], PRESENT).detail == ("it leaves out its issuer intermediate CA, which is sent at present")
    assert to_upstream([LEAF, NEXT.root], PRESENT).detail == "it holds next CA, which has issued nothing in it"
