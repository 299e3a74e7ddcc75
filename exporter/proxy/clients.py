"""Which clients an API serves: what they presented, judged once for a connection, and their dates for each request."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from exporter.certcheck.certificate import Certificate, Reading, read_certificate
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.usage import Usage
from exporter.proxy.core import Fields
from exporter.proxy.errors import Refusal

_MOST_KNOWN = 1000

Path: TypeAlias = tuple[Certificate, ...]
"""From a leaf to an issuer that is trusted, both included; or a leaf that is trusted itself."""

Verify: TypeAlias = Callable[[tuple[bytes, ...]], list[Path]]
"""Every path from the first of these certificates (DER) to a trusted issuer, times aside. Blocks for a millisecond."""


class Listed(NamedTuple):
    """A certificate that an API lists itself."""

    certificate: Certificate
    observation: Observation | None
    """Of its reference; None: it is not the first of its file, or nothing is monitored."""


class Admission:
    """What one API makes of what one client presented."""

    __slots__ = ("_paths", "_standing", "observation")

    def __init__(
        self, standing: Refusal | None, paths: list[Path] | None = None, observation: Observation | None = None
    ) -> None:
        self.observation = observation
        """To be reported for every request, also while the client is refused; None: there is nothing to monitor."""
        self._standing = standing
        self._paths = [_period(path) for path in paths or ()]

    def refusal(self, now: datetime) -> Refusal | None:
        """Why a request is not served now; None: it is.

        RFC 5280 section 6.1.3 (a) (2): every certificate of the path has to be valid, the trusted one included. Where
        there are several paths, one is enough.
        """
        if self._standing is not None:
            return self._standing
        expired = False
        for begins, ends in self._paths:
            if begins <= now <= ends:
                return None
            expired = expired or now > ends
        return Refusal.CLIENT_CERTIFICATE_EXPIRED if expired else Refusal.CLIENT_CERTIFICATE_NOT_ALLOWED


class ClientPolicy:
    """The allow-list of one generation of an API."""

    def __init__(
        self,
        api_id: str,
        certificates: frozenset[bytes],
        listed: Mapping[str, Listed],
        verify: Verify,
        *,
        observes: bool,
    ) -> None:
        self.certificates = certificates
        """All that can be used of the list, DER: what a listener has to let through. Empty: nobody is served."""
        self._api_id = api_id
        self._listed = dict(listed)
        self._verify = verify
        self._observes = observes
        # One for all connections of a client: each would count for itself.
        self._observation_of = lru_cache(_MOST_KNOWN)(self._presented)

    def judge(self, chain: tuple[bytes, ...]) -> Admission:
        """What to make of a chain as it was presented, leaf first. Costs a millisecond: call it once for each chain.

        A listed certificate is allowed by being that very certificate. Any other has to be issued by a listed issuer;
        what another API lists does not count.
        """
        if not self.certificates:
            return Admission(Refusal.CLIENT_CERTIFICATE_NOT_ALLOWED)
        if not chain:
            return Admission(Refusal.CLIENT_CERTIFICATE_REQUIRED)
        leaf = read_certificate(chain[0]).certificate
        listed = self._listed.get(leaf.cert_id) if leaf else None
        paths = self._paths(listed, chain)
        if not paths:
            return Admission(Refusal.CLIENT_CERTIFICATE_NOT_ALLOWED)
        return Admission(None, paths, self._observation(listed, min(paths, key=len)))

    def paths(self, chain: tuple[bytes, ...]) -> list[Path]:
        """Every way in which a chain is allowed, its dates aside; never one of nothing. Costs a millisecond."""
        leaf = read_certificate(chain[0]).certificate if self.certificates else None
        return self._paths(self._listed.get(leaf.cert_id), chain) if leaf else []

    def _paths(self, listed: Listed | None, chain: tuple[bytes, ...]) -> list[Path]:
        return [(listed.certificate,)] if listed else self._verify(chain)

    def _observation(self, listed: Listed | None, path: Path) -> Observation | None:
        if not self._observes:
            return None
        if listed is not None and listed.observation is not None:
            return listed.observation
        # The trusted issuer has a slot of its own already.
        return self._observation_of(path[:-1] or path)

    def _presented(self, path: Path) -> Observation:
        return Observation(self._api_id, Role.CLIENT, tuple(Reading(each) for each in path))


def presented(transport: asyncio.BaseTransport) -> tuple[bytes, ...]:
    """What a client presented in its handshake, DER, leaf first, unverified; () if nothing, or without TLS."""
    connection = transport.get_extra_info("ssl_object")
    return unverified_chain(connection) if connection is not None else ()


def unverified_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """What the other end presented in a handshake, DER, leaf first, whether it was verified or not."""
    # The method has a public name from 3.13 only, which fails where the chain is one of nothing, as it is where nothing
    # was presented. 2 is the module's ENCODING_DER.
    chain = connection._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
    return tuple(certificate.public_bytes(2) for certificate in chain or () if certificate is not None)


def _period(path: Path) -> tuple[datetime, datetime]:
    return max(each.not_before for each in path), min(each.not_after for each in path)


class Client:
    """Who is at the other end of a connection: what it presented is read, and judged by each API, once."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self.scheme = "https" if transport.get_extra_info("ssl_object") is not None else "http"
        peer = transport.get_extra_info("peername") or ("unknown",)
        self.forwarded: Fields = f"x-forwarded-for: {peer[0]}\r\nx-forwarded-proto: {self.scheme}\r\n".encode()
        """What X-Forwarded-* says of it."""
        self.served: Usage | None = None
        """Counts the requests, for the certificate that it was served with; None: there is none, or no monitoring."""
        self._transport = transport
        self._presented: tuple[bytes, ...] | None = None
        self._admissions: dict[str, tuple[ClientPolicy, Admission]] = {}

    def admission(self, api_id: str, policy: ClientPolicy) -> Admission:
        """What this generation of an API makes of it."""
        if self._presented is None:
            self._presented = presented(self._transport)
        judged = self._admissions.get(api_id)
        if judged is None or judged[0] is not policy:
            judged = self._admissions[api_id] = policy, policy.judge(self._presented)
        return judged[1]
