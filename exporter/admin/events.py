"""`/events`: what was announced, and how its deliveries go; and an event that only tests them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.datastructures import QueryParams

from exporter.admin.certs import known_only, one_of, whole
from exporter.certcheck.events import EventKind
from exporter.certcheck.text import rfc3339
from exporter.outbox import Delivery, Record
from exporter.sinks.samples import sample

_MOST_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Query:
    """Which events, and how many."""

    api_id: str | None = None
    limit: int = 100


def parse(parameters: QueryParams) -> Query:
    """The query.

    Raises:
        QueryError: a parameter is unknown, repeated, or has a wrong value.
    """
    known_only(parameters, frozenset({"api_id", "limit"}))
    return Query(parameters.get("api_id"), whole("limit", parameters.get("limit", "100"), 1, _MOST_SHOWN))


def parse_test(parameters: QueryParams) -> tuple[str | None, EventKind]:
    """For which API, None for the gateway itself, and of which kind.

    Raises:
        QueryError: as above.
    """
    known_only(parameters, frozenset({"api_id", "event"}))
    kind = one_of("event", parameters.get("event", EventKind.EXPIRING_SOON), EventKind)
    return parameters.get("api_id"), EventKind(kind)


def page(found: Iterable[tuple[Record, list[Delivery]]]) -> dict[str, Any]:
    """`{"events": [...]}`, newest first: each event's payload, and its deliveries."""
    return {"events": [{**record.payload, "deliveries": [_shown(each) for each in all_]} for record, all_ in found]}


def test_record(api_id: str | None, kind: EventKind, now: datetime) -> Record:
    """An event that says that it is none. It starts no cooldown."""
    payload = {
        **sample(kind).payload(),
        "event_id": str(uuid.uuid4()),
        "timestamp": rfc3339(now),
        "message": "This is a test of the event handlers: no certificate is meant",
        "test": True,
    }
    payload = {key: value for key, value in payload.items() if key != "api_id"} | ({"api_id": api_id} if api_id else {})
    return Record(payload["event_id"], api_id, kind, now, payload, {}, None, timedelta(0))


def _shown(delivery: Delivery) -> dict[str, Any]:
    fields = {
        # Of whose list it is shows in the event.
        "handler": delivery.handler.rpartition("/")[2],
        "outcome": delivery.outcome.value if delivery.outcome else "pending",
        "attempts": delivery.attempts,
        "next_attempt_at": rfc3339(delivery.next_at) if delivery.outcome is None else None,
        "settled_at": delivery.settled_at and rfc3339(delivery.settled_at),
        "error": delivery.error or None,
    }
    return {key: value for key, value in fields.items() if value is not None}
