"""How long following the files keeps the event loop from everything else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from tests.authority import Authority
from tests.nginx import nginx
from tests.process import wait_until
from tests.wire.load import load
from tests.wire.probed import probed
from tests.wire.rotations import KINDS, LIVE_SECONDS, Pair, Seen
from tests.wire.test_rotation_kinds import REQUESTS_A_SECOND, SERVER, configured_for
from tests.wire.worlds import CORES

MOST_MS = 20.0
ROUNDS = 3


def looked_at(spoil: Callable[[], None]) -> None:
    """Spoil something, and leave time to notice it."""
    spoil()
    Event().wait(LIVE_SECONDS)


@pytest.mark.long
@pytest.mark.parametrize("core", CORES)
def test_no_rotation_keeps_the_loop_for_20_ms(tmp_path: Path, authority: Authority, core: str) -> None:
    authority.issue("127.0.0.1").write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(authority.root.pem)
    pairs = {kind: Pair(tmp_path / kind, authority) for kind in KINDS}
    for kind, pair in pairs.items():
        pair.good(pair.by_data_symlink if kind == "swap" else pair.in_place)
    with ExitStack() as stack:
        port = stack.enter_context(nginx(tmp_path, SERVER))
        process = stack.enter_context(probed(configured_for(tmp_path, core, port), core))
        seen = {kind: Seen(f"/{kind}/") for kind in KINDS}
        pauses: dict[str, list[float]] = {kind: [] for kind in KINDS}
        undisturbed = []
        for turn in range(ROUNDS):
            for kind, pair in pairs.items():
                with load(process.proxy_url, REQUESTS_A_SECOND, seen[kind].request):
                    process.longest_pause_ms()
                    KINDS[kind](pair, turn, looked_at)
                    wait_until(lambda seen=seen[kind], pair=pair: seen.latest == pair.number)  # type: ignore[misc]
                    pauses[kind].append(process.longest_pause_ms())
                    Event().wait(LIVE_SECONDS)
                    undisturbed.append(process.longest_pause_ms())
    print({kind: [round(each, 1) for each in found] for kind, found in pauses.items()})  # noqa: T201 (what was measured)
    print("undisturbed", [round(each, 1) for each in undisturbed])  # noqa: T201 (likewise)
    assert max(max(found) for found in pauses.values()) <= MOST_MS
