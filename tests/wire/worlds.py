"""A `certgauge run` with one API, which has all paths, before an upstream that demands its certificate."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tests.authority import Authority
from tests.process import Process, run

CORES = sorted(entry_points(group="certgauge.proxy_cores").names)


def configured(directory: Path, target: str, *, core: str = "httptools", api: Any = None, **more: Any) -> Path:
    """Write a gateway's file; where it is. `api` adds to the definition, `more` to the document."""
    directory.mkdir(exist_ok=True)
    document = {
        "proxy": {"listen": "127.0.0.1:0", "core": core, **more.pop("proxy", {})},
        "admin": {"listen": "127.0.0.1:0"},
        "apis": [{"api_id": "wire", "listen_path": "/", "target_url": target, **(api or {})}],
        **more,
    }
    path = directory / "certgauge.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(document))
    return path


@contextmanager
def presenting(
    directory: Path, authority: Authority, port: int, core: str = "httptools", **proxy: Any
) -> Iterator[Process]:
    """It presents `client.pem`, which is `client 0`, to the upstream at this port of 127.0.0.1.

    With what `demanding` has left. `proxy` adds to that section; there is a certificate named `server`.
    """
    authority.issue("client 0").write(directory, "client")
    pairs = {name: {"cert_file": f"{name}.pem", "key_file": f"{name}.key"} for name in ("client", "server")}
    certificates = {**pairs, "ca": {"cert_file": "ca.pem"}}
    api = {"upstream_certificates": {"127.0.0.1": "client"}, "upstream_ca": "ca"}
    target = f"https://127.0.0.1:{port}/"
    config = configured(directory, target, core=core, api=api, certificates=certificates, proxy=proxy)
    with run(config) as process:
        yield process


def demanding(directory: Path, authority: Authority) -> ssl.SSLContext:
    """TLS of an upstream at 127.0.0.1 that demands a certificate of this authority; leaves its files there, too."""
    certificate, key = authority.issue("127.0.0.1").write(directory, "server")
    (directory / "ca.pem").write_bytes(authority.root.pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "ca.pem"))
    context.load_cert_chain(directory / certificate, directory / key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
