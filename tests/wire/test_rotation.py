"""What a real nginx sees of a real process: the certificate that was renewed a moment ago, and few connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from tests.authority import Authority
from tests.nginx import nginx
from tests.process import Process, ask, wait_until
from tests.wire.load import load
from tests.wire.wires import Wire, answer, connected, serving
from tests.wire.worlds import CORES, demanding, presenting

ROTATIONS = 20
REQUESTS_A_SECOND = 50
REQUESTS_BETWEEN = 15

SLOW_SECONDS = 0.1
"""There are always some under way when the certificate is rotated."""

SERVER = """
        ssl_certificate server.pem; ssl_certificate_key server.key;
        ssl_client_certificate ca.pem; ssl_verify_client on;
        location / {{ return 200 "$ssl_client_s_dn"; }}
        location /connection {{ return 200 "$connection"; }}
        location /slow {{ proxy_pass http://127.0.0.1:{slow}; proxy_set_header X-Seen "$ssl_client_s_dn"; }}
"""


def slow(wire: Wire) -> None:
    """Tells whom nginx has seen, after a while."""
    while head := wire.head():
        Event().wait(SLOW_SECONDS)
        wire.send(answer(head.partition(b"X-Seen: ")[2].partition(b"\r\n")[0]))


@pytest.fixture
def upstream(tmp_path: Path, authority: Authority) -> Iterator[int]:
    demanding(tmp_path, authority)
    with serving(slow) as port, nginx(tmp_path, SERVER.format(slow=port)) as port:
        yield port


@dataclass
class Rotating:
    """The certificate with the number that was rotated to, and who has been seen since."""

    directory: Path
    authority: Authority
    process: Process
    number: int = 0
    seen: list[int] = field(default_factory=list)

    def rotate(self) -> None:
        """Replace both files, each by a rename, and reload."""
        names = self.authority.issue(f"client {self.number + 1}").write(self.directory, "new")
        for name in names:
            (self.directory / name).rename(self.directory / name.replace("new", "client"))
        assert ask("POST", f"{self.process.admin_url}/reload").status == 200
        self.number += 1

    def request(self, wire: Wire) -> None:
        """Any that begins after a rotation must present what it brought, or what a later one did."""
        at_least = self.number
        path = "/slow" if len(self.seen) % 2 else "/"
        number = presented(wire, path)
        assert number >= at_least
        self.seen.append(number)


def presented(wire: Wire, path: str = "/") -> int:
    """The number of the certificate that nginx has seen."""
    response = wire.ask(path)
    assert response.status == 200, response
    return int(response.content.split()[1])


@pytest.mark.parametrize("core", CORES)
def test_rotations_under_load_lose_no_request_and_the_next_connection_presents_the_new_certificate(
    tmp_path: Path, authority: Authority, upstream: int, core: str
) -> None:
    with presenting(tmp_path, authority, upstream, core) as process, connected(process.proxy_url) as kept:
        rotating = Rotating(tmp_path, authority, process)
        with load(process.proxy_url, REQUESTS_A_SECOND, rotating.request):
            for number in range(1, ROTATIONS + 1):
                wait_until(lambda: len(rotating.seen) >= REQUESTS_BETWEEN * rotating.number)
                rotating.rotate()
                with connected(process.proxy_url) as fresh:
                    assert (presented(fresh), presented(kept)) == (number, number)


@pytest.mark.parametrize("core", CORES)
def test_500_requests_one_after_the_other_use_one_upstream_connection(
    tmp_path: Path, authority: Authority, upstream: int, core: str
) -> None:
    with presenting(tmp_path, authority, upstream, core) as process, connected(process.proxy_url) as client:
        assert len({client.ask("/connection").content for _ in range(500)}) == 1
