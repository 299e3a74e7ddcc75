from __future__ import annotations

import pytest

from exporter.cooldowns.breaker import FAILURES, PROBE_SECONDS, Breaker, ServerAwayError


class Stage:
    def __init__(self) -> None:
        self.now = 1000.0
        self.breaker = Breaker(lambda: self.now)

    def fail(self, times: int) -> None:
        for _ in range(times):
            self.breaker.admit()
            self.breaker.failed()

    def admits(self) -> bool:
        try:
            self.breaker.admit()
        except ServerAwayError:
            return False
        return True


def test_it_opens_after_three_failures_in_a_row() -> None:
    stage = Stage()
    stage.fail(FAILURES - 1)
    assert stage.admits()

    stage.fail(1)
    assert not stage.admits()


def test_a_success_between_failures_keeps_it_closed() -> None:
    stage = Stage()
    for _ in range(5):
        stage.fail(FAILURES - 1)
        stage.breaker.succeeded()

    assert stage.admits()


def test_while_it_is_open_one_may_ask_every_five_seconds() -> None:
    stage = Stage()
    stage.fail(FAILURES)
    for _ in range(3):
        stage.now += PROBE_SECONDS - 0.001
        assert not stage.admits()
        stage.now += 0.001
        assert [stage.admits() for _ in range(3)] == [True, False, False]
        stage.breaker.failed()


def test_it_closes_when_the_one_who_may_ask_is_answered() -> None:
    stage = Stage()
    stage.fail(FAILURES)
    stage.now += PROBE_SECONDS
    stage.breaker.admit()
    stage.breaker.succeeded()

    assert [stage.admits() for _ in range(3)] == [True] * 3


def test_what_it_raises_is_that_the_store_is_away() -> None:
    stage = Stage()
    stage.fail(FAILURES)

    with pytest.raises(OSError, match="the server is away"):
        stage.breaker.admit()
