"""Two servers behind one name, told apart by their addresses. The loop answers for the name, as a DNS server would."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exporter.app import running
from exporter.settings import Settings, read_settings
from exporter.telemetry.environment import Otlp
from tests.authority import DAY, Authority, Issued
from tests.fakes import RecordingSink
from tests.wire.tls_servers import HELLO, context
from tests.wire.worlds import CORES, configured

NAME = "orders.internal"
NODES = ("127.0.0.1", "127.0.0.2")


class Resolving(asyncio.SelectorEventLoop):
    """Knows one name more, whose addresses come in another order each time."""

    asked = 0

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        if host != NAME:
            return await super().getaddrinfo(host, port, **options)
        self.asked += 1
        nodes = NODES if self.asked % 2 else NODES[::-1]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (node, port)) for node in nodes]


def on_such_a_loop(test: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Resolving) as runner:
        runner.run(asyncio.wait_for(test, 20))


@asynccontextmanager
async def nodes(*presented: Issued) -> AsyncIterator[int]:
    """A server at each address; the one port of both."""
    async with AsyncExitStack() as stack:
        port = 0
        for address, issued in zip(NODES, presented, strict=True):
            server = await asyncio.start_server(_answer, address, port, ssl=context(issued))
            await stack.enter_async_context(server)
            port = server.sockets[0].getsockname()[1]
        yield port


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HELLO)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


@dataclass
class World:
    """A gateway in this loop, before both servers."""

    proxy_url: str
    admin_url: str
    client: aiohttp.ClientSession
    sink: RecordingSink

    async def get(self, url: str) -> tuple[int, str]:
        async with self.client.get(url) as response:
            return response.status, await response.text()

    async def ask_until_known(self) -> dict[str, dict[str, Any]]:
        """Make requests until both have been seen; their rows, by address."""
        while True:
            await self.get(self.proxy_url + "/")
            _, text = await self.get(self.admin_url + "/certs?role=upstream_server")
            rows = {row["network_peer_address"]: row for row in json.loads(text)["certs"]}
            if len(rows) == len(NODES):
                return rows


@asynccontextmanager
async def world(directory: Path, authority: Authority, core: str, port: int) -> AsyncIterator[World]:
    (directory / "ca.pem").write_bytes(authority.root.pem)
    config = configured(
        directory,
        f"https://{NAME}:{port}/",
        core=core,
        api={"upstream_ca": "ca"},
        certificates={"ca": {"cert_file": "ca.pem"}},
        certificate_expiry_monitor={"flush_interval_seconds": 1, "check_cooldown_seconds": 0},
    )
    [factory] = entry_points(group="certgauge.proxy_cores", name=core)
    sink = RecordingSink()

    def read() -> Settings:
        return read_settings(config, {}, CORES)

    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as client,
        running(read(), read, core=factory.load(), telemetry=Otlp(), sinks=[sink]) as runs,
    ):
        yield World(runs.proxy_url, runs.admin_url, client, sink)


def days(row: dict[str, Any]) -> float:
    return (datetime.fromisoformat(row["expires_at"]) - datetime.now(UTC)) / DAY


@pytest.mark.parametrize("core", CORES)
def test_each_address_has_the_certificate_that_was_seen_there(tmp_path: Path, authority: Authority, core: str) -> None:
    presented = [authority.issue(NAME, 100 * DAY), authority.issue(NAME, 200 * DAY)]

    async def test() -> None:
        async with nodes(*presented) as port, world(tmp_path, authority, core, port) as gateway:
            rows = await gateway.ask_until_known()
            assert [rows[node]["cert_id"] for node in NODES] == [each.cert_id for each in presented]
            assert {(row["server_address"], row["server_port"]) for row in rows.values()} == {(NAME, port)}
            _, metrics = await gateway.get(gateway.admin_url + "/metrics")
            lines = [line for line in metrics.splitlines() if line.startswith("certificate_days_remaining{")]
            for node in NODES:
                [line] = [line for line in lines if f'network_peer_address="{node}"' in line]
                assert float(line.rpartition(" ")[2]) == pytest.approx(days(rows[node]), abs=0.01)

    on_such_a_loop(test())


@pytest.mark.parametrize("core", CORES)
def test_the_one_node_that_has_expired_is_the_one_that_is_announced(
    tmp_path: Path, authority: Authority, core: str
) -> None:
    expired = authority.issue(NAME, -5 * DAY)

    async def test() -> None:
        async with (
            nodes(authority.issue(NAME), expired) as port,
            world(tmp_path, authority, core, port) as gateway,
        ):
            rows = await gateway.ask_until_known()
            assert [rows[node]["state"] for node in NODES] == ["valid", "expired"]
            while not gateway.sink.events:
                gateway.sink.arrived.clear()
                await gateway.sink.arrived.wait()
            # It stays so, whichever of the two is asked.
            for _ in range(4):
                await gateway.get(gateway.proxy_url + "/")
            payloads = [event.payload() for event in gateway.sink.events]
            told = [(each["event"], each["network_peer_address"], each["cert_id"]) for each in payloads]
            assert told == [("CertificateExpired", NODES[1], expired.cert_id)]

    on_such_a_loop(test())


@contextmanager
def silent(address: str, port: int) -> Iterator[None]:
    """Nobody answers there: of a listener whose queue is full, the system drops what comes."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield


@pytest.mark.parametrize("core", CORES)
def test_an_address_that_does_not_answer_holds_up_no_request(tmp_path: Path, authority: Authority, core: str) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            server = await asyncio.start_server(_answer, NODES[0], 0, ssl=context(authority.issue(NAME)))
            await stack.enter_async_context(server)
            port = server.sockets[0].getsockname()[1]
            stack.enter_context(silent(NODES[1], port))
            gateway = await stack.enter_async_context(world(tmp_path, authority, core, port))
            for _ in NODES:
                assert await gateway.get(gateway.proxy_url + "/") == (200, "hello")

    on_such_a_loop(test())
