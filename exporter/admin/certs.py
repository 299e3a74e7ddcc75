"""`/certs`: a row for each slot, soonest to expire first."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any

from starlette.datastructures import QueryParams

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.expiry import State, days_remaining, days_since_expiry
from exporter.certcheck.inventory import Entry
from exporter.certcheck.slot import Role
from exporter.certcheck.text import rfc3339
from exporter.certcheck.users import users_of

_MOST_ROWS = 1000
_KEY_LENGTH = 9
_AT_ONCE = 1000
FILTERS = frozenset({"api_id", "role", "state", "expiring_within_days", "q"})
"""The parameters that choose rows."""

_PARAMETERS = FILTERS | {"sort", "limit", "cursor"}


_key: Callable[[tuple[tuple[str, ...], Entry]], tuple[str, ...]] = itemgetter(0)


class QueryError(ValueError):
    """A query parameter is wrong; the text says which, and what it may be."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows, and how many."""

    api_id: str | None = None
    role: Role | None = None
    state: State | None = None
    within: timedelta | None = None
    text: str = ""
    """That some name, reference, address, serial number or id has in it; case does not matter."""
    limit: int = 100
    after: tuple[str, ...] | None = None
    """The sort key of the last row that was seen."""


def parse(parameters: QueryParams, known: Collection[str] = _PARAMETERS) -> Query:
    """The query.

    Raises:
        QueryError: a parameter is unknown, repeated, or has a wrong value.
    """
    known_only(parameters, known)
    if parameters.get("sort", "expires_at") != "expires_at":
        raise QueryError("sort must be expires_at")
    within = parameters.get("expiring_within_days")
    return Query(
        parameters.get("api_id"),
        Role(one_of("role", parameters["role"], Role)) if "role" in parameters else None,
        State(one_of("state", parameters["state"], State)) if "state" in parameters else None,
        timedelta(days=whole("expiring_within_days", within, 0, 36500)) if within is not None else None,
        parameters.get("q", "").casefold(),
        whole("limit", parameters.get("limit", "100"), 1, _MOST_ROWS),
        _from_cursor(parameters["cursor"]) if parameters.get("cursor") else None,
    )


def page(entries: Iterable[Entry], query: Query, now: datetime) -> dict[str, Any]:
    """`{"certs": [...], "next": cursor or null}`. Blocks for tens of milliseconds with 20,000 slots."""
    chosen = in_order(entry for entry in entries if is_chosen(entry, query, now))
    rest = (item for item in chosen if query.after is None or item[0] > query.after)
    shown = [*islice(rest, query.limit)]
    following = cursor_of(shown[-1][0]) if next(rest, None) is not None else None
    return {"certs": [row(entry, now) for _, entry in shown], "next": following}


def detail(entries: Iterable[Entry], cert_id: str, now: datetime) -> dict[str, Any] | None:
    """One certificate and the slots that use it; None if none does."""
    users = [entry for _, entry in in_order(entry for entry in entries if entry.cert_id == cert_id)]
    certificate = users[0].reading.certificate if users else None
    if certificate is None:
        return None
    return {
        "cert_id": certificate.cert_id,
        "cert_name": certificate.cert_name,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial_number": certificate.serial_number,
        "sans": list(certificate.sans),
        "not_before": rfc3339(certificate.not_before),
        "expires_at": rfc3339(certificate.not_after),
        "days_remaining": days_remaining(certificate.not_after, now),
        "key_type": certificate.key_type,
        "signature_algorithm": certificate.signature_algorithm,
        "used_by": [user.shown() for user in users_of(((each.slot.api_id, each.usage) for each in users), now)],
        "slots": [row(entry, now) for entry in users],
    }


def in_order(entries: Iterable[Entry]) -> Iterator[tuple[tuple[str, ...], Entry]]:
    """With their sort keys. In parts: while twenty thousand are sorted at once nothing else runs."""
    keyed = [(soonest_first(entry), entry) for entry in entries]
    parts = (sorted(keyed[at : at + _AT_ONCE], key=_key) for at in range(0, len(keyed), _AT_ONCE))
    return merge(*parts, key=_key)


