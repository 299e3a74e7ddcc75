"""Which field lines pass through a proxy, and which it sets. Pure: lists in, lists out."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.proxy.core import Headers

# RFC 9110 section 7.6.1: fields that are about one connection, with those that older peers still send.
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Never trusted from outside, never appended to: what is sent is what this proxy saw.
_FORWARDING = frozenset({b"forwarded", b"x-real-ip"})
_FORWARDING_PREFIX = b"x-forwarded-"
# The listener has answered `Expect: 100-continue` itself.
_REQUEST_ONLY = frozenset({b"host", b"expect"})
# Without these a message has another length, or goes to another place: a Connection field cannot have them removed.
_NEVER_NOMINATED = frozenset({b"content-length", b"host", b"cache-control"})


def request_headers(received: Headers, *, host: bytes, client: str, scheme: str) -> Headers:
    """The fields to send upstream: end-to-end ones as received, Host, and X-Forwarded-* as seen by us.

    `host` is what goes into Host; the received Host becomes X-Forwarded-Host. `client` is the peer's address.
    """
    dropped = _HOP_BY_HOP | _FORWARDING | _REQUEST_ONLY | _nominated(received)
    kept = [
        (name, value)
        for name, value in received
        if (lower := name.lower()) not in dropped and not lower.startswith(_FORWARDING_PREFIX)
    ]
    asked = next((value for name, value in received if name.lower() == b"host"), b"")
    return [
        (b"host", host),
        *kept,
        (b"x-forwarded-for", client.encode()),
        (b"x-forwarded-proto", scheme.encode()),
        *([(b"x-forwarded-host", asked)] if asked else []),
    ]


def response_headers(received: Headers) -> Headers:
    """The end-to-end fields of a response, as received, names in lower case."""
    dropped = _HOP_BY_HOP | _nominated(received)
    return [(lower, value) for name, value in received if (lower := name.lower()) not in dropped]


def has_body(headers: Headers) -> bool:
    """Whether a request has content, by RFC 9112 section 6.3: one of the two fields says so."""
    return any(
        lower == b"transfer-encoding" or (lower == b"content-length" and value.strip() != b"0")
        for lower, value in ((name.lower(), value) for name, value in headers)
    )


def value_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of a field, by its lower-case name."""
    return next((value for key, value in headers if key.lower() == name), None)


def _nominated(headers: Headers) -> frozenset[bytes]:
    """The fields that a Connection field names: they too are about one connection."""
    values = [value for name, value in headers if name.lower() == b"connection"]
    if not values:
        return frozenset()
    return frozenset(token.strip().lower() for value in values for token in value.split(b",")) - _NEVER_NOMINATED
