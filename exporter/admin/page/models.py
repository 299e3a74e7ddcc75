"""What the templates show, worked out of what there is now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from exporter.admin.certs import Query, cursor_of, in_order
from exporter.admin.certs import row as slot_row
from exporter.admin.page.filters import Filters
from exporter.admin.page.rows import Group, Row, chosen, groups, row
from exporter.admin.page.timeline import timeline
from exporter.certcheck.expiry import State
from exporter.certcheck.inventory import Entry
from exporter.certcheck.slot import Role
from exporter.certcheck.users import users_of

_MOST_OFFERED = 200
"""APIs that the form proposes: the list is part of the page."""
_MOST_OF_AN_API = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the rows, and where the rest is."""

    rows: list[Row]
    first: int
    """Counted from 1."""
    total: int
    previous: str | None
    """The cursor of the rows before these; empty: they are the first. None: there are none."""
    following: str | None


def part(every: Sequence[Group], query: Query, now: datetime) -> Part:
    """Those behind the cursor. Where it points to has not to be there any more."""
    start = sum(group.key <= query.after for group in every) if query.after else 0
    end = start + query.limit
    before = max(start - query.limit, 0)
    return Part(
        [row(group, now) for group in every[start:end]],
        start + 1,
        len(every),
        (cursor_of(every[before - 1].key) if before else "") if start else None,
        cursor_of(every[end - 1].key) if end < len(every) else None,
    )


def overview(entries: Iterable[Entry], asked: Filters, now: datetime) -> dict[str, Any]:
    """Of the first page. Blocks for tens of milliseconds with thousands of certificates."""
    every = groups(entries, now)
    shown = chosen(every, asked.query, now)
    return {
        "counts": counts(every),
        "timeline": timeline(shown, now),
        "part": part(shown, asked.query, now),
        "all": len(every),
        "offered": _offered(every),
    }


def counts(every: Iterable[Group]) -> Mapping[State, int]:
    """How many rows are in each state."""
    return Counter(group.state for group in every)


def of_api(entries: Iterable[Entry], api_id: str, now: datetime) -> dict[str, Any]:
    """The certificates of one API, and for each role the one that limits its path."""
    every = groups((entry for entry in entries if entry.slot.api_id == api_id), now)
    return {
        "counts": counts(every),
        "timeline": timeline(every, now),
        "part": part(every, Query(limit=_MOST_OF_AN_API), now),
        "limits": [(role, row(group, now)) for role, group in _limits(every).items()],
    }


def of_certificate(entries: Iterable[Entry], cert_id: str, now: datetime) -> dict[str, Any] | None:
    """One certificate, and who uses it where; None: nobody does."""
    mine = [entry for _, entry in in_order(entry for entry in entries if entry.cert_id == cert_id)]
    if not mine:
        return None
    return {
        "certificate": mine[0].reading.certificate,
        "rows": [row(group, now) for group in groups(mine, now)],
        "users": users_of(((entry.slot.api_id, entry.usage) for entry in mine), now),
        "slots": [slot_row(entry, now) for entry in mine],
    }


def _limits(every: Iterable[Group]) -> dict[Role, Group]:
    """They come soonest first."""
    limits: dict[Role, Group] = {}
    for group in every:
        if group.not_after is not None and group.state is not State.SUPERSEDED:
            limits.setdefault(group.entries[0].slot.role, group)
    return {role: limits[role] for role in Role if role in limits}


def _offered(every: Iterable[Group]) -> list[str]:
    api_ids = sorted({entry.slot.api_id for group in every for entry in group.entries if entry.slot.api_id})
    return api_ids if len(api_ids) <= _MOST_OFFERED else []
