"""Rehearsals: real handshakes with real upstreams, and not a byte of a request."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from exporter.certcheck.suitability import Check
from exporter.certificates.candidate import Candidate, read_candidate
from exporter.certificates.tls import Pair, client_context
from exporter.rehearsal import rehearse
from exporter.target import Target
from tests.authority import DAY, Authority, Issued
from tests.nginx import nginx
from tests.proxy.upstreams import server_tls, unaccepting, unused_port
from tests.tls_upstream import tls_upstream

AUTHORITY = Authority()
OWN = AUTHORITY.issue("orders-client")
STRANGER = Authority("strange CA").issue("orders-client")
SERVER = AUTHORITY.issue("localhost")
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def presenting(own: Issued | None = OWN, trusts: Authority = AUTHORITY) -> ssl.SSLContext:
    return client_context(Pair(own.pem, own.key_pem(), b"") if own else None, trusts.root.pem)


async def tried(
    context: ssl.SSLContext, *, port: int, host: str = "localhost", seconds: float = 10.0
) -> tuple[str, str]:
    found: Check = await rehearse(Target("https", host, port, "/"), context, seconds)
    return found.status.value, found.detail


@pytest.mark.parametrize(
    ("version", "detail"),
    [(V12, "the upstream has completed the handshake with it"), (V13, "the upstream has accepted it")],
)
async def test_an_upstream_that_accepts_is_sent_no_request(version: ssl.TLSVersion, detail: str) -> None:
    async with tls_upstream(server_tls(SERVER, AUTHORITY, version)) as seen:
        assert await tried(presenting(), port=seen.port) == ("pass", detail)
        await seen.over.wait()
    assert (seen.handshakes, seen.application_bytes) == (1, 0)


@pytest.mark.parametrize(("version", "when"), [(V12, "in the handshake"), (V13, "after the handshake")])
@pytest.mark.parametrize(
    ("own", "alert"),
    [
        (STRANGER, "unknown_ca"),
        (AUTHORITY.issue("orders-client", -1 * DAY), "certificate_expired"),
        (None, {V12: "handshake_failure", V13: "certificate_required"}),
    ],
)
async def test_an_upstream_that_refuses_says_so_by_its_alert(
    version: ssl.TLSVersion, when: str, own: Issued | None, alert: str | dict[ssl.TLSVersion, str]
) -> None:
    name = alert if isinstance(alert, str) else alert[version]
    async with tls_upstream(server_tls(SERVER, AUTHORITY, version)) as seen:
        found = await tried(presenting(own), port=seen.port)
        await seen.over.wait()
    assert found == ("fail", f"the upstream refused it {when}: {name}")
    assert (seen.handshakes, seen.application_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (AUTHORITY.issue("localhost", -1 * DAY), "certificate has expired"),
        (Authority("strange CA").issue("localhost"), "unable to get local issuer certificate"),
        (AUTHORITY.issue("other.example"), "Hostname mismatch, certificate is not valid for 'localhost'."),
    ],
)
async def test_an_upstream_whose_own_certificate_is_not_accepted_is_told_apart(server: Issued, why: str) -> None:
    async with tls_upstream(server_tls(server)) as seen:
        found = await tried(presenting(), port=seen.port)
        await seen.over.wait()
    assert found == ("fail", f"the upstream's own certificate failed verification: {why}")
    assert (seen.handshakes, seen.application_bytes) == (0, 0)


async def test_an_upstream_without_tickets_that_says_nothing_leaves_it_unknown() -> None:
    context = server_tls(SERVER, AUTHORITY, V13)
    context.num_tickets = 0
    async with tls_upstream(context) as seen:
        found = await tried(presenting(), port=seen.port)
        await seen.over.wait()
    assert found == ("unknown", "the upstream said nothing within 2 s of the handshake")
    assert (seen.handshakes, seen.application_bytes) == (1, 0)


async def test_an_upstream_that_leaves_after_the_handshake_has_not_accepted() -> None:
    context = server_tls(SERVER, AUTHORITY, V13)
    context.num_tickets = 0
    async with tls_upstream(context, leaves=True) as seen:
        found = await tried(presenting(), port=seen.port)
    assert found == ("fail", "the upstream ended the connection after the handshake")


async def test_an_upstream_that_does_not_speak_tls_fails() -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        found = await tried(presenting(), port=server.sockets[0].getsockname()[1])
    assert found == ("fail", "the connection failed in the handshake: wrong version number")


async def test_an_upstream_that_is_not_there_leaves_it_unknown() -> None:
    found = await tried(presenting(), port=unused_port(), host="127.0.0.1")
    assert found == ("unknown", "the upstream cannot be reached: Connection refused")


async def test_an_upstream_that_does_not_take_connections_is_given_up_in_time() -> None:
    async with unaccepting() as port:
        found = await tried(presenting(), port=port, host="127.0.0.1", seconds=0.2)
    assert found == ("unknown", "the upstream cannot be reached within 0.2 s")


async def test_an_upstream_that_does_not_answer_is_given_up_in_time() -> None:
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        found = await tried(presenting(), port=server.sockets[0].getsockname()[1], seconds=0.2)
        await left.wait()
    assert found == ("unknown", "the upstream did not complete the handshake within 0.2 s")


async def test_nginx_takes_any_certificate_in_the_handshake(tmp_path: Path) -> None:
    SERVER.write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.root.pem)
    directives = "ssl_certificate server.pem; ssl_certificate_key server.key;"
    directives += "ssl_client_certificate ca.pem; ssl_verify_client on; return 200;"
    with nginx(tmp_path, directives) as port:
        for own in (OWN, STRANGER):
            assert (await tried(presenting(own), port=port))[0] == "pass"


def test_a_candidate_shows_no_key() -> None:
    candidate: Candidate = read_candidate(OWN.pem + OWN.key_pem())
    assert candidate.pair is not None
    assert "PRIVATE" not in repr(candidate)
