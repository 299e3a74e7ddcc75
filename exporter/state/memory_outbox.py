"""An outbox that ends with the process."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from exporter.outbox import Delivery, Record
from exporter.state.ledger import Ledger


class MemoryOutbox:
    """Nothing that is written down here outlasts the process."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self._ledger = ledger or Ledger()

    async def put(self, record: Record, handlers: Collection[str]) -> list[Delivery]:
        return self._ledger.put(record, handlers)

    async def due(self, handler: str, now: datetime, limit: int) -> list[Delivery]:
        return self._ledger.due(handler, now, limit)

    async def next_at(self, handler: str) -> datetime | None:
        return self._ledger.next_at(handler)

    async def attempted(self, deliveries: Collection[Delivery]) -> list[Record]:
        return self._ledger.attempted(deliveries)

    async def settled(self, event_ids: Collection[str]) -> list[Record]:
        return self._ledger.settled(event_ids)

    async def pending(self) -> list[Record]:
        return self._ledger.pending()

    def backlog(self) -> Mapping[str, int]:
        return self._ledger.backlog()

    async def recent(self, limit: int, api_id: str | None = None) -> list[tuple[Record, list[Delivery]]]:
        return self._ledger.recent(limit, api_id)

    async def close(self) -> None:
        """Nothing to wait for."""
