"""SIGTERM while there is something under way."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

from tests.process import PATIENCE_SECONDS, run, wait_until
from tests.wire.wires import Script, Wire, answer, connected, request, serving
from tests.wire.worlds import configured

DRAIN_SECONDS = 1
UPGRADE = request(
    "/",
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


def holding(reached: Event, go_on: Event) -> Script:
    """Answers when told to."""

    def script(wire: Wire) -> None:
        while wire.head():
            reached.set()
            assert go_on.wait(PATIENCE_SECONDS)
            wire.send(answer(b"finished"))

    return script


def echoing(wire: Wire) -> None:
    """A tunnel's other end."""
    assert b"upgrade: websocket" in wire.head().lower()
    wire.send(SWITCHING)
    while part := wire.part():
        wire.send(part)


def refuses(url: str) -> bool:
    """Whether it takes no new connection."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE_SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_finishes_what_is_under_way_and_takes_nothing_new(tmp_path: Path) -> None:
    reached, go_on = Event(), Event()
    with (
        serving(holding(reached, go_on)) as port,
        run(configured(tmp_path, f"http://127.0.0.1:{port}/")) as process,
        connected(process.proxy_url) as client,
    ):
        client.send(request("/"))
        assert reached.wait(PATIENCE_SECONDS)
        process.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(process.proxy_url))
        go_on.set()
        assert client.response().content == b"finished"
        assert client.part() == b""
        assert process.popen.wait(PATIENCE_SECONDS) == 0
        assert "Traceback" not in process.errors


def test_sigterm_ends_an_open_tunnel_within_the_drain_timeout(tmp_path: Path) -> None:
    proxy = {"drain_timeout_seconds": DRAIN_SECONDS}
    with (
        serving(echoing) as port,
        run(configured(tmp_path, f"http://127.0.0.1:{port}/", proxy=proxy)) as process,
        connected(process.proxy_url) as client,
    ):
        client.send(UPGRADE)
        assert b" 101 " in client.head()
        client.send(b"ping")
        assert client.part() == b"ping"
        began_at = time.monotonic()
        process.popen.send_signal(signal.SIGTERM)
        assert client.head() == b""
        assert process.popen.wait(PATIENCE_SECONDS) == 0
        assert time.monotonic() - began_at < DRAIN_SECONDS + 2
        assert "Traceback" not in process.errors
