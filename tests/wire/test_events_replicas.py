"""Two replicas that share a Redis tell each event once; with a Redis that fails they may tell it twice, and do tell."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from exporter.certcheck.announcer import LEASE
from tests.process import Process, run, wait_until
from tests.redis_server import RedisServer, ServerClock, fake_time, redis
from tests.wire.events import Receiver, configure, counted, hang, issue, receiver, started, status, together
from tests.wire.probed import probed

EVENTS = 500
MOST_MS = 100.0


def replica(directory: Path, name: str, server: RedisServer, url: str) -> Path:
    state = f"redis://127.0.0.1:{server.port}"
    return configure(directory / name, directory, {"ops": {"url": url}}, state=state)


def judged(process: Process) -> int:
    return counted(process, "certificate_checks_total", api_id="many", outcome="expiring")


def delivered(*processes: Process) -> int:
    name = "certificate_event_deliveries_total"
    return sum(counted(process, name, handler="ops", outcome="delivered") for process in processes)


def test_two_replicas_tell_each_event_once(tmp_path: Path) -> None:
    wanted = issue(tmp_path, EVENTS)
    with ExitStack() as stack:
        server, heard = stack.enter_context(redis(tmp_path)), stack.enter_context(receiver())
        configs = [replica(tmp_path, name, server, f"{heard.url}/ops") for name in ("one", "other")]
        processes = stack.enter_context(together(*configs))
        heard.wait(lambda: heard.certificates() >= wanted)
        # Each has judged each of them more than once: none of them has anything left to tell.
        wait_until(lambda: min(map(judged, processes)) >= 2 * EVENTS and delivered(*processes) >= EVENTS)
        shares = [delivered(process) for process in processes]
        print(f"{EVENTS} events, told by the replicas: {shares}")  # noqa: T201 (what was measured)
        assert len(heard.told) == sum(shares) == EVENTS
        assert heard.certificates() == wanted
        assert min(shares) > 0, "they did not announce at the same time"


def killed_claimant(directory: Path, server: RedisServer) -> Receiver:
    """A receiver that hung on the first request of a replica, which was killed then; the other one tells it."""
    wanted = issue(directory, 3)
    with receiver({"/ops": [hang, status(200)]}) as heard:
        with started(replica(directory, "one", server, f"{heard.url}/ops")) as popen:
            heard.wait(lambda: heard.told)
            popen.send_signal(signal.SIGKILL)
            popen.wait()
        [first] = heard.told
        with run(replica(directory, "other", server, f"{heard.url}/ops")) as other:
            wait_until(lambda: judged(other) >= 2 * len(wanted))
            again = [each for each in heard.told[1:] if each.cert_id == first.cert_id]
            assert again == [], "a claim that is held was not respected"
            lapse(server)
            # The others, too: they may have been claimed or not.
            heard.wait(lambda: {each.cert_id for each in heard.told[1:]} >= wanted, 90)
        assert heard.ids()[first.cert_id] == {first.event_id}
        return heard


def lapse(server: RedisServer) -> None:
    """Move a clock that can be moved; else it lapses when it lapses."""
    if isinstance(server, TimedRedis):
        server.clock.advance(LEASE + timedelta(seconds=1))


class TimedRedis(RedisServer):
    """One whose clock is the test's."""

    clock: ServerClock


def test_what_a_killed_replica_had_claimed_is_told_by_the_other_under_the_same_id(tmp_path: Path) -> None:
    clock = ServerClock(tmp_path / "clock")
    server = TimedRedis(tmp_path, environment=fake_time(tmp_path / "clock"))
    server.clock = clock
    server.start()
    try:
        killed_claimant(tmp_path, server)
    finally:
        server.stop()


@pytest.mark.long
def test_what_a_killed_replica_had_claimed_is_told_by_the_other_when_its_lease_is_over(tmp_path: Path) -> None:
    with redis(tmp_path) as server:
        killed_claimant(tmp_path, server)


@pytest.mark.timeout(180)
def test_a_redis_that_is_stopped_frozen_and_restarted_loses_nothing_and_holds_up_nobody(tmp_path: Path) -> None:
    wanted = issue(tmp_path, EVENTS)
    with ExitStack() as stack:
        server = stack.enter_context(redis(tmp_path))
        heard = stack.enter_context(receiver(pause_seconds=0.005))
        configs = [replica(tmp_path, name, server, f"{heard.url}/ops") for name in ("one", "other")]
        both = [stack.enter_context(probed(config, "httptools")) for config in configs]
        for each in both:
            each.longest_pause_ms()
        heard.wait(lambda: len(heard.told) > EVENTS // 10)
        server.freeze()
        told = len(heard.told)
        heard.wait(lambda: len(heard.told) > told + EVENTS // 10)
        server.thaw()
        told = len(heard.told)
        heard.wait(lambda: len(heard.told) > told + EVENTS // 10)
        server.stop()
        told = len(heard.told)
        heard.wait(lambda: len(heard.told) > told + EVENTS // 10)
        server.start()
        heard.wait(lambda: heard.certificates() >= wanted, 120)
        pauses = [each.longest_pause_ms() for each in both]
        twice = len(heard.told) - EVENTS
        print(f"{EVENTS} events: 0 lost, {twice} duplicates; longest pauses {pauses} ms")  # noqa: T201 (what was measured)
        assert heard.certificates() == wanted
        assert max(pauses) < MOST_MS
