"""A whole certgauge in the test's own loop, from files, on real listeners."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from exporter.app import Running, running, utc_now
from exporter.certcheck.inventory import Inventory
from exporter.certcheck.ports import Clock
from exporter.following import Pace
from exporter.proxy.httptools import HttptoolsCore
from exporter.settings import Settings, read_settings
from exporter.telemetry.environment import Otlp
from tests.authority import DAY, Authority
from tests.fakes import RecordingSink

CORES = {"httptools": HttptoolsCore}


@dataclass
class Served:
    """A running gateway with its directory and a client."""

    directory: Path
    authority: Authority
    sink: RecordingSink
    running: Running
    client: aiohttp.ClientSession

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        """Ask the admin listener: status and document (or text)."""
        return await self.ask("GET", path, **more)

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.client.request(method, self.running.admin_url + path, **more) as response:
            text = await response.text()
            return response.status, json.loads(text) if "json" in response.content_type else text

    async def proxied(self, path: str) -> tuple[int, str]:
        async with self.client.get(self.running.proxy_url + path) as response:
            return response.status, await response.text()

    async def metric(self, start: str) -> list[str]:
        """The lines of /metrics that begin like this."""
        _, text = await self.get("/metrics")
        return [line for line in text.splitlines() if line.startswith(start)]

    async def events(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many have been announced; their payloads."""
        async with asyncio.timeout(15):
            while len(self.sink.events) < count:
                self.sink.arrived.clear()
                await self.sink.arrived.wait()
        return [event.payload() for event in self.sink.events]

    @property
    def inventory(self) -> Inventory:
        """For what is to be there without files."""
        return self.running.gateway._ports.inventory

    def write(self, name: str, document: Mapping[str, Any] | str) -> None:
        write(self.directory, name, document)


def write(directory: Path, name: str, document: Mapping[str, Any] | str) -> None:
    """Write a file; a mapping as YAML."""
    (directory / name).write_text(document if isinstance(document, str) else yaml.safe_dump(document))


def configuration(**more: Any) -> dict[str, Any]:
    """The gateway's file on free ports, with one certificate named `orders-client`."""
    return {
        "proxy": {"listen": "127.0.0.1:0", "drain_timeout_seconds": 2},
        "admin": {"listen": "127.0.0.1:0"},
        "certificate_expiry_monitor": {"flush_interval_seconds": 1},
        "certificates": {"orders-client": {"cert_file": "orders.pem", "key_file": "orders.key"}},
        "apis": ["api-*.yaml"],
        **more,
    }


def definition(api_id: str = "orders", target: str = "https://orders.internal:8443/", **more: Any) -> dict[str, Any]:
    return {"api_id": api_id, "listen_path": f"/{api_id}/", "target_url": target, **more}


WITH_CERTIFICATE: dict[str, Any] = {"upstream_certificates": {"orders.internal": "orders-client"}}


@asynccontextmanager
async def served(
    directory: Path,
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    pace: Pace | None = None,
    clock: Clock = utc_now,
) -> AsyncIterator[Served]:
    """Serve what is in the directory; `orders.pem` is made, with 100 days to go, unless it is there."""
    authority, sink = Authority(now=clock()), RecordingSink()
    if not (directory / "orders.pem").exists():
        authority.issue("orders", 100 * DAY).write(directory, "orders")
    write(directory, "certgauge.yaml", config or configuration())

    def read() -> Settings:
        return read_settings(directory / "certgauge.yaml", environment or {}, CORES)

    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as client,
        running(read(), read, core=HttptoolsCore, telemetry=Otlp(), sinks=[sink], pace=pace, clock=clock) as runs,
    ):
        yield Served(directory, authority, sink, runs, client)


@asynccontextmanager
async def plain_upstream(answer: bytes = b"hello") -> AsyncIterator[str]:
    """An HTTP server that gives one answer; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
