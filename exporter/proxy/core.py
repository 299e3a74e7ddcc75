"""The port of a proxy core, and the values that cross it.

A core carries requests to upstreams and reports what its connections use. It knows nothing of routes, of expiry, or of
the client. Cores are chosen by name from the entry-point group `certgauge.proxy_cores`; each must pass the conformance
suite.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.ports import Observer
from exporter.certcheck.slot import Observation
from exporter.certcheck.usage import Usage
from exporter.target import Target

Fields: TypeAlias = bytes
"""Field lines as they stand in a message, each with its CRLF: order, case and bytes as received."""


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
    certificate: Certificate | None = None
    """Our own; None: none is presented, or it cannot be read."""
    observes: bool = False
    """Whether what the upstream presents in a handshake, also a failed one, is to be reported."""
    usage: Usage = field(default_factory=Usage, repr=False)
    """Counts the requests, for what is configured for them."""


class UpstreamRequest(NamedTuple):
    """A request as it goes out: end-to-end fields only, with Host; the target is the path and query, bytes kept."""

    method: str
    target: bytes
    fields: Fields
    length: int | None = 0
    """Of the content. None: unknown, it is sent chunked. A Content-Length field, if any, is among the fields."""
    content: bytes = b""
    """What has come of it together with the head; the rest is sent through the call."""
    upgrade: bytes | None = None
    """What the client would change to: the value of the Upgrade field (RFC 9110 section 7.8). No content then."""


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


class Responder(Protocol):
    """Takes what an upstream answers to one call. None of its methods waits or raises.

    The order is: `informed` any number of times, `began`, `received` any number of times, `ended`. Instead of any of
    them, but after neither `ended` nor `Call.cancel()`, may come `failed`, the last one then. `switched` instead of
    `began` makes the call a tunnel: what is received and sent from then on are bytes of the other protocol.
    """

    def informed(self, status: int, fields: Fields) -> None:
        """An interim response, 100 to 199 but not 101 (RFC 9110 section 15.2)."""
        ...

    def began(self, status: int, fields: Fields, length: int | None, content: bytes = b"") -> None:
        """The final response's header section: end-to-end fields.

        `length` is that of the whole content, None: unknown; `content` is what has come of it together with the head.
        """
        ...

    def switched(self, protocol: bytes, fields: Fields) -> None:
        """101, with a protocol that the request had offered."""
        ...

    def received(self, data: bytes) -> None:
        """A part of the content, as it came, undecoded; never empty."""
        ...

    def ended(self) -> None:
        """The response is complete."""
        ...

    def failed(self, failure: Failure) -> None:
        """There is no response, or no more of it."""
        ...

    def pause(self) -> None:
        """The upstream does not take as much as there is: send no more of the content for now."""
        ...

    def resume(self) -> None:
        """It does again."""
        ...


class Call(Protocol):
    """One request on its way, as whoever has made it sees it. None of its methods waits or raises."""

    def send(self, data: bytes) -> None:
        """A part of the request's content (in a tunnel: bytes), never empty."""
        ...

    def end(self) -> None:
        """The request's content (in a tunnel: the client's side) is complete. Not called where there is none."""
        ...

    def pause(self) -> None:
        """The client does not take as much as there is: read no more of the response for now."""
        ...

    def resume(self) -> None:
        """It does again."""
        ...

    def cancel(self) -> None:
        """Give up: what has not been sent is not sent, and the responder hears no more. Idempotent."""
        ...


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

    def call(self, upstream: Upstream, request: UpstreamRequest, responder: Responder) -> Call:
        """Send a request. Does not wait, and calls the responder only after it has returned.

        The upstream's observation is reported before anything is sent, so that a handshake which fails because our
        certificate has expired has been noticed too. What the upstream presents is reported after each handshake, also
        after one in which it failed verification: nothing is sent then.

        Raises:
            UpstreamError: nothing is sent, for there are too many calls or the upstream is not served.
        """
        ...


CoreFactory: TypeAlias = Callable[[Observer], ForwardingCore]
