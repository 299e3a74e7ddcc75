"""The port of a proxy core, and the values that cross it.

A core carries requests to upstreams and reports what its connections use. It knows nothing of routes, of expiry, or of
ASGI. Cores are chosen by name from the entry-point group `certgauge.proxy_cores`; each must pass the conformance suite.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from exporter.certcheck.ports import Observer
from exporter.certcheck.slot import Observation
from exporter.target import Target

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Field lines in the order received; names as received, in any case."""


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """Where one generation of an API sends its requests, and as whom. A core keeps one pool for each."""

    api_id: str
    target: Target
    tls: Callable[[], ssl.SSLContext] | None
    """Makes the context, or gives the one made before. Blocks, so it is called off the loop. None: plain HTTP."""
    timeout_seconds: float = 30.0
    """For connecting, and from the request sent to the response's header section."""
    observation: Observation | None = None
    """Of our own certificate, to be reported for every request that presents it; None: there is none to monitor."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request as it goes out: end-to-end fields only, with Host; the target is the path and query, bytes kept."""

    method: str
    target: bytes
    headers: Headers
    body: AsyncIterator[bytes] | None = None
    """None: there is none. With a Content-Length field, exactly so many bytes; without, it is sent chunked.

    What it raises comes out of the call as it is, and the request is left incomplete for the upstream to see.
    """


class UpstreamResponse(Protocol):
    """A response whose header section has arrived."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    def body(self) -> AsyncIterator[bytes]:
        """The content as it arrives, undecoded.

        Raises:
            UpstreamError: it ended early.
        """
        ...


class Failure(StrEnum):
    """What went wrong between us and the upstream: `code` in the response to the client."""

    UNREACHABLE = "upstream_unreachable"
    CLOSED = "upstream_closed"
    BAD_RESPONSE = "upstream_bad_response"
    SERVER_CERTIFICATE_INVALID = "upstream_server_certificate_invalid"
    SERVER_CERTIFICATE_EXPIRED = "upstream_server_certificate_expired"
    CERTIFICATE_REFUSED = "upstream_certificate_refused"
    CERTIFICATE_UNUSABLE = "certificate_unusable"
    OVERLOADED = "overloaded"
    TIMEOUT = "upstream_timeout"


class UpstreamError(Exception):
    """The upstream gave no, or no whole, response."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


class ProxyCore(Protocol):
    """Carries requests to upstreams and reports the certificates its connections use."""

    async def apply(self, upstreams: Collection[Upstream]) -> None:
        """Serve these and no others: the new whole.

        Returns when requests may use the new ones. What an upstream that is gone still carries is cut off: draining is
        the caller's, who leaves an upstream in until its requests are done or their time is up.
        """
        ...

    async def close(self) -> None:
        """Cut off everything, and wait until it is gone."""
        ...


class ForwardingCore(ProxyCore, Protocol):
    """A core that carries requests in this process."""

    def forward(self, upstream: Upstream, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamResponse]:
        """Send a request; enter for the response, leave to be done with it. Cancelling cancels the call.

        The upstream's observation is reported before anything is sent, so that a handshake which fails because our
        certificate has expired has been noticed too.

        Raises:
            UpstreamError: on entering, before any response; or while the body is read.
        """
        ...


CoreFactory: TypeAlias = Callable[[Observer], ForwardingCore]
