from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.certcheck.fail_open import FailOpenCooldowns
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.cooldowns.redis import RedisCooldowns
from tests.certcheck.cooldown_conformance import SharedCooldownConformance, Two
from tests.fakes import NOON, FakeClock
from tests.redis_server import RedisServer, ServerClock, fake_time, redis


@dataclass(frozen=True)
class Timed:
    server: RedisServer
    clock: ServerClock


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timed]:
    """A server whose clock is the tests'."""
    directory: Path = tmp_path_factory.mktemp("redis")
    clock = ServerClock(directory / "clock")
    with redis(directory, environment=fake_time(directory / "clock")) as server:
        yield Timed(server, clock)


class TestRedisCooldowns(SharedCooldownConformance):
    """In the server's time; this process's clock has no part in it."""

    @pytest.fixture
    def clock(self, timed: Timed) -> FakeClock:
        timed.clock.set(NOON)
        return timed.clock

    @pytest.fixture
    def two(self, timed: Timed, clock: FakeClock) -> Two:
        server = timed.server.server(prefix=str(uuid.uuid4()))
        return Two(RedisCooldowns(server), RedisCooldowns(server))


class TestFailOpenCooldownsOverRedis(TestRedisCooldowns):
    @pytest.fixture
    def two(self, timed: Timed, clock: FakeClock) -> Iterator[Two]:
        server, tally = timed.server.server(prefix=str(uuid.uuid4())), Tally()
        one, other = (FailOpenCooldowns(RedisCooldowns(server), clock, tally) for _ in range(2))
        yield Two(one, other)
        assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 0
