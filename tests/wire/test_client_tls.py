"""Clients' certificates before a real process, with OpenSSL at the other end, over both versions of TLS."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority, Issued
from tests.process import Process, run
from tests.wire.wires import Wire, answer, connected, request, serving
from tests.wire.worlds import configured

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def hello(wire: Wire) -> None:
    while wire.head():
        wire.send(answer(b"hello"))


@pytest.fixture(scope="module")
def anna(authority: Authority) -> Issued:
    return authority.issue("anna")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, authority: Authority, anna: Issued) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("clients")
    authority.issue("127.0.0.1").write(directory, "gateway")
    (directory / "anna.pem").write_bytes(anna.pem)
    certificates = {
        "gateway": {"cert_file": "gateway.pem", "key_file": "gateway.key"},
        "anna": {"cert_file": "anna.pem"},
    }
    with serving(hello) as port:
        target = f"http://127.0.0.1:{port}/"
        api = {"client_certificates": ["anna"]}
        proxy = {"tls": {"certificate": "gateway"}}
        with run(configured(directory, target, api=api, certificates=certificates, proxy=proxy)) as process:
            yield process


def client(directory: Path, authority: Authority, version: ssl.TLSVersion, own: Issued | None = None) -> ssl.SSLContext:
    """Trusts the authority, presents its own."""
    context = ssl.create_default_context(cadata=authority.root.pem.decode())
    context.minimum_version = context.maximum_version = version
    if own is not None:
        certificate, key = own.write(directory, "own")
        context.load_cert_chain(directory / certificate, directory / key)
    return context


@VERSIONS
def test_a_listed_client_is_served(
    tmp_path: Path, authority: Authority, process: Process, anna: Issued, version: ssl.TLSVersion
) -> None:
    with connected(process.proxy_url, client(tmp_path, authority, version, anna)) as wire:
        assert wire.ask("/").content == b"hello"
        assert wire.ask("/").content == b"hello"


@VERSIONS
def test_a_client_without_a_certificate_is_told_so(
    tmp_path: Path, authority: Authority, process: Process, version: ssl.TLSVersion
) -> None:
    with connected(process.proxy_url, client(tmp_path, authority, version)) as wire:
        response = wire.ask("/")
    assert (response.status, json.loads(response.content)["code"]) == (403, "client_certificate_required")


@VERSIONS
def test_a_client_that_nobody_lists_is_not_served(
    tmp_path: Path, authority: Authority, process: Process, version: ssl.TLSVersion
) -> None:
    assert not is_served(process.proxy_url, client(tmp_path, authority, version, authority.issue("bert")))


def is_served(url: str, tls: ssl.SSLContext) -> bool:
    """Whether there is an answer. With TLS 1.3 the client's handshake succeeds though it will be refused."""
    try:
        with connected(url, tls) as wire:
            wire.send(request("/"))
            return wire.head() != b""
    except (ssl.SSLError, ConnectionError):
        return False
