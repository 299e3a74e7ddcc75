"""Half a gigabyte through a real process while one end holds back: what it costs, and that all of it arrives."""

from __future__ import annotations

import ssl
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.authority import Authority
from tests.wire.memory import MIB, Growth
from tests.wire.wires import PATIENCE_SECONDS, Script, Wire, answer, connected, length_of, request, serving
from tests.wire.worlds import CORES, demanding, presenting

TOTAL = 512 * MIB
MOST = 16 * MIB


def sending(stalled: Event) -> Script:
    """Answers with as much content as the path says."""

    def script(wire: Wire) -> None:
        while head := wire.head():
            total = int(head.split()[1][1:])
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
            wire.pour(total, stalled)

    return script


def taking(go_on: Event) -> Script:
    """Reads content when told to go on."""

    def script(wire: Wire) -> None:
        while head := wire.head():
            if b"content-length" in head:
                assert go_on.wait(PATIENCE_SECONDS)
                wire.take(length_of(head))
            wire.send(answer(b""))

    return script


@pytest.fixture(params=["plain", "tls"])
def proxy(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the client's connection is: part of the configuration."""
    return {"tls": {"certificate": "server"}} if request.param == "tls" else {}


def trusting(authority: Authority, proxy: dict[str, Any]) -> ssl.SSLContext | None:
    return ssl.create_default_context(cadata=authority.root.pem.decode()) if proxy else None


@pytest.mark.parametrize("core", CORES)
def test_a_download_to_a_client_that_stalls_takes_little_memory(
    tmp_path: Path, authority: Authority, proxy: dict[str, Any], core: str
) -> None:
    stalled = Event()
    with (
        serving(sending(stalled), demanding(tmp_path, authority)) as port,
        presenting(tmp_path, authority, port, core, **proxy) as process,
        connected(process.proxy_url, trusting(authority, proxy)) as client,
    ):
        client.ask("/1000")
        growth = Growth(process.popen.pid)
        client.send(request(f"/{TOTAL}"))
        assert length_of(client.head()) == TOTAL
        assert stalled.wait(PATIENCE_SECONDS)
        client.take(TOTAL)
        assert growth.peak <= MOST


@pytest.mark.parametrize("core", CORES)
def test_an_upload_to_an_upstream_that_stalls_takes_little_memory(
    tmp_path: Path, authority: Authority, proxy: dict[str, Any], core: str
) -> None:
    go_on = Event()
    with (
        serving(taking(go_on), demanding(tmp_path, authority)) as port,
        presenting(tmp_path, authority, port, core, **proxy) as process,
        connected(process.proxy_url, trusting(authority, proxy)) as client,
    ):
        assert client.ask("/").status == 200
        growth = Growth(process.popen.pid)
        client.send(request("/", f"content-length: {TOTAL}", method="PUT"))
        client.pour(TOTAL, stalled=go_on)
        assert client.response().status == 200
        assert growth.peak <= MOST