def row(entry: Entry, now: datetime) -> dict[str, Any]:
    """One slot. What is unknown is absent."""
    slot, certificate, reading = entry.slot, entry.reading.certificate, entry.reading
    observed_at = entry.usage.last_observed_at
    fields = {
        "api_id": slot.api_id,
        "cert_role": slot.role.value,
        "cert_ref": slot.cert_ref,
        "cert_id": certificate and certificate.cert_id,
        "cert_name": certificate and certificate.cert_name,
        "state": entry.state(now).value,
        "reason": entry.invalid and entry.invalid.value,
        "detail": reading.detail or None,
        "not_before": certificate and rfc3339(certificate.not_before),
        "expires_at": certificate and rfc3339(certificate.not_after),
        "days_remaining": certificate and days_remaining(certificate.not_after, now),
        **(_expired(certificate, now) if certificate else {}),
        "issuer": certificate and certificate.issuer,
        "serial_number": certificate and certificate.serial_number,
        "sans": list(certificate.sans) if certificate else None,
        "server_address": slot.server_address,
        "server_port": slot.server_port,
        "network_peer_address": slot.peer_address,
        "chain_position": entry.position and entry.position.value,
        "chain_index": slot.chain_index if entry.chain_length > 1 else None,
        "file_in_use": entry.file_in_use,
        "last_observed_at": observed_at and rfc3339(observed_at),
        "requests_last_hour": entry.requests(now),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _expired(certificate: Certificate, now: datetime) -> dict[str, str | int]:
    if now <= certificate.not_after:
        return {}
    expired_at, days = rfc3339(certificate.not_after), days_since_expiry(certificate.not_after, now)
    return {"expired_at": expired_at, "days_since_expiry": days}


def is_chosen(entry: Entry, query: Query, now: datetime) -> bool:
    """Whether it is one of those that were asked for."""
    slot, certificate = entry.slot, entry.reading.certificate
    return (
        query.api_id in (None, slot.api_id)
        and query.role in (None, slot.role)
        and query.state in (None, entry.state(now))
        and (query.within is None or (certificate is not None and certificate.not_after - now <= query.within))
        and (not query.text or any(query.text in each.casefold() for each in _texts(entry)))
    )


def _texts(entry: Entry) -> Iterator[str]:
    slot, certificate = entry.slot, entry.reading.certificate
    texts: tuple[str | None, ...] = (slot.api_id, slot.cert_ref, slot.server_address, slot.peer_address)
    if certificate is not None:
        names = (certificate.cert_id, certificate.subject, certificate.issuer, certificate.serial_number)
        texts = (*texts, certificate.cert_name, *names, *certificate.sans)
    yield from filter(None, texts)


def soonest_first(entry: Entry) -> tuple[str, ...]:
    """A sort key: soonest to expire first; what has no date at all before that, for it needs somebody most."""
    slot, certificate = entry.slot, entry.reading.certificate
    # Of one length, so that text sorts as time.
    expires_at = rfc3339(certificate.not_after) if certificate else ""
    place = (slot.api_id or "", slot.role.value, slot.cert_ref or "", slot.server_address or "")
    node = f"{slot.server_port or 0:05}", slot.peer_address or ""
    return expires_at, *place, *node, slot.cert_name or "", f"{slot.chain_index:05}"


def cursor_of(key: tuple[str, ...]) -> str:
    """Where a page ends, as a parameter."""
    return base64.urlsafe_b64encode("\0".join(key).encode()).decode()


def _from_cursor(cursor: str) -> tuple[str, ...]:
    try:
        key = tuple(base64.b64decode(cursor, b"-_", validate=True).decode().split("\0"))
    except ValueError:
        key = ()
    if len(key) != _KEY_LENGTH:
        raise QueryError("cursor must be the next of an earlier answer")
    return key


def known_only(parameters: QueryParams, known: Collection[str]) -> None:
    """Refuse what is not a parameter, and what is given twice.

    Raises:
        QueryError: there is one.
    """
    names = [name for name, _ in parameters.multi_items()]
    for name in names:
        if name not in known:
            raise QueryError(f"{name!r} is not a parameter; known here: {', '.join(sorted(known))}")
        if names.count(name) > 1:
            raise QueryError(f"{name} is given twice")


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """The value, which is one of the known.

    Raises:
        QueryError: it is not.
    """
    values = [str(each) for each in known]
    if value not in values:
        raise QueryError(f"{name} must be one of {', '.join(values)}")
    return value


def whole(name: str, text: str, least: int, most: int) -> int:
    """The number.

    Raises:
        QueryError: it is none, or not within these bounds.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise QueryError(f"{name} must be a whole number from {least} to {most}")
    return int(text)
