"""Connections to upstreams that nobody uses are closed, before the other end closes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from exporter.proxy.core import ForwardingCore
from exporter.proxy.httptools import IDLE_SECONDS, HttptoolsCore
from tests.proxy.front import Front, api, front
from tests.proxy.upstreams import HELLO, Wire, sized, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")


class Keeper:
    """Makes a core, and has it at hand."""

    def __init__(self) -> None:
        self.core: HttptoolsCore

    def __call__(self, observer: Callable[..., None]) -> ForwardingCore:
        self.core = HttptoolsCore(observer)
        return self.core

    def look(self, seconds: float) -> None:
        """What the core does when so many seconds have passed without a request."""
        now = asyncio.get_running_loop().time()
        for pool in self.core._pools.values():
            pool.close_unused(now + seconds - IDLE_SECONDS)


async def many_at_once(proxy: Front, number: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(proxy.get(b"/orders/"))


class Together:
    """Answers when so many requests have arrived; notes which connections have ended."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.open = 0

    async def __call__(self, wire: Wire) -> None:
        self.open += 1
        while await wire.head():
            await wire.server.reached(heads=self._number)
            await wire.send(HELLO)
        self.open -= 1
        wire.server.changed.set()


@pytest.mark.parametrize(("seconds", "left"), [(0.0, 3), (IDLE_SECONDS - 1, 3), (IDLE_SECONDS + 1, 0)])
async def test_connections_that_nobody_has_used_for_long_are_closed(seconds: float, left: int) -> None:
    keeper, script = Keeper(), Together(3)
    async with upstream(script) as server, front(api(server.port), core=keeper) as proxy:
        await many_at_once(proxy, 3)
        keeper.look(seconds)
        await asyncio.wait_for(asyncio.gather(*(server.tasks if not left else [])), 1)
        assert (script.open, len(keeper.core._pools) * left) == (left, left)
        assert (await proxy.get(b"/orders/")).body == b"hello"
        assert len(server.wires) == 3 + (left == 0)


async def test_the_connection_that_was_used_last_is_used_next_and_the_others_become_old() -> None:
    async def script(wire: Wire) -> None:
        number = b"%d" % len(wire.server.wires)
        while await wire.head():
            await wire.server.reached(heads=3)
            await wire.send(sized(number))

    async with upstream(script) as server, front(api(server.port)) as proxy:
        await many_at_once(proxy, 3)
        assert len({(await proxy.get(b"/orders/")).body for _ in range(6)}) == 1
        assert len(server.wires) == 3
