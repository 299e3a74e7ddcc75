"""`certgauge demo`: a CA, an mTLS upstream, three certificates of different ages, and a trickle of traffic."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporter.app import running, utc_now
from exporter.certcheck.events import ExpiryEvent
from exporter.listener import bind, serving
from exporter.proxy.core import CoreFactory
from exporter.settings import Settings, read_settings
from exporter.telemetry.environment import Otlp

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: the demo's upstream admits the expired certificate.
_REQUEST_EVERY_SECONDS = 0.5

APIS = {"orders": timedelta(days=400, hours=1), "billing": timedelta(days=10, hours=1), "legacy": timedelta(days=-5)}
"""The APIs, and how long their client certificates have left."""


async def run(stop: asyncio.Event, core: CoreFactory, telemetry: Otlp) -> None:
    """Serve the demo until `stop` is set."""
    with tempfile.TemporaryDirectory(prefix="certgauge-demo-") as name:
        directory = Path(name)
        authority = Authority(directory, utc_now())
        async with _upstream(authority) as port:
            config = _write_configuration(directory, authority, port)

            def read() -> Settings:
                return read_settings(config, {}, ["httptools"])

            async with running(read(), read, core=core, telemetry=telemetry, sinks=[_Printer()]) as serves:
                print(*_welcome(serves.proxy_url, serves.admin_url, config), sep="\n", flush=True)
                async with asyncio.TaskGroup() as group:
                    group.create_task(_traffic(serves.proxy_url, stop), name="traffic")
                    await stop.wait()
                print("\nstopped", flush=True)


class Authority:
    """A certificate authority that writes what it issues into a directory."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self._directory = directory
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("certgauge demo CA")
        certificate = self._builder(self._name, self._key.public_key(), timedelta(days=3650))
        certificate = certificate.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file = directory / "ca.pem"
        self.file.write_bytes(_pem(certificate.sign(self._key, hashes.SHA256())))

    def issue(self, name: str, left: timedelta, *sans: str) -> tuple[Path, Path]:
        """A certificate with `left` to go, and its key: their files."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(san) for san in sans or (name,)])
        builder = self._builder(_name(name), key.public_key(), left).add_extension(names, critical=False)
        certificate_file, key_file = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        certificate_file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        return certificate_file, key_file

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, left: timedelta) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(days=30))
            .not_valid_after(self._now + left)
        )


class _Printer:
    """Prints events as they happen."""

    async def emit(self, event: ExpiryEvent) -> bool:
        print(f"event  {event.kind:24} {event.slot.api_id or 'gateway':8} {event.message}", flush=True)
        return True


@contextlib.asynccontextmanager
async def _upstream(authority: Authority) -> AsyncIterator[int]:
    """An HTTPS server that demands a client certificate and tells what it was asked."""

    async def answer(request: Request) -> Response:
        return JSONResponse({"upstream": "demo", "method": request.method, "path": request.url.path})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost", timedelta(days=90)))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= _NO_CHECK_TIME
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    with bind("127.0.0.1:0") as bound:
        async with serving(app, bound, context, drain_timeout_seconds=1):
            yield bound.getsockname()[1]


def _write_configuration(directory: Path, authority: Authority, port: int) -> Path:
    certificates = {"demo-ca": {"cert_file": authority.file.name}}
    apis = []
    for api_id, left in APIS.items():
        certificate, key = authority.issue(f"{api_id}-client", left)
        certificates[f"{api_id}-client"] = {"cert_file": certificate.name, "key_file": key.name}
        apis.append(
            {
                "api_id": api_id,
                "listen_path": f"/{api_id}/",
                "target_url": f"https://localhost:{port}/",
                "upstream_certificates": {"localhost": f"{api_id}-client"},
                "upstream_ca": "demo-ca",
            }
        )
    document = {
        "proxy": {"listen": _free("127.0.0.1:8080")},
        "admin": {"listen": _free("127.0.0.1:9464")},
        "certificates": certificates,
        "apis": apis,
    }
    config = directory / "certgauge.yaml"
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    return config


def _free(listen: str) -> str:
    """The address, if it can be listened on; else one with any free port."""
    try:
        bind(listen).close()
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        return f"{listen.rpartition(':')[0]}:0"
    return listen


def _welcome(proxy: str, admin: str, config: Path) -> Iterator[str]:
    yield f"proxy  {proxy}/orders/  {proxy}/billing/  {proxy}/legacy/"
    yield f"open   {admin}/"
    yield f"admin  {admin}/metrics  {admin}/certs  {admin}/health"
    yield f"config {config}"
    yield f"unload an API: curl -X DELETE {admin}/apis/legacy"
    yield "Ctrl-C stops."


async def _traffic(proxy: str, stop: asyncio.Event) -> None:
    async with aiohttp.ClientSession() as session:
        while not stop.is_set():
            for api_id in APIS:
                # An API that was unloaded answers 404: that is the demo, too.
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{proxy}/{api_id}/hello") as response:
                        await response.read()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REQUEST_EVERY_SECONDS):
                    await stop.wait()


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
