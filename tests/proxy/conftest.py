"""Fixtures of the proxy's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from exporter.proxy.core import CoreFactory
from tests.authority import Authority
from tests.proxy.conformance import REGISTERED, Caller


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
