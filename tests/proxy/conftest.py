"""Fixtures of the proxy's tests."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from exporter.proxy.core import CoreFactory
from tests.authority import Authority
from tests.proxy.conformance import REGISTERED, Caller
from tests.proxy.upstreams import client_tls, server_tls


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    # `certgauge run` is on uvloop, whose TLS is its own; a core must not depend on which of the two it runs on.
    if "conformance" in item.nodeid:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=sorted(REGISTERED))
def core_factory(request: pytest.FixtureRequest) -> CoreFactory:
    factory: CoreFactory = REGISTERED[request.param].load()
    return factory


@pytest.fixture
async def caller(core_factory: CoreFactory) -> AsyncIterator[Caller]:
    caller = Caller(core_factory)
    yield caller
    await caller.core.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest, authority: Authority) -> dict[str, Any]:
    """How clients reach the listener: arguments of `front()`."""
    if request.param == "http":
        return {}
    return {"tls": server_tls(authority.issue("127.0.0.1")), "trust": client_tls(authority)()}


def _descriptors() -> Counter[str]:
    """How many of each kind are open: a loop has two sockets of its own, which are others at each start."""
    found: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that reads the directory
            found[str(entry.readlink()).partition(":")[0]] += 1
    return found


def _held() -> tuple[object, ...]:
    return asyncio.all_tasks() - {asyncio.current_task()}, _descriptors(), set(threading.enumerate())


@pytest.fixture
async def leaves_nothing(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Tasks, descriptors and threads are the same after the test as before it, and nothing has been logged."""
    # The one thread in which contexts are made; and what a loop opens with its first server, and keeps.
    await asyncio.to_thread(int)
    async with await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0):
        pass
    before = _held()
    with caplog.at_level(logging.INFO, "exporter.proxy"):
        yield
    # A socket that was closed is gone with the loop's next turn.
    for _ in range(3):
        await asyncio.sleep(0)
    assert _held() == before
    assert caplog.get_records("call") == []
