"""Redis when it is stopped, frozen and started again: nothing waits for it, and nothing is lost or told twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from exporter.certcheck.fail_open import FailOpenCooldowns
from exporter.certcheck.ports import CooldownKey
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.cooldowns.breaker import FAILURES, PROBE_SECONDS
from exporter.cooldowns.connection import EXCHANGE_SECONDS, Server, StoreUnreachableError
from exporter.cooldowns.redis import RedisCooldowns
from exporter.redis_url import RedisUrl
from tests.certcheck.cooldown_conformance import HOUR, KEY, MINUTE, claim, tell
from tests.fakes import FakeClock
from tests.pauses import longest_pause_ms
from tests.redis_server import RedisServer, redis

LEASE = timedelta(milliseconds=200)
KEYS = [KEY._replace(cert_id=str(number)) for number in range(500)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RedisServer]:
    with redis(tmp_path) as server:
        yield server


class Replica:
    """A process that tells events, and what it has told. `later` passes the time until a server is tried again."""

    def __init__(self, server: RedisServer) -> None:
        self.tally = Tally()
        self.told: list[CooldownKey] = []
        self._now = 0.0
        self.cooldowns = FailOpenCooldowns(RedisCooldowns(server.server(), lambda: self._now), FakeClock(), self.tally)

    @property
    def failures(self) -> int:
        return self.tally.errors[ErrorReason.COOLDOWN_STORE_FAILED]

    def later(self) -> None:
        self._now += PROBE_SECONDS

    async def tell(self, keys: Sequence[CooldownKey]) -> None:
        for key in keys:
            if await claim(self.cooldowns, key) is not None:
                # As a sink that takes it.
                await asyncio.sleep(0)
                self.told.append(key)
                await self.cooldowns.start(key, HOUR)

    async def recover(self) -> None:
        """Ask until nothing is left to be written through, as renewing leases does."""
        self.later()
        for _ in range(len(KEYS) // 10 + 1):
            await self.cooldowns.renew([], MINUTE)


async def test_nothing_is_lost_or_told_twice_while_redis_is_frozen_stopped_and_started_again(
    served: RedisServer,
) -> None:
    first, second = Replica(served), Replica(served)
    async with longest_pause_ms() as pause:
        await first.tell(KEYS[:100])
        await asyncio.to_thread(served.freeze)
        await first.tell(KEYS[100:200])
        served.thaw()
        await first.recover()
        assert not first.cooldowns.failing
        await first.tell(KEYS[200:300])
        await asyncio.to_thread(served.stop)
        await first.tell(KEYS[300:400])
        await asyncio.to_thread(served.start)
        await first.recover()
        assert not first.cooldowns.failing
        await first.tell(KEYS[400:])
        await first.tell(KEYS)
        # Who was not there finds all of it, though the server has come back empty.
        await second.tell(KEYS)
    print(f"longest pause {pause.ms:.1f} ms, {first.failures} failures")  # noqa: T201 (what was measured)
    for each in (first, second):
        await each.cooldowns.close()

    assert (first.told, second.told) == (KEYS, [])
    assert second.failures == 0
    assert pause.ms < 100


async def test_two_replicas_lose_nothing_while_redis_comes_and_goes_and_tell_twice_what_they_could_not_share(
    served: RedisServer,
) -> None:
    replicas = [Replica(served), Replica(served)]

    async def tell(keys: Sequence[CooldownKey]) -> None:
        await asyncio.gather(*(each.tell(keys) for each in replicas))

    async with longest_pause_ms() as pause:
        await tell(KEYS[:100])
        await asyncio.to_thread(served.freeze)
        await tell(KEYS[100:150])
        served.thaw()
        await asyncio.gather(*(each.recover() for each in replicas))
        await tell(KEYS[150:250])
        await asyncio.to_thread(served.stop)
        await tell(KEYS[250:300])
        await asyncio.to_thread(served.start)
        await asyncio.gather(*(each.recover() for each in replicas))
        await tell(KEYS[300:])
        await tell(KEYS)
    times = Counter(key for each in replicas for key in each.told)
    twice = [key for key in KEYS if times[key] == 2]
    print(f"longest pause {pause.ms:.1f} ms, {len(twice)} told twice")  # noqa: T201 (what was measured)
    for each in replicas:
        await each.cooldowns.close()

    assert times.keys() == set(KEYS)
    assert max(times.values()) == 2
    assert set(twice) <= {*KEYS[100:150], *KEYS[250:300]}
    assert pause.ms < 100


async def test_a_frozen_server_costs_three_waits_and_then_one_every_five_seconds(served: RedisServer) -> None:
    replica = Replica(served)
    await replica.tell(KEYS[:1])
    served.freeze()
    took = []
    for key in KEYS[1:101]:
        before = time.monotonic()
        assert await claim(replica.cooldowns, key)
        took.append(time.monotonic() - before)
    replica.later()
    before = time.monotonic()
    assert await asyncio.gather(*(claim(replica.cooldowns, key) for key in KEYS[101:201]))
    probe = time.monotonic() - before
    served.thaw()
    await replica.cooldowns.close()

    assert max(took[:FAILURES]) < EXCHANGE_SECONDS + 0.5
    assert min(took[:FAILURES]) > 0.4
    assert sum(took[FAILURES:]) < 0.2
    assert 0.4 < probe < EXCHANGE_SECONDS + 0.5
    assert replica.failures == 200


async def test_a_server_that_is_back_is_used_again_with_the_first_who_may_ask(served: RedisServer) -> None:
    replica = Replica(served)
    served.stop()
    await replica.tell(KEYS[:10])
    assert replica.cooldowns.failing
    served.start()
    await replica.tell(KEYS[10:20])
    assert replica.cooldowns.failing
    replica.later()
    # Told already: it is noticed all the same.
    await replica.tell(KEYS[:1])

    assert not replica.cooldowns.failing
    await replica.cooldowns.close()


async def test_what_a_frozen_server_carries_out_when_it_is_thawed_silences_nobody_for_long(
    served: RedisServer,
) -> None:
    frozen, other = RedisCooldowns(served.server()), RedisCooldowns(served.server())
    await claim(frozen, KEYS[0])
    served.freeze()
    with pytest.raises(StoreUnreachableError):
        await frozen.claim(KEY, "first", LEASE, HOUR)
    served.thaw()
    # The claim that nobody knows to have succeeded lapses like any other.
    async with asyncio.timeout(10):
        while (taken := await other.claim(KEY, "second", LEASE, HOUR)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert taken in {"first", "second"}
    for each in (frozen, other):
        await each.close()


async def test_a_server_that_answers_bit_by_bit_is_cut_after_a_second() -> None:
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while not reader.at_eof():
                await reader.read(65536)
                for _ in range(20):
                    writer.write(b"+OK\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.3)
        writer.close()
        gone.set()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = RedisCooldowns(Server(RedisUrl("127.0.0.1", port, tls=False)))
        before = time.monotonic()
        with pytest.raises(StoreUnreachableError):
            await store.renew(KEYS[:20], MINUTE)
        assert time.monotonic() - before < EXCHANGE_SECONDS + 0.5
        await gone.wait()


async def test_a_frozen_server_does_not_keep_a_process_from_ending(served: RedisServer) -> None:
    replica = Replica(served)
    await replica.tell(KEYS[:3])
    served.freeze()
    before = time.monotonic()
    await replica.cooldowns.close()
    assert time.monotonic() - before < EXCHANGE_SECONDS
    served.thaw()


async def test_a_server_that_was_never_there_fails_open(tmp_path: Path) -> None:
    replica = Replica(RedisServer(tmp_path))
    await replica.tell(KEYS[:50])
    await replica.tell(KEYS[:50])
    await replica.cooldowns.close()

    assert replica.told == KEYS[:50]
    assert replica.cooldowns.failing
    assert await tell(replica.cooldowns, KEYS[60])
