"""Paths to anchors, as a connection would find them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from exporter.certcheck.issuing import links_of
from exporter.certificates.verification import Anchors, Verified
from tests.authority import DAY, Authority, Issued

ROOT = Authority("root CA")
BETWEEN = ROOT.intermediate("intermediate CA")
LEAF = BETWEEN.issue("leaf", 100 * DAY)
NOW = ROOT.now


def verify(anchors: bytes | None, *chain: Issued, after: timedelta = timedelta(0)) -> Verified:
    return Anchors(anchors).verify(links_of([each.der for each in chain]), NOW + after)


def names(found: Verified) -> list[str]:
    return [each.certificate.cert_name for each in found.path]


def test_a_path_goes_from_the_leaf_to_the_anchor() -> None:
    assert names(verify(ROOT.root.pem, LEAF, BETWEEN.root)) == ["leaf", "intermediate CA", "root CA"]


def test_the_order_of_the_issuers_does_not_matter() -> None:
    assert len(verify(ROOT.root.pem, LEAF, ROOT.root, BETWEEN.root).path) == 3


@pytest.mark.parametrize(
    ("anchors", "chain", "why"),
    [
        (ROOT.root.pem, [LEAF], "unable to get local issuer certificate"),
        (b"", [LEAF, BETWEEN.root], "unable to get local issuer certificate"),
        (Authority("strange CA").root.pem, [LEAF], "unable to get local issuer certificate"),
        # As on a connection: an intermediate alone is no anchor.
        (BETWEEN.root.pem, [LEAF], "unable to get issuer certificate"),
    ],
)
def test_where_there_is_no_path_it_says_why(anchors: bytes, chain: list[Issued], why: str) -> None:
    assert verify(anchors, *chain) == Verified((), why)


@pytest.mark.parametrize("after", [-400 * DAY, 101 * DAY])
def test_a_path_that_only_a_date_bars_is_found(after: timedelta) -> None:
    assert names(verify(ROOT.root.pem, LEAF, BETWEEN.root, after=after))[0] == "leaf"


def test_of_two_issuers_the_one_that_is_valid_is_taken() -> None:
    expired = Authority("intermediate CA", by=ROOT, key=BETWEEN.root.key, left=-1 * DAY)
    for others in ((expired, BETWEEN), (BETWEEN, expired)):
        path = verify(ROOT.root.pem, LEAF, *(each.root for each in others)).path
        assert path[1].certificate.cert_id == BETWEEN.root.cert_id


def test_the_instant_is_the_one_that_is_given() -> None:
    leaf, short = (
        BETWEEN.issue("leaf", 300 * DAY),
        Authority("intermediate CA", by=ROOT, key=BETWEEN.root.key, left=DAY),
    )
    for others in ((short, BETWEEN), (BETWEEN, short)):
        path = verify(ROOT.root.pem, leaf, *(each.root for each in others), after=200 * DAY).path
        assert path[1].certificate.cert_id == BETWEEN.root.cert_id


def test_constraints_of_issuers_are_kept() -> None:
    constraint = x509.NameConstraints([x509.DNSName("example.com")], None)
    narrow = ROOT.intermediate("narrow CA", 100 * DAY, constraint)
    inside, outside = narrow.issue("a.example.com"), narrow.issue("a.example.org")
    assert verify(ROOT.root.pem, inside, narrow.root).path
    assert verify(ROOT.root.pem, outside, narrow.root).why == "permitted subtree violation"


def test_without_anchors_of_its_own_the_systems_store_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store.pem").write_bytes(ROOT.root.pem)
    assert verify(None, LEAF, BETWEEN.root).path == ()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "store.pem"))
    assert names(verify(None, LEAF, BETWEEN.root)) == ["leaf", "intermediate CA", "root CA"]
    (tmp_path / "store.pem").write_bytes(b"nothing of the kind")
    assert verify(None, LEAF, BETWEEN.root).path == ()


def test_anchors_that_cannot_be_read_trust_nobody() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert verify(broken, LEAF, BETWEEN.root).path == ()
    assert Anchors(broken).links() == ()
    assert len(Anchors(broken + ROOT.root.pem).links()) == 1
