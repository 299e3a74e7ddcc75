"""The domain's tests. Certificates here are values; real ones are where bytes matter."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import sha256

from exporter.certcheck.certificate import Certificate, InvalidReason, Reading
from exporter.certcheck.events import ExpiryEvent
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.ports import CooldownKey
from exporter.certcheck.slot import Observation, Role
from tests.fakes import NOON

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


def certificate(
    left: timedelta = 100 * DAY, lifetime: timedelta = 365 * DAY, name: str = "orders", now: datetime = NOON
) -> Certificate:
    """A certificate with `left` to go at `now`; its identity is its name and its end."""
    not_after = now + left
    cert_id = sha256(f"{name} {not_after}".encode()).hexdigest()
    return Certificate(cert_id, not_after - lifetime, not_after, common_name=name)


def fine(left: timedelta = 100 * DAY, name: str = "orders") -> Reading:
    return Reading(certificate(left, name=name))


def unusable(reason: InvalidReason, read: Certificate | None = None) -> Reading:
    return Reading(read, reason)


def seen(
    *chain: Reading,
    api_id: str | None = "orders",
    role: Role = Role.UPSTREAM,
    ref: str | None = "orders-client",
    address: str | None = None,
) -> Observation:
    """A chain in use, by default the client certificate of one API."""
    return Observation(api_id, role, chain, ref, address, 8443 if address else None)


def no_cooldowns(**others: timedelta) -> ExpiryPolicy:
    """A policy that judges at every flush and repeats every event, unless told."""
    return ExpiryPolicy(**{"check_cooldown": timedelta(0), "event_cooldown": timedelta(0), **others})  # type: ignore[arg-type]


class HangingCooldowns:
    """A store that never answers."""

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        await asyncio.Event().wait()
        return None

    async def renew(self, keys: Collection[CooldownKey], lease: timedelta) -> None:
        await asyncio.Event().wait()

    async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
        await asyncio.Event().wait()

    async def release(self, key: CooldownKey) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        await asyncio.Event().wait()


class HangingSink:
    """Takes no event and gives no answer."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def emit(self, event: ExpiryEvent) -> bool:
        self.reached.set()
        await asyncio.Event().wait()
        return True
