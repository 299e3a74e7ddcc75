"""The TLS of a listener: which clients it lets in, what they presented, and what is counted."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, cast

import pytest
import uvloop

from exporter.certificates.tls import Pair, client_context, is_loadable, server_context
from exporter.listener_tls import ListenerTls
from exporter.proxy.clients import presented
from tests.authority import DAY, Authority, Issued

ROOT, OTHER = Authority("partners"), Authority("others")
TEAM = ROOT.intermediate("team")
# Of its own: a client adds to its chain what it trusts itself.
INTERNAL = Authority("internal")
GATEWAY = INTERNAL.issue("gateway.internal")
CLIENT, EXPIRED, STRANGER = ROOT.issue("client"), ROOT.issue("late", -DAY), OTHER.issue("stranger")
MEMBER, LAPTOP = TEAM.issue("member"), Authority("laptop").root

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
Test: TypeAlias = Callable[["Listener"], Coroutine[Any, Any, None]]


class Told(asyncio.Protocol):
    """Notes what was presented to it, and says a byte."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._listener.presented.append(presented(transport))
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"x")

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@dataclass
class Listener:
    """A server with exchangeable TLS, and a client that speaks one version."""

    version: ssl.TLSVersion
    handshakes: int = 0
    failures: int = 0
    presented: list[tuple[bytes, ...]] = field(default_factory=list)
    port: int = 0
    tls: ListenerTls = field(init=False)

    def __post_init__(self) -> None:
        self.tls = ListenerTls(partial(self._count, "handshakes"), partial(self._count, "failures"))

    def _count(self, what: str) -> None:
        setattr(self, what, getattr(self, what) + 1)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Told(self), "127.0.0.1", 0, ssl=self.tls.context)
        async with asyncio.timeout(60), server:
            self.port = server.sockets[0].getsockname()[1]
            yield

    def let_in(self, *clients: bytes) -> ssl.SSLContext:
        context = server_context(Pair(GATEWAY.pem, GATEWAY.key_pem(), b""), clients)
        self.tls.use(context)
        return context

    async def knock(self, *own: Issued) -> bool:
        """Whether a client that presents these is let in."""
        return (await self.knock_again(self.client(*own)))[0]

    async def knock_again(
        self, context: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> tuple[bool, ssl.SSLSession | None]:
        """Whether it is, with the session of an earlier time; and the session for the next time."""
        return await asyncio.to_thread(self._knock, context, session)

    def client(self, *own: Issued) -> ssl.SSLContext:
        pair = Pair(b"".join(each.pem for each in own), own[0].key_pem(), b"") if own else None
        context = client_context(pair, INTERNAL.root.pem)
        context.minimum_version = context.maximum_version = self.version
        return context

    def _knock(self, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        try:
            with context.wrap_socket(plain, server_hostname="gateway.internal", session=session) as connection:
                assert connection.version() == self.version.name.replace("_", ".")
                assert not connection.session_reused
                # With TLS 1.3 only the first byte tells: the server has the last word.
                return connection.recv(1) == b"x", connection.session
        except OSError:
            return False, None
        finally:
            plain.close()


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    given: ssl.TLSVersion = request.param
    return given


@pytest.fixture(params=LOOPS)
def on_loop(request: pytest.FixtureRequest, version: ssl.TLSVersion) -> Callable[[Test], None]:
    """Runs a test with a listener, on one kind of loop and with one version of TLS."""

    async def run(test: Test) -> None:
        listener = Listener(version)
        async with listener.open():
            await test(listener)

    def start(test: Test) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(run(test))

    return start


@pytest.mark.parametrize(
    ("let_in", "own", "passes"),
    [
        ([], [], True),
        ([CLIENT], [], True),
        ([CLIENT], [CLIENT], True),
        ([ROOT.root], [CLIENT], True),
        ([ROOT.root], [MEMBER, TEAM.root], True),
        ([TEAM.root], [MEMBER], True),
        ([LAPTOP], [LAPTOP], True),
        # The answer tells it why: here nobody would learn.
        ([EXPIRED], [EXPIRED], True),
        ([ROOT.root], [EXPIRED], True),
        ([OTHER.root, ROOT.root], [CLIENT], True),
        ([ROOT.root], [MEMBER], False),
        ([ROOT.root], [STRANGER], False),
        ([ROOT.root], [LAPTOP], False),
        ([CLIENT], [EXPIRED], False),
    ],
)
def test_clients_are_let_in_by_what_is_listed_whatever_the_date(
    on_loop: Callable[[Test], None],
    let_in: list[Issued],
    own: list[Issued],
    passes: bool,  # noqa: FBT001
) -> None:
    async def test(listener: Listener) -> None:
        listener.let_in(*(each.der for each in let_in))
        assert await listener.knock(*own) is passes
        assert listener.presented == ([tuple(each.der for each in own)] if passes else [])
        assert (listener.handshakes, listener.failures) == (1, int(not passes))

    on_loop(test)


def test_a_listener_that_lets_in_nobody_in_particular_asks_for_nothing(on_loop: Callable[[Test], None]) -> None:
    async def test(listener: Listener) -> None:
        listener.let_in()
        assert await listener.knock(STRANGER)
        assert listener.presented == [()]

    on_loop(test)


def test_new_connections_are_served_by_the_new_context_and_old_ones_by_the_old(
    on_loop: Callable[[Test], None], version: ssl.TLSVersion
) -> None:
    async def test(listener: Listener) -> None:
        listener.let_in()
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", listener.port, ssl=listener.client(CLIENT), server_hostname="gateway.internal"
        )
        assert await reader.readexactly(1) == b"x"
        for lists, passes in (([CLIENT], (True, False)), ([STRANGER], (False, True)), ([], (True, True))):
            listener.let_in(*(each.der for each in lists))
            assert (await listener.knock(CLIENT), await listener.knock(STRANGER)) == passes
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        writer.close()
        await writer.wait_closed()

    on_loop(test)


def test_the_certificate_that_is_served_is_exchanged_too(on_loop: Callable[[Test], None]) -> None:
    async def test(listener: Listener) -> None:
        for clients in ([], [ROOT.root.der]):
            for issued in (GATEWAY, INTERNAL.issue("gateway.internal")):
                listener.tls.use(server_context(Pair(issued.pem, issued.key_pem(), b""), clients))
                seen = await asyncio.to_thread(served_to, listener)
                assert seen == issued.der

    on_loop(test)


def served_to(listener: Listener) -> bytes | None:
    with (
        socket.create_connection(("127.0.0.1", listener.port), timeout=10) as plain,
        listener.client().wrap_socket(plain, server_hostname="gateway.internal") as connection,
    ):
        return connection.getpeercert(binary_form=True)


def test_no_session_is_resumed_and_none_is_kept(on_loop: Callable[[Test], None]) -> None:
    async def test(listener: Listener) -> None:
        context, session = listener.let_in(ROOT.root.der), None
        client = listener.client(MEMBER, TEAM.root)
        for _ in range(3):
            passes, session = await listener.knock_again(client, session)
            assert passes
        assert listener.presented == [(MEMBER.der, TEAM.root.der)] * 3
        assert context.session_stats()["number"] == listener.tls.context.session_stats()["number"] == 0

    on_loop(test)


def test_only_handshakes_that_fail_are_counted_and_none_is_logged(
    on_loop: Callable[[Test], None], caplog: pytest.LogCaptureFixture
) -> None:
    def say(listener: Listener, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as plain:
            plain.sendall(data)
            plain.shutdown(socket.SHUT_WR)
            try:
                return plain.recv(1000)
            except ConnectionResetError:
                return b""

    async def test(listener: Listener) -> None:
        listener.let_in(ROOT.root.der)
        for leaves in (b"", b"\x16\x03\x01\x02\x00\x01"):
            await asyncio.to_thread(say, listener, leaves)
        assert listener.failures == 0
        await asyncio.to_thread(say, listener, b"GET / HTTP/1.1\r\n\r\n")
        await listener.knock(STRANGER)
        assert listener.failures == 2

    caplog.set_level(logging.DEBUG)
    on_loop(test)
    assert [record.message for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_listener_without_a_context_fails_every_handshake() -> None:
    async def test() -> None:
        listener = Listener(ssl.TLSVersion.TLSv1_3)
        async with listener.open():
            assert not await listener.knock()

    asyncio.run(test())


def test_what_openssl_refuses_lets_nobody_in_and_keeps_nobody_out() -> None:
    bad = CLIENT.der[:-10]
    context = server_context(Pair(GATEWAY.pem, GATEWAY.key_pem(), b""), [bad, CLIENT.der, CLIENT.der])

    assert (is_loadable(bad), is_loadable(CLIENT.der)) == (False, True)
    assert context.cert_store_stats()["x509"] == 1
