"""A handshake with an upstream, made with a certificate that is not in use. No request is sent, not one byte of it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import TypeVar

from exporter.certcheck.suitability import Check, fails, passes, unknown
from exporter.certcheck.text import one_line
from exporter.certificates.candidate import Candidate
from exporter.certificates.tls import LazyContexts
from exporter.places import Place
from exporter.target import Target

T = TypeVar("T")

_MOST_AT_ONCE = 8
_HEARD_WITHIN_SECONDS = 2.0
_CLOSED_WITHIN_SECONDS = 1.0
_MOST_READ = 64 * 1024

# OpenSSL's names for what the other end says; the rest is the name of RFC 8446 section 6.
_ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?([A-Z_]+)")


class Rehearsals:
    """At most eight at once, whoever asks for them."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)

    async def all(self, candidate: Candidate, places: Iterable[Place]) -> dict[Place, Check]:
        """Rehearse each place, in the role of the client of its upstream. Bounded by the timeout of each API."""
        contexts, found = LazyContexts(), dict[Place, Check]()

        async def one(place: Place) -> None:
            async with self._places:
                found[place] = await _rehearsed(candidate, place, contexts)

        async with asyncio.TaskGroup() as tasks:
            for place in places:
                tasks.create_task(one(place), name=f"rehearse {place.api_id}")
        return found


async def _rehearsed(candidate: Candidate, place: Place, contexts: LazyContexts) -> Check:
    if candidate.pair is None:
        return unknown("a handshake needs the private key of the certificate")
    anchors = place.in_use.anchors
    make = contexts.client(candidate.pair, anchors, (b"own" if anchors is not None else b"system", anchors or b""))
    try:
        context = await asyncio.to_thread(make)
    except (OSError, ValueError):
        return unknown("the API's upstream_ca cannot be used")
    assert place.target is not None
    return await rehearse(place.target, context, place.timeout_seconds)


async def rehearse(target: Target, context: ssl.SSLContext, timeout_seconds: float) -> Check:
    """What an upstream makes of the certificate in `context`. Fails only where the upstream can be reached."""
    try:
        async with asyncio.timeout(timeout_seconds) as limit:
            reader, writer = await asyncio.open_connection(target.host, target.port)
    except TimeoutError:
        return unknown(f"the upstream cannot be reached within {timeout_seconds:g} s")
    except OSError as exc:
        return unknown(f"the upstream cannot be reached: {_why(exc)}")
    try:
        connection = _Connection(reader, writer, context, target.host)
        async with asyncio.timeout_at(limit.when()):
            await connection.until(connection.tls.do_handshake)
    except TimeoutError:
        return unknown(f"the upstream did not complete the handshake within {timeout_seconds:g} s")
    except OSError as exc:
        return _failure(exc, "in the handshake")
    else:
        return await _verdict(connection)
    finally:
        await _end(writer)


class _Connection:
    """A TLS connection of which every byte is in our hands: nothing is sent but what the handshake is made of."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str
    ) -> None:
        self._reader, self._writer = reader, writer
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._received, self._to_send, server_hostname=host)

    async def until(self, done: Callable[[], T]) -> T:
        """Do what may need more from the other end, as often as it takes."""
        while True:
            try:
                return done()
            except ssl.SSLWantReadError:
                pass
            finally:
                # Also when it failed: the other end is told why.
                self._writer.write(self._to_send.read())
            await self._writer.drain()
            data = await self._reader.read(_MOST_READ)
            self._received.write(data) if data else self._received.write_eof()

    def heard(self) -> bool:
        """Whether the other end has taken our certificate; False: it has left instead.

        Raises:
            ssl.SSLWantReadError: nothing has been heard as yet.
            ssl.SSLError: it refused.
        """
        try:
            return bool(self.tls.read(1))
        except ssl.SSLWantReadError:
            # RFC 8446 section 4.6.1: a ticket is sent after the client's Finished has been received.
            session = self.tls.session
            if session is None or not session.has_ticket:
                raise
            return True


async def _verdict(connection: _Connection) -> Check:
    """What comes after the handshake: only in TLS 1.3 is our certificate looked at after our part of it is complete."""
    if connection.tls.version() != "TLSv1.3":
        return passes("the upstream has completed the handshake with it")
    try:
        async with asyncio.timeout(_HEARD_WITHIN_SECONDS):
            accepted = await connection.until(connection.heard)
    except TimeoutError:
        return unknown(f"the upstream said nothing within {_HEARD_WITHIN_SECONDS:g} s of the handshake")
    except OSError as exc:
        return _failure(exc, "after the handshake")
    return passes("the upstream has accepted it") if accepted else fails("the upstream left after the handshake")


def _failure(exc: OSError, when: str) -> Check:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return fails(f"the upstream's own certificate failed verification: {one_line(exc.verify_message)}")
    reason = exc.reason if isinstance(exc, ssl.SSLError) else None
    if reason is None or isinstance(exc, ssl.SSLEOFError):
        return fails(f"the upstream ended the connection {when}")
    alert = _ALERT.fullmatch(reason)
    if alert is not None:
        return fails(f"the upstream refused it {when}: {alert[1].lower()}")
    return fails(f"the connection failed {when}: {reason.lower().replace('_', ' ')}")


def _why(exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return "its name cannot be resolved"
    # Loops put a text of their own in place of the system's.
    return os.strerror(exc.errno) if exc.errno else "no address of it takes connections"


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(_CLOSED_WITHIN_SECONDS):
            await writer.wait_closed()
    except OSError:
        # Also when it takes too long: a TimeoutError is one.
        writer.transport.abort()
