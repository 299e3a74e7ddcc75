"""The rules by which a certificate is suited for a place, at their boundaries."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, ObjectIdentifier

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.issuing import links_of
from exporter.certcheck.san import ServerNames
from exporter.certcheck.slot import Role
from exporter.certcheck.suitability import (
    Check,
    Status,
    check_dates,
    check_host,
    check_key_usage,
    check_names_kept,
    is_expiring,
    works,
)
from tests.authority import DAY, Authority, Issued, unreadable
from tests.fakes import NOON

SECOND = timedelta(seconds=1)
AUTHORITY = Authority()
CLIENT, SERVER, ANY = (
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
)
CLIENTS, SERVERS = (Role.UPSTREAM, Role.CLIENT), (Role.UPSTREAM_SERVER, Role.SERVER)


def valid(since: timedelta, left: timedelta, name: str = "leaf") -> Certificate:
    return Certificate("a" * 64, NOON + since, NOON + left, common_name=name)


@pytest.mark.parametrize(
    ("since", "left", "status"),
    [
        (-DAY, DAY, "pass"),
        (-DAY, timedelta(0), "pass"),
        (-DAY, -SECOND, "fail"),
        (timedelta(0), DAY, "pass"),
        (SECOND, DAY, "fail"),
    ],
)
def test_both_ends_of_the_validity_period_are_inclusive(since: timedelta, left: timedelta, status: str) -> None:
    assert check_dates([valid(since, left)], NOON).status == status


def test_every_certificate_of_a_chain_has_to_be_valid() -> None:
    leaf, expired = valid(-DAY, DAY), valid(-DAY, -SECOND, "the CA")
    assert check_dates([leaf, expired], NOON) == Check(Status.FAIL, "the CA expired at 2026-01-27T11:59:59Z")
    assert check_dates([leaf, valid(SECOND, DAY, "the CA")], NOON).detail.startswith("the CA is not valid before")
    assert "the CA is the first to expire" in check_dates([leaf, valid(-DAY, SECOND, "the CA")], NOON).detail


@pytest.mark.parametrize(
    ("left", "expiring"),
    [(30 * DAY + SECOND, False), (30 * DAY, True), (timedelta(0), True), (-SECOND, False)],
)
def test_expiring_is_the_threshold_inclusive(left: timedelta, *, expiring: bool) -> None:
    assert is_expiring([valid(-DAY, left), valid(-DAY, 400 * DAY)], ExpiryPolicy(), NOON) is expiring


def usage(**more: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**dict.fromkeys(names, False) | more)


def status_of(role: Role, *chain: Issued) -> str:
    return check_key_usage(links_of([each.der for each in chain]), role).status


@pytest.mark.parametrize(
    ("purposes", "clients", "servers"),
    [
        (None, "pass", "pass"),
        ([CLIENT], "pass", "fail"),
        ([SERVER], "fail", "pass"),
        ([CLIENT, SERVER], "pass", "pass"),
        ([ANY], "pass", "pass"),
        ([ExtendedKeyUsageOID.CODE_SIGNING], "fail", "fail"),
    ],
)
def test_the_extended_key_usage_decides_who_may_use_it(
    purposes: list[ObjectIdentifier] | None, clients: str, servers: str
) -> None:
    issued = AUTHORITY.issue("x", extensions=[x509.ExtendedKeyUsage(purposes)] if purposes else [])
    assert {status_of(role, issued) for role in CLIENTS} == {clients}
    assert {status_of(role, issued) for role in SERVERS} == {servers}


@pytest.mark.parametrize(
    ("key_usage", "status"),
    [
        ({"digital_signature": True}, "pass"),
        ({"digital_signature": True, "key_encipherment": True}, "pass"),
        ({"key_encipherment": True}, "fail"),
        ({"key_agreement": True}, "fail"),
    ],
)
@pytest.mark.parametrize("role", [*CLIENTS, *SERVERS])
def test_a_key_usage_has_to_allow_signatures(role: Role, key_usage: dict[str, bool], status: str) -> None:
    assert status_of(role, AUTHORITY.issue("x", extensions=[usage(**key_usage)])) == status


def test_what_an_issuer_is_not_for_nothing_that_it_issued_is_for() -> None:
    between = AUTHORITY.intermediate("between", 100 * DAY, x509.ExtendedKeyUsage([SERVER]))
    leaf = between.issue("x", extensions=[x509.ExtendedKeyUsage([CLIENT, SERVER])])
    assert status_of(Role.UPSTREAM, leaf, between.root) == "fail"
    assert status_of(Role.SERVER, leaf, between.root) == "pass"


@pytest.mark.parametrize("role", [*CLIENTS, *SERVERS])
def test_a_ca_is_no_leaf(role: Role) -> None:
    assert status_of(role, AUTHORITY.root) == "fail"


def test_extensions_that_cannot_be_read_leave_it_unknown() -> None:
    assert status_of(Role.CLIENT, unreadable(AUTHORITY, ExtensionOID.EXTENDED_KEY_USAGE)) == "unknown"


@pytest.mark.parametrize(
    ("names", "status"), [(ServerNames(("a.b",)), "pass"), (ServerNames(), "fail"), (None, "unknown")]
)
def test_a_host_has_to_be_among_the_names(names: ServerNames | None, status: str) -> None:
    assert check_host(names, "a.b").status == status


@pytest.mark.parametrize(
    ("names", "present", "status"),
    [
        (ServerNames(("a.b", "c.d")), ServerNames(("a.b",)), "pass"),
        (ServerNames(("c.d",)), ServerNames(("a.b",)), "fail"),
        (ServerNames(("a.b",)), ServerNames(), "unknown"),
        (None, ServerNames(("a.b",)), "unknown"),
        (ServerNames(("a.b",)), None, "unknown"),
    ],
)
def test_names_that_are_served_have_to_stay(
    names: ServerNames | None, present: ServerNames | None, status: str
) -> None:
    assert check_names_kept(names, present).status == status


def checks(dates: str, key: str, chain: str) -> dict[str, Check]:
    return {name: Check(Status(each), "") for name, each in (("dates", dates), ("key", key), ("chain", chain))}


EVERY = list(product(Role, Status, Status, Status, [None, *Status]))


@pytest.mark.parametrize(("role", "dates", "key", "chain", "rehearsal"), EVERY)
def test_it_works_if_nothing_fails_and_nothing_that_decides_is_unknown(
    role: Role, dates: str, key: str, chain: str, rehearsal: str | None
) -> None:
    heard = Check(Status(rehearsal), "") if rehearsal else None
    found = works(role, checks(dates, key, chain), heard)
    decides = [dates, *([key] if role in {Role.UPSTREAM, Role.SERVER} else [])]
    decides += [] if rehearsal == "pass" else [chain]
    if "fail" in {dates, key, chain, rehearsal}:
        assert found is False
    else:
        assert found is (None if "unknown" in decides else True)
