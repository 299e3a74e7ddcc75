"""What one upstream presents in its handshakes: an observation for each of its nodes and chains, made once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from exporter.certcheck.certificate import LARGE, InvalidReason, Reading, read_certificate, read_dates
from exporter.certcheck.ports import Observer
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.usage import Usage
from exporter.proxy.clients import unverified_chain
from exporter.proxy.core import Upstream
from exporter.proxy.tls_failures import reason_of_verification, words_of_verification

_MOST_CERTIFICATES = 10
_MOST_KNOWN = 100

_Known = tuple[str, bytes, InvalidReason | None]
"""The node, a digest of its chain, and what is wrong with it."""


class Peer(NamedTuple):
    """The other end of a connection."""

    usage: Usage | None = None
    """Counts the requests that depend on what it presented; None: that is not monitored."""
    undecided: ssl.SSLObject | None = None
    """Set where it is told only after the handshake whether our certificate is accepted: in TLS 1.3."""

    def has_refused(self) -> bool:
        """Whether it has refused our certificate without a word, if the connection ended before its first response.

        In TLS 1.3 the client's handshake is complete before the server has looked at the certificate. One that accepts
        it sends session tickets (RFC 8446 section 4.6.1) before anything else; the alert of one that does not is lost
        where the connection is reset.
        """
        if self.undecided is None:
            return False
        session = self.undecided.session
        return session is None or not session.has_ticket


class Presented:
    """Reports each handshake with an upstream, also a failed one. The same chain of the same node is read once."""

    def __init__(self, upstream: Upstream, observer: Observer) -> None:
        self._upstream = upstream
        self._observe = observer
        self._known: dict[_Known, Observation] = {}

    def accepted(self, transport: asyncio.BaseTransport) -> Peer:
        """After a handshake; or where there was none, for it is plain HTTP."""
        connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if connection is None:
            return Peer()
        usage = None
        if self._upstream.observes:
            usage = self._report(transport.get_extra_info("peername")[0], unverified_chain(connection), None, "")
        undecided = self._upstream.certificate is not None and connection.version() == "TLSv1.3"
        return Peer(usage, connection if undecided else None)

    def failed(self, address: str, exc: Exception) -> None:
        """After a handshake in which the upstream's certificate failed verification, as `certificates.tls` has it."""
        chain: tuple[bytes, ...] = getattr(exc, "presented", ())
        if self._upstream.observes:
            self._report(address, chain, reason_of_verification(exc), words_of_verification(exc))

    def _report(self, address: str, chain: tuple[bytes, ...], reason: InvalidReason | None, words: str) -> Usage | None:
        if not chain:
            return None
        # A hundred chains themselves may be ten megabytes.
        key = address, sha256(b"".join(chain)).digest(), reason
        known = self._known.pop(key, None) or self._observation(address, chain, reason, words)
        # Put back last: a dict keeps its order.
        self._known[key] = known
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._observe(known)
        return known.usage

    def _observation(
        self, address: str, chain: tuple[bytes, ...], reason: InvalidReason | None, words: str
    ) -> Observation:
        target = self._upstream.target
        leaf, *others = _read(chain[:_MOST_CERTIFICATES])
        if reason is not None:
            leaf = Reading(leaf.certificate, leaf.invalid or reason, leaf.detail or words)
        place = (None, target.host, target.port, address)
        # One count for a node, whatever it presents: connections of before a renewal are still used.
        usage = next((each.usage for (at, *_), each in self._known.items() if at == address), Usage())
        return Observation(self._upstream.api_id, Role.UPSTREAM_SERVER, (leaf, *others), *place, usage=usage)


def _read(chain: tuple[bytes, ...]) -> Iterator[Reading]:
    """On the event loop, and for each handshake with a new chain: of all beyond what is large, the dates alone."""
    left = LARGE
    for der in chain:
        left -= len(der)
        yield read_certificate(der) if left >= 0 else read_dates(der)
