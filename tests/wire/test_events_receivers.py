"""Receivers that refuse, redirect, hang or talk too much: the attempts are exactly those that docs/webhooks.md has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from tests.process import run, wait_until
from tests.wire.events import Line, Receiver, configure, counted, hang, issue, much, receiver, status

TIMEOUT_SECONDS = 0.5
RETRY_AFTER_SECONDS = 2
SLACK_SECONDS = 1.0
"""For a busy machine, on top of what a wait may be."""


@dataclass(frozen=True)
class Case:
    script: list[Line]
    delivered: int
    retried: int
    failed: int
    waits: tuple[tuple[float, float], ...] = ()
    """From one attempt to the next: at least, and at most."""

    @property
    def attempts(self) -> int:
        return self.delivered + self.retried + self.failed


CASES = {
    "recovers": Case([status(503), status(503), status(200)], 1, 2, 0, ((0, 1), (0, 2))),
    "refuses": Case([status(400)], 0, 0, 1),
    "hangs": Case([hang, status(200)], 1, 1, 0, ((TIMEOUT_SECONDS, TIMEOUT_SECONDS + 1),)),
    "limits": Case(
        [status(429, ("Retry-After", str(RETRY_AFTER_SECONDS))), status(200)],
        1,
        1,
        0,
        ((RETRY_AFTER_SECONDS, RETRY_AFTER_SECONDS + 1),),
    ),
    "talks": Case([much], 1, 0, 0),
    "moved": Case([], 0, 0, 1),
    "see-other": Case([], 0, 0, 1),
    "permanently": Case([], 0, 0, 1),
}
REDIRECTS = {"moved": 302, "see-other": 303, "permanently": 308}


@dataclass(frozen=True)
class World:
    heard: Receiver
    trap: Receiver
    counts: dict[str, dict[str, int]]
    """How many deliveries were counted, by handler and outcome."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One event for all of them, from when nothing is left to be tried."""
    directory = tmp_path_factory.mktemp("receivers")
    issue(directory, 1)
    with ExitStack() as stack:
        trap = stack.enter_context(receiver())
        scripts = {f"/{name}": case.script or [_to(trap, name)] for name, case in CASES.items()}
        heard = stack.enter_context(receiver(scripts))
        handlers: dict[str, dict[str, Any]] = {
            name: {"url": f"{heard.url}/{name}", "timeout_seconds": TIMEOUT_SECONDS if name == "hangs" else 10}
            for name in CASES
        }
        process = stack.enter_context(run(configure(directory, directory, handlers)))

        def counts() -> dict[str, dict[str, int]]:
            deliveries = "certificate_event_deliveries_total"
            outcomes = ("delivered", "retried", "failed", "dropped")
            return {
                name: {each: counted(process, deliveries, handler=name, outcome=each) for each in outcomes}
                for name in CASES
            }

        wait_until(lambda: all(each["delivered"] + each["failed"] for each in counts().values()))
        # What is flushed once more has been announced, and is not again.
        checks = counted(process, "certificate_checks_total")
        wait_until(lambda: counted(process, "certificate_checks_total") > checks)
        yield World(heard, trap, counts())


def _to(trap: Receiver, name: str) -> Line:
    return status(REDIRECTS[name], ("Location", f"{trap.url}/trap"))


@pytest.mark.parametrize("name", CASES)
def test_a_receiver_is_asked_exactly_as_often_as_documented(world: World, name: str) -> None:
    case = CASES[name]
    assert len(world.heard.asked(f"/{name}")) == case.attempts
    expected = {"delivered": case.delivered, "retried": case.retried, "failed": case.failed, "dropped": 0}
    assert world.counts[name] == expected


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.waits])
def test_the_next_attempt_comes_when_documented(world: World, name: str) -> None:
    waits = [later.at - earlier.at for earlier, later in pairwise(world.heard.asked(f"/{name}"))]
    print(name, [round(each, 2) for each in waits])  # noqa: T201 (what was measured)
    for wait, (least, most) in zip(waits, CASES[name].waits, strict=True):
        assert least - 0.05 <= wait <= most + SLACK_SECONDS


def test_every_attempt_has_the_events_id_and_the_same_body(world: World) -> None:
    assert len({each.event_id for each in world.heard.told}) == 1
    assert len({each.body for each in world.heard.told}) == 1


def test_a_redirect_is_not_followed(world: World) -> None:
    assert {len(world.heard.asked(f"/{name}")) for name in REDIRECTS} == {1}
    assert world.trap.told == []


def test_a_slow_receiver_delays_no_other(world: World) -> None:
    began_at = world.heard.told[0].at
    firsts = {name: world.heard.asked(f"/{name}")[0].at - began_at for name in CASES}
    assert max(firsts.values()) < TIMEOUT_SECONDS, firsts


def test_a_long_answer_is_cut_off(world: World) -> None:
    # What lies in the buffers of both sockets has gone out as well.
    assert world.heard.taken["/talks"] < 5 << 20
