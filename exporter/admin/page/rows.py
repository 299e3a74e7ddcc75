"""Rows of the page: a certificate in one role and one state, wherever it is used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from exporter.admin.certs import Query, in_order, is_chosen
from exporter.admin.page.words import left
from exporter.certcheck.events import REASON_WORDS
from exporter.certcheck.expiry import State
from exporter.certcheck.inventory import Entry
from exporter.certcheck.slot import Role, Slot
from exporter.certcheck.users import users_of


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The slots that one row stands for: thousands of APIs may trust one CA."""

    key: tuple[str, ...]
    """Sorts it, and tells it from others: that of its first slot."""
    state: State
    entries: list[Entry]

    @property
    def not_after(self) -> datetime | None:
        """When it expires, if that could be read."""
        certificate = self.entries[0].reading.certificate
        return certificate.not_after if certificate else None

    @property
    def name(self) -> str:
        """Of the certificate; of what is known, where it could not be read."""
        certificate = self.entries[0].reading.certificate
        return certificate.cert_name if certificate else self.entries[0].identity


@dataclass(frozen=True, slots=True)
class Row:
    """A group as it is shown."""

    state: State
    reason: str
    """Why it cannot be used, in words; empty: it can."""
    detail: str
    cert_id: str | None
    name: str
    refs: tuple[str, ...]
    role: Role
    api_ids: tuple[str | None, ...]
    """None: the gateway itself."""
    places: tuple[str, ...]
    position: str | None
    not_after: datetime | None
    left: str
    used_at: datetime | None
    requests: int | None
    """None: nobody counts them."""
    file_differs: bool
    """A file holds another certificate than the one that is used."""
    only_watched: bool
    """Nothing here uses it."""


def groups(entries: Iterable[Entry], now: datetime) -> list[Group]:
    """All rows, soonest to expire first. Blocks for tens of milliseconds with thousands of slots."""
    found: dict[object, Group] = {}
    for key, entry in in_order(entries):
        state = entry.state(now)
        what = entry.identity, entry.slot.role, state, entry.invalid
        group = found.get(what)
        if group is None:
            found[what] = Group(key, state, [entry])
        else:
            group.entries.append(entry)
    return list(found.values())


def chosen(every: Iterable[Group], query: Query, now: datetime) -> list[Group]:
    """The rows of which some slot was asked for; they show their other slots, too."""
    return [group for group in every if any(is_chosen(entry, query, now) for entry in group.entries)]


def row(group: Group, now: datetime) -> Row:
    """What is shown of it."""
    entries = group.entries
    first = entries[0]
    used_at, requests = _use(entries, now)
    return Row(
        group.state,
        REASON_WORDS[first.invalid] if first.invalid else "",
        next((each.reading.detail for each in entries if each.reading.detail), ""),
        first.cert_id,
        group.name,
        _distinct(each.slot.cert_ref for each in entries),
        first.slot.role,
        tuple(dict.fromkeys(each.slot.api_id for each in entries)),
        _distinct(place_of(each.slot) for each in entries),
        first.position.value if first.position else None,
        group.not_after,
        left(group.not_after, now) if group.not_after else "",
        used_at,
        requests,
        any(each.file_in_use is False for each in entries),
        all(each.is_only_watched for each in entries),
    )


def place_of(slot: Slot) -> str | None:
    """The server that is involved, as people write it; None: none is."""
    if slot.server_address is None:
        return slot.peer_address
    address = f"[{slot.server_address}]" if ":" in slot.server_address else slot.server_address
    return address if slot.server_port is None else f"{address}:{slot.server_port}"


def _use(entries: list[Entry], now: datetime) -> tuple[datetime | None, int | None]:
    users = users_of(((each.slot.api_id, each.usage) for each in entries), now)
    used_at = max((user.last_observed_at for user in users if user.last_observed_at), default=None)
    counted = any(each.requests(now) is not None for each in entries)
    return used_at, sum(user.requests_last_hour for user in users) if counted else None


def _distinct(texts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, texts)))
