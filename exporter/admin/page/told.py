"""Recent events, and how their deliveries go, as they are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from exporter.admin.page.words import KINDS, OUTCOMES, Word, count, minute
from exporter.outbox import Delivery, Outcome, Record


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery."""

    handler: str
    outcome: Word
    works: bool
    more: str


@dataclass(frozen=True, slots=True)
class Event:
    """What was announced."""

    at: datetime
    kind: Word
    message: str
    is_test: bool
    api_id: str | None
    cert_id: str | None
    name: str
    deliveries: tuple[Told, ...]


Found: TypeAlias = Iterable[tuple[Record, list[Delivery]]]


def events(found: Found) -> list[Event]:
    """As they come: newest first."""
    return [_event(record, deliveries) for record, deliveries in found]


def of_certificate(found: Found, cert_id: str, most: int) -> list[Event]:
    """Those that tell of one certificate."""
    return events([each for each in found if each[0].payload.get("cert_id") == cert_id][:most])


def unheard(found: Found) -> dict[str, str]:
    """The handlers whose last attempt has failed, with why."""
    last: dict[str, Delivery] = {}
    for _, deliveries in found:
        for each in deliveries:
            if each.outcome is not None or each.attempts:
                last.setdefault(each.handler, each)
    failed = {handler: each for handler, each in last.items() if each.outcome is not Outcome.DELIVERED}
    return {handler.lstrip("/"): each.error or OUTCOMES[each.outcome].text for handler, each in failed.items()}


def _event(record: Record, deliveries: Iterable[Delivery]) -> Event:
    payload = record.payload
    return Event(
        record.announced_at,
        KINDS[record.kind],
        str(payload.get("message", "")),
        payload.get("test") is True,
        record.api_id,
        payload.get("cert_id"),
        str(payload.get("cert_name") or payload.get("cert_ref") or ""),
        tuple(_told(each) for each in deliveries),
    )


def _told(delivery: Delivery) -> Told:
    more = [count(delivery.attempts, "attempt")] if delivery.attempts > 1 else []
    if delivery.outcome is None and delivery.attempts:
        more.append(f"next {minute(delivery.next_at)}")
    if delivery.error and delivery.outcome is not Outcome.DELIVERED:
        more.append(delivery.error)
    works = delivery.outcome in {None, Outcome.DELIVERED}
    return Told(delivery.handler.rpartition("/")[2], OUTCOMES[delivery.outcome], works, ", ".join(more))
