"""Replicas that share a Redis: each event is told by one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.certcheck.announcer import Announcer
from exporter.certcheck.expiry import ExpiryPolicy, State
from exporter.certcheck.fail_open import FailOpenCooldowns
from exporter.certcheck.inventory import Inventory, entries_of
from exporter.certcheck.tally import Tally
from exporter.cooldowns.redis import RedisCooldowns
from tests.authority import DAY, Authority, Issued
from tests.certcheck import fine, seen
from tests.fakes import FakeClock, RecordingSink
from tests.process import Process, ask, run, wait_until
from tests.redis_server import RedisServer, redis

PASSWORD = "canary-7d1f"
EVENT = "logger=certgauge.events"
CONFIGURATION = """
proxy: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
certificate_expiry_monitor: {check_cooldown_seconds: 0, flush_interval_seconds: 1}
state: redis://127.0.0.1:PORT/2?prefix=prod
state_password_file: password
certificates: {orders: {cert_file: orders.pem, key_file: orders.key}}
apis: [{api_id: orders, listen_path: /, target_url: "https://127.0.0.1:1/", upstream_certificates: {127.0.0.1: orders}}]
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RedisServer]:
    with redis(tmp_path, "--requirepass", PASSWORD) as server:
        yield server


def configured(directory: Path, served: RedisServer, certificate: Issued) -> Path:
    directory.mkdir()
    certificate.write(directory, "orders")
    (directory / "password").write_text(PASSWORD)
    path = directory / "certgauge.yaml"
    path.write_text(CONFIGURATION.replace("PORT", str(served.port)))
    return path


def state_of(process: Process) -> object:
    return ask("GET", f"{process.admin_url}/health").json()["checks"]["state"]


def flushes(process: Process) -> int:
    lines = ask("GET", f"{process.admin_url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) >= 3 for line in lines if line.startswith("certificate_checks_total"))


def test_a_second_process_does_not_tell_what_the_first_has_told(tmp_path: Path, served: RedisServer) -> None:
    certificate = Authority().issue("orders", 10 * DAY)
    with run(configured(tmp_path / "first", served, certificate)) as first:
        first.await_log(EVENT)
        with run(configured(tmp_path / "second", served, certificate)) as second:
            wait_until(lambda: flushes(second) > 0)
            assert EVENT not in second.errors
            assert state_of(second) == [{"status": "pass", "observedValue": "redis"}]
            served.stop()
            wait_until(lambda: state_of(second) == [{"status": "warn", "observedValue": "redis"}])
            second.stop()
        first.stop()
        assert first.errors.count(EVENT) == 1
        assert PASSWORD not in first.errors + second.errors + first.output + second.output


async def test_of_500_announcements_each_is_told_by_one_of_two_replicas(tmp_path: Path) -> None:
    policy = ExpiryPolicy(event_cooldown=DAY)
    entries = [entries_of(seen(fine(10 * DAY, str(number))), policy) for number in range(500)]
    sinks = (RecordingSink(), RecordingSink())

    async def announce(sink: RecordingSink, cooldowns: FailOpenCooldowns) -> None:
        tally = Tally()
        announcer = Announcer(cooldowns, sink, tally, Inventory(tally))
        for each in entries:
            before = len(sink.events)
            # What the other has claimed is asked for again until its lease is over.
            assert await announcer.announce(each, State.EXPIRING, {}, FakeClock()()) == (len(sink.events) > before)

    with redis(tmp_path) as server:
        stores = [FailOpenCooldowns(RedisCooldowns(server.server()), FakeClock(), Tally()) for _ in sinks]
        await asyncio.gather(*map(announce, sinks, stores))
        for store in stores:
            await store.close()
    told = [event.certificate.cert_id for sink in sinks for event in sink.events if event.certificate]

    print([len(sink.events) for sink in sinks])  # noqa: T201 (how the two shared it)
    assert len(told) == len(set(told)) == 500
