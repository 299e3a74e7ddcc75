"""Whether a certificate would work in a place: the rules that need nothing but the certificate."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from exporter.certcheck.certificate import Certificate, Reading
from exporter.certcheck.expiry import ExpiryPolicy, State, judge
from exporter.certcheck.issuing import Link
from exporter.certcheck.san import ServerNames
from exporter.certcheck.slot import Role
from exporter.certcheck.text import printable, rfc3339

_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
_SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
_ANY_USAGE = "2.5.29.37.0"
_SIGNS = "digitalSignature"

_AS_SERVER = frozenset({Role.UPSTREAM_SERVER, Role.SERVER})
PRESENTED_BY_US = frozenset({Role.UPSTREAM, Role.SERVER})
"""Roles in which this gateway itself needs the private key."""


class Status(StrEnum):
    """What came of one check."""

    PASS = "pass"  # noqa: S105 a result, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One question, answered: for a person in `detail`, which never holds a secret."""

    status: Status
    detail: str


def passes(detail: str) -> Check:
    """It is as it should be."""
    return Check(Status.PASS, detail)


def fails(detail: str) -> Check:
    """It would not work."""
    return Check(Status.FAIL, detail)


def unknown(detail: str) -> Check:
    """It cannot be told from here."""
    return Check(Status.UNKNOWN, detail)


def check_dates(certificates: Sequence[Certificate], now: datetime) -> Check:
    """Whether all of them are valid at `now`. RFC 5280 section 4.1.2.5 makes both ends inclusive."""
    for each in certificates:
        if now > each.not_after:
            return fails(f"{each.cert_name} expired at {rfc3339(each.not_after)}")
        if now < each.not_before:
            return fails(f"{each.cert_name} is not valid before {rfc3339(each.not_before)}")
    first = min(certificates, key=lambda each: each.not_after)
    return passes(f"all are valid; {first.cert_name} is the first to expire, at {rfc3339(first.not_after)}")


def check_key_usage(path: Sequence[Link], role: Role) -> Check:
    """Whether the first of a path may be used in a role, and each of its issuers may issue for it.

    RFC 5280 sections 4.2.1.3, 4.2.1.9 and 4.2.1.12. RFC 8446 section 4.4.2.2 wants digitalSignature of a leaf. As
    OpenSSL takes it, what an issuer is not for, nothing that it issued is for.
    """
    leaf = path[0].certificate
    if not all(_has_readable_extensions(each) for each in path):
        return unknown("the extensions of a certificate cannot be read")
    if leaf.is_ca:
        return fails("it is the certificate of a CA, not of a server or client")
    if leaf.key_usages is not None and _SIGNS not in leaf.key_usages:
        return fails(f"its key usage is {_listed(leaf.key_usages)}, without digitalSignature")
    purpose = "servers" if role in _AS_SERVER else "clients"
    for each in path:
        if not is_meant_for(each.certificate, role):
            return fails(f"the extended key usage of {each.certificate.cert_name} does not allow {purpose}")
    return passes(f"it may be used by {purpose}")


def is_meant_for(certificate: Certificate, role: Role) -> bool:
    """Whether its extended key usage, if it has one, allows a role."""
    usages = certificate.extended_key_usages
    return usages is None or bool({_ANY_USAGE, _SERVER_AUTH if role in _AS_SERVER else _CLIENT_AUTH} & {*usages})


def check_host(names: ServerNames | None, host: str) -> Check:
    """Whether names are for a host (RFC 9525 section 6)."""
    if names is None:
        return unknown("its names cannot be read")
    return passes(f"it is for {host}") if names.match(host) else fails(f"it is for {names}, not for {host}")


def check_names_kept(names: ServerNames | None, present: ServerNames | None) -> Check:
    """Whether every name that is served at present stays served."""
    if names is None or present is None:
        return unknown("the names of one of the two certificates cannot be read")
    if not len(present):
        return unknown("the certificate in use has no names to compare with")
    missing = printable(", ".join(names.missing(present)))
    if missing:
        return fails(f"it is not for {missing}, which the certificate in use is for")
    return passes(f"it is for {present}, as the certificate in use is")


def works(role: Role, checks: Mapping[str, Check], rehearsal: Check | None = None) -> bool | None:
    """Whether a certificate would work, by all that was found; None: something that decides is unknown.

    A key is needed only where it is us who present the certificate. Being let in is better evidence than any guess at
    what the upstream trusts.
    """
    found = [*checks.values(), *([rehearsal] if rehearsal else [])]
    if any(each.status is Status.FAIL for each in found):
        return False
    open_questions = {name for name, each in checks.items() if each.status is Status.UNKNOWN}
    if role not in PRESENTED_BY_US:
        open_questions.discard("key")
    if rehearsal is not None and rehearsal.status is Status.PASS:
        open_questions.discard("chain")
    return None if open_questions else True


def is_expiring(certificates: Iterable[Certificate], policy: ExpiryPolicy, now: datetime) -> bool:
    """Whether one of them is within its threshold, and none has expired."""
    states = {judge(Reading(each), policy, now) for each in certificates}
    return State.EXPIRED not in states and State.EXPIRING in states


def _has_readable_extensions(link: Link) -> bool:
    try:
        return link.parsed.extensions is not None
    except Exception:  # the library raises many kinds for extensions that it cannot read
        return False


def _listed(usages: Collection[str]) -> str:
    return ", ".join(usages) or "empty"
