"""Where cooldowns and undelivered events are kept: opened at the start, closed at the end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from exporter.certcheck.cooldown import MemoryCooldowns
from exporter.certcheck.fail_open import FailOpenCooldowns
from exporter.certcheck.ports import Clock, CooldownStore
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.outbox import Outbox
from exporter.problems import ConfigError, Problem
from exporter.settings import Settings
from exporter.state.cooldowns import SqliteCooldowns
from exporter.state.database import Database
from exporter.state.file import StateFile
from exporter.state.memory_outbox import MemoryOutbox
from exporter.state.outbox import SqliteOutbox
from exporter.state.place import Place
from exporter.state.schema import RefusedError
from exporter.state_files import redis_url

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept, and whether it can be."""

    outbox: Outbox
    cooldowns: CooldownStore
    failing: Callable[[], bool]
    """Whether something that should outlast the process would not, or is not shared as it should be."""


@asynccontextmanager
async def stores(place: Place, shared: CooldownStore | None, clock: Clock, tally: Tally) -> AsyncIterator[Stores]:
    """The stores of one process. Cooldowns are kept in `shared`, if there is such a store, else beside the events.

    Raises:
        ConfigError: the state file must not be used: another process has it, or a later version has written it.
    """
    log.info(place.sentence, extra={"file": place.file and place.file.name})
    async with AsyncExitStack() as stack:
        if place.file is None:
            outbox: Outbox = MemoryOutbox()
            cooldowns: CooldownStore = MemoryCooldowns(clock)
            failing: Callable[[], bool] = lambda: False  # noqa: E731 one of two
        else:
            database = Database(StateFile(place.file), lambda: tally.error(ErrorReason.STATE_FAILED))
            outbox, cooldowns = SqliteOutbox(database), SqliteCooldowns(database, clock)
            failing = lambda: database.failing  # noqa: E731
            try:
                await database.open()
            except RefusedError as exc:
                raise ConfigError([Problem(str(place.file), "", str(exc))]) from None
            stack.push_async_callback(database.close)
        kept = FailOpenCooldowns(shared or cooldowns, clock, tally)
        stack.push_async_callback(kept.close)
        stack.push_async_callback(outbox.close)
        yield Stores(outbox, kept, lambda: failing() or kept.failing)


def shared_cooldowns(settings: Settings) -> CooldownStore | None:
    """The store that replicas share; None: none is configured."""
    url = redis_url(settings.configuration)
    if url is None:
        return None
    from exporter.cooldowns.connection import Server
    from exporter.cooldowns.redis import RedisCooldowns

    directory, password_file = settings.file.parent, settings.configuration.state_password_file
    password = directory / password_file if password_file else None
    return RedisCooldowns(Server(url, password, directory / url.ca_file if url.ca_file else None))


def shown_of(settings: Settings, place: Place) -> str:
    """Which stores are used, for people. Not where they are: anybody may see this."""
    return (settings.configuration.state or str(place)).partition(":")[0]
