"""Cooldowns in Redis or Valkey, shared by all replicas that use the same server, database and prefix."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection
from datetime import timedelta
from hashlib import sha256
from typing import Any

from exporter.certcheck.ports import LONGEST, CooldownKey
from exporter.cooldowns.connection import RedisConnection, Server, StoreRefusedError
from exporter.cooldowns.scripts import CLAIM, PRESENT, RELEASE, RENEW, START

_LONGEST_ID = 128


class RedisCooldowns:
    """The server's clock alone counts, and each verb is one script. `clock` is monotonic, for what waits here."""

    def __init__(self, server: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = RedisConnection(server, clock)
        self._prefix = f"certgauge:{server.url.prefix}:cooldown:"
        self._owner = str(uuid.uuid4())

    async def claim(self, key: CooldownKey, event_id: str, lease: timedelta, cooldown: timedelta) -> str | None:
        call = (self._name(key), self._owner, event_id, _milliseconds(lease), _milliseconds(cooldown))
        [taken] = await self._connection.run(CLAIM, [call])
        return None if taken is None else _event_id(taken)

    async def renew(self, keys: Collection[CooldownKey], lease: timedelta) -> None:
        calls = [(self._name(key), self._owner, _milliseconds(lease)) for key in keys]
        if calls:
            await self._connection.run(RENEW, calls)
        else:
            await self._connection.run(PRESENT, [(f"{self._prefix}none",)])

    async def start(self, key: CooldownKey, cooldown: timedelta) -> None:
        await self._connection.run(START, [(self._name(key), _milliseconds(cooldown))])

    async def release(self, key: CooldownKey) -> None:
        await self._connection.run(RELEASE, [(self._name(key), self._owner)])

    async def close(self) -> None:
        await self._connection.close()

    def _name(self, key: CooldownKey) -> str:
        # JSON tells null from "null" and where each part ends; its digest has one length and nothing to escape.
        return self._prefix + sha256(json.dumps(key).encode()).hexdigest()


def _milliseconds(duration: timedelta) -> int:
    return max(0, min(duration, LONGEST) // timedelta(milliseconds=1))


def _event_id(taken: Any) -> str:
    """Of a claim that lapsed, whoever wrote it."""
    try:
        event_id: str = taken.decode("ascii")
    except (AttributeError, UnicodeDecodeError):
        raise StoreRefusedError from None
    if len(event_id) > _LONGEST_ID or not event_id.isprintable():
        raise StoreRefusedError
    return event_id
