"""Clients that never come to the end of a head: a good one does not notice them, and they are cut."""

from __future__ import annotations

import time
from pathlib import Path

from tests.process import run
from tests.wire.drippers import dripping
from tests.wire.wires import Wire, answer, connected, serving
from tests.wire.worlds import configured

MANY = 200
HEAD_SECONDS = 10.0
"""From the first byte; told in the documentation."""
REQUESTS_AT_LEAST = 300


def hello(wire: Wire) -> None:
    while wire.head():
        wire.send(answer(b"hello"))


def test_200_dripping_clients_are_cut_at_the_deadline_and_a_good_one_does_not_notice(tmp_path: Path) -> None:
    took: list[float] = []
    with (
        serving(hello) as port,
        run(configured(tmp_path, f"http://127.0.0.1:{port}/")) as process,
        connected(process.proxy_url) as client,
        dripping(process.proxy_url, MANY, give_up_seconds=HEAD_SECONDS + 5) as drippers,
    ):
        while not drippers.done.wait(0.02):
            began_at = time.perf_counter()
            assert client.ask("/").content == b"hello"
            took.append(time.perf_counter() - began_at)
    assert len(took) >= REQUESTS_AT_LEAST
    assert sorted(took)[len(took) * 99 // 100] <= 0.25
    assert len(drippers.cuts) == MANY
    assert {cut.answer[:13] for cut in drippers.cuts} == {b"HTTP/1.1 408 "}
    assert all(abs(cut.after_seconds - HEAD_SECONDS) < 1 for cut in drippers.cuts)
