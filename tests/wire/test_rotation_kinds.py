"""Certificates replaced in every way while requests are made: none fails, and each presents what is right by then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.nginx import nginx
from tests.process import Process, run, wait_until
from tests.wire.load import load
from tests.wire.rotations import KINDS, LIVE_SECONDS, Pair, Seen
from tests.wire.shown import total
from tests.wire.worlds import CORES, configured

REQUESTS_A_SECOND = 50

SERVER = """
        ssl_certificate server.pem; ssl_certificate_key server.key;
        ssl_client_certificate ca.pem; ssl_verify_client on; ssl_verify_depth 3;
        location / { return 200 "$ssl_client_s_dn"; }
"""


@dataclass
class World:
    """A process for each core. All follow the same files, a pair for each way of replacing it."""

    processes: list[Process]
    pairs: dict[str, Pair]

    def refused(self) -> list[float]:
        """How many certificates each process has found unusable."""
        return [total(each, "certificate_errors_total", reason="certificate_unusable") for each in self.processes]

    def noticed(self, spoil: Callable[[], None]) -> None:
        """Spoil something, and wait until every process has refused it."""
        before = self.refused()
        spoil()
        wait_until(lambda: all(now > then for now, then in zip(self.refused(), before, strict=True)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("rotations")
    authority.issue("127.0.0.1").write(directory, "server")
    (directory / "ca.pem").write_bytes(authority.root.pem)
    pairs = {kind: Pair(directory / kind, authority) for kind in KINDS}
    for kind, pair in pairs.items():
        pair.good(pair.by_data_symlink if kind == "swap" else pair.in_place)
    with ExitStack() as stack:
        port = stack.enter_context(nginx(directory, SERVER))
        configs = [configured_for(directory, core, port) for core in CORES]
        yield World([stack.enter_context(run(config)) for config in configs], pairs)


def configured_for(directory: Path, core: str, port: int) -> Path:
    files = {
        kind: {"cert_file": f"{directory}/{kind}/client.pem", "key_file": f"{directory}/{kind}/client.key"}
        for kind in KINDS
    }
    apis = [
        {
            "api_id": kind,
            "listen_path": f"/{kind}/",
            "target_url": f"https://127.0.0.1:{port}/",
            "upstream_ca": "ca",
            "upstream_certificates": {"127.0.0.1": kind},
        }
        for kind in KINDS
    ]
    certificates = {"ca": {"cert_file": str(directory / "ca.pem")}, **files}
    return configured(directory / core, "", core=core, apis=apis, certificates=certificates)


def rotate(world: World, kind: str, times: int) -> list[float]:
    """Rotate under load, and check every request; how long it took until each good one was seen, at each process."""
    pair, took = world.pairs[kind], []
    every = [Seen(f"/{kind}/") for _ in world.processes]
    # What is still live from before may be presented until then.
    wait_until(lambda: time.monotonic() > pair.written[-1][1] + LIVE_SECONDS)
    with ExitStack() as stack:
        for process, seen in zip(world.processes, every, strict=True):
            stack.enter_context(load(process.proxy_url, REQUESTS_A_SECOND, seen.request))
        for turn in range(times):
            KINDS[kind](pair, turn, world.noticed)
            for seen in every:
                wait_until(lambda seen=seen: seen.latest == pair.number)  # type: ignore[misc]
            took += [first_seen(seen, pair.number) - pair.written[-1][1] for seen in every]
    for seen in every:
        assert seen.failed == []
        assert seen.wrong(pair) == []
        assert len(seen.requests) >= times * REQUESTS_A_SECOND / 2
    return took


def first_seen(seen: Seen, number: int) -> float:
    return min(ended_at for _, ended_at, _, which in seen.requests if which == number)


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_rotations_fail_no_request_and_are_live_in_time(world: World, kind: str) -> None:
    assert max(rotate(world, kind, 2)) <= LIVE_SECONDS


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_20_rotations_fail_no_request_and_are_live_in_time(world: World, kind: str) -> None:
    took = rotate(world, kind, 20)
    print(f"{kind}: live after {min(took):.2f} to {max(took):.2f} s")  # noqa: T201 (shown if it fails, or when asked)
    assert max(took) <= LIVE_SECONDS
