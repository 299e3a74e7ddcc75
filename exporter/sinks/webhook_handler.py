"""A webhook as the dispatcher's handler: one event in one request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from exporter.attempts import Attempt
from exporter.outbox import Delivery
from exporter.sinks.webhook import Receiver, WebhookSink


class WebhookHandler:
    """Delivers to one receiver, one event after the other."""

    at_once = 1

    def __init__(self, receiver: Receiver, sink: WebhookSink) -> None:
        self.receiver = receiver
        self._sink = sink

    async def deliver(self, deliveries: Sequence[Delivery], at: datetime) -> Sequence[Attempt]:
        return [await self._sink.deliver(each.record.payload, each.record.event_id, at) for each in deliveries]

    async def close(self) -> None:
        await self._sink.close()
