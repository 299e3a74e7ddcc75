"""What one upstream presents in its handshakes: an observation for each of its nodes and chains, made once."""

from __future__ import annotations

import ssl

from exporter.certcheck.certificate import InvalidReason, Reading, read_certificate
from exporter.certcheck.ports import Observer
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.usage import Usage
from exporter.proxy.clients import unverified_chain
from exporter.proxy.core import Upstream
from exporter.proxy.tls_failures import reason_of_verification, words_of_verification

_MOST_CERTIFICATES = 10
_MOST_KNOWN = 100

_Known = tuple[str, tuple[bytes, ...], InvalidReason | None]


class Presented:
    """Reports each handshake with an upstream, also a failed one. The same chain of the same node is read once."""

    def __init__(self, upstream: Upstream, observer: Observer) -> None:
        self.presents = upstream.certificate is not None
        """Whether a certificate of ours is presented in them."""
        self._upstream = upstream
        self._observe = observer
        self._known: dict[_Known, Observation] = {}

    def accepted(self, address: str, connection: ssl.SSLObject | None) -> Usage | None:
        """After a handshake. Gives what counts the requests that depend on the chain; None: it is not monitored."""
        if connection is None or not self._upstream.observes:
            return None
        return self._report(address, unverified_chain(connection), None, "")

    def failed(self, address: str, exc: Exception) -> None:
        """After a handshake in which the upstream's certificate failed verification, as `certificates.tls` tells it."""
        chain: tuple[bytes, ...] = getattr(exc, "presented", ())
        if self._upstream.observes:
            self._report(address, chain, reason_of_verification(exc), words_of_verification(exc))

    def _report(self, address: str, chain: tuple[bytes, ...], reason: InvalidReason | None, words: str) -> Usage | None:
        if not chain:
            return None
        key = address, chain, reason
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
        leaf, *others = [read_certificate(der) for der in chain[:_MOST_CERTIFICATES]]
        if reason is not None:
            leaf = Reading(leaf.certificate, leaf.invalid or reason, leaf.detail or words)
        place = (None, target.host, target.port, address)
        return Observation(self._upstream.api_id, Role.UPSTREAM_SERVER, (leaf, *others), *place)
