"""A gateway in this process or in its own, on a configuration of a few certificates, for tests of what it tells."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporter.app import Running, running, utc_now
from exporter.certcheck.ports import Clock
from exporter.listener import bind, serving
from exporter.proxy.httptools import HttptoolsCore
from exporter.settings import Settings, read_settings
from exporter.telemetry.environment import Otlp
from tests.authority import DAY, Authority

EXPIRING, EXPIRED = "billing", "legacy"
"""The two APIs of a standard configuration: a client certificate of 10 days, and one 5 days past."""


@dataclass
class Site:
    """A directory with a configuration in it."""

    directory: Path
    authority: Authority = field(default_factory=Authority)
    document: dict[str, Any] = field(
        default_factory=lambda: {
            "proxy": {"listen": "127.0.0.1:0", "drain_timeout_seconds": 1, "upstream_timeout_seconds": 5},
            "admin": {"listen": "127.0.0.1:0"},
            "certificates": {},
            "apis": [],
        }
    )

    def certificate(self, reference: str, left: timedelta, *sans: str) -> str:
        """Issue a certificate and configure it; its reference."""
        certificate, key = self.authority.issue(f"{reference}.example.com", left, *sans).write(
            self.directory, reference
        )
        self.document["certificates"][reference] = {"cert_file": certificate, "key_file": key}
        return reference

    def anchors(self, reference: str, *pem: bytes) -> str:
        """Configure a bundle of trust anchors; its reference."""
        (self.directory / f"{reference}.pem").write_bytes(b"".join(pem))
        self.document["certificates"][reference] = {"cert_file": f"{reference}.pem"}
        return reference

    def api(self, api_id: str, target_url: str = "https://orders.internal.invalid:8443/", **more: object) -> None:
        """Configure an API. The default target cannot be reached, which no gauge depends on."""
        self.document["apis"].append({"api_id": api_id, "listen_path": f"/{api_id}/", "target_url": target_url, **more})

    def standard(self) -> Site:
        """Two APIs: one certificate expires in 10 days and some hours, one expired 5 days and some hours ago."""
        for api_id, left in ((EXPIRING, 10 * DAY + timedelta(hours=6)), (EXPIRED, -5 * DAY - timedelta(hours=6))):
            self.certificate(f"{api_id}-client", left)
            self.api(api_id, upstream_certificates={"*": f"{api_id}-client"})
        return self

    def write(self) -> Path:
        config = self.directory / "certgauge.yaml"
        config.write_text(yaml.safe_dump(self.document))
        return config

    @asynccontextmanager
    async def serve(self, telemetry: Otlp | None = None, clock: Clock = utc_now) -> AsyncIterator[Running]:
        """Serve it in this process."""
        config = self.write()

        def read() -> Settings:
            return read_settings(config, {}, ["httptools"])

        async with running(read(), read, core=HttptoolsCore, telemetry=telemetry or Otlp(), clock=clock) as serves:
            yield serves

    @contextmanager
    def process(self, environment: Mapping[str, str]) -> Iterator[Process]:
        """Serve it in a process of its own, with this environment besides ours; it is killed if it does not end."""
        command = [str(Path(sys.executable).with_name("certgauge")), "run", "--config", str(self.write())]
        log_file = self.directory / "process.log"
        own = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--log-level", "DEBUG"],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**own, **environment},
                text=True,
            )
        with process:
            try:
                assert process.stdout is not None
                lines = [process.stdout.readline().split() for _ in range(2)]
                assert [line[:1] for line in lines] == [["proxy"], ["admin"]], log_file.read_text()
                yield Process(process, lines[0][1], lines[1][1], log_file)
            finally:
                process.kill()


@dataclass(frozen=True)
class Process:
    """A gateway in a process of its own."""

    process: subprocess.Popen[str]
    proxy_url: str
    admin_url: str
    log_file: Path

    @property
    def log(self) -> str:
        """All that it has written to its standard error."""
        return self.log_file.read_text()


async def get(url: str, **fields: str) -> str:
    """The body of a GET with these header fields; underscores stand for hyphens."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return await response.text()


@dataclass
class Upstream:
    """A plain HTTP upstream that keeps the header fields it was sent."""

    url: str
    headers: list[list[tuple[bytes, bytes]]] = field(default_factory=list)

    def values(self, name: bytes) -> list[bytes]:
        """Of a field of the last request."""
        return [value for key, value in self.headers[-1] if key == name]


@asynccontextmanager
async def upstream(status: int = 200) -> AsyncIterator[Upstream]:
    async def answer(request: Request) -> Response:
        serves.headers.append(request.scope["headers"])
        return JSONResponse({"path": request.url.path}, status)

    app = Starlette(routes=[Route("/{path:path}", answer)])
    with bind("127.0.0.1:0") as bound:
        serves = Upstream(f"http://127.0.0.1:{bound.getsockname()[1]}/")
        async with serving(app, bound, None, 1):
            yield serves
