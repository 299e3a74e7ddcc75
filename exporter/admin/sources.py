"""What the endpoints translate to HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.admin.health import Facts
from exporter.catalog import Catalog
from exporter.certcheck.inventory import Inventory
from exporter.certcheck.ports import Clock
from exporter.dispatcher import Dispatcher
from exporter.gateway import Gateway
from exporter.outbox import Outbox
from exporter.telemetry.sample import Sampler


@dataclass(frozen=True, slots=True)
class Admin:
    """All that is administered, and how it is."""

    catalog: Catalog
    gateway: Gateway
    inventory: Inventory
    sampler: Sampler
    clock: Clock
    token: Callable[[], bytes | None]
    not_ready: Callable[[], str | None]
    """Why no traffic should come here yet, or any more; None: it may."""
    health: Callable[[], Facts]
    outbox: Outbox
    dispatcher: Dispatcher
