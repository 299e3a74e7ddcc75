"""What aiohttp's exceptions and responses mean to a proxy: its errors, mapped once."""

from __future__ import annotations

import re
import ssl

import aiohttp
from aiohttp import HttpVersion10, HttpVersion11

from exporter.certcheck.certificate import Certificate
from exporter.proxy.aiohttp_connector import RefusedError
from exporter.proxy.core import Failure
from exporter.proxy.tls_failures import failure_of_connecting, failure_of_verification

# RFC 9110 section 5.5: CR, LF and NUL are invalid; other controls (but HTAB) no client is to be sent either.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 9110 section 5.1.
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_malformed(response: aiohttp.ClientResponse) -> bool:
    """What the library lets pass: a status that is none or was not asked for, and fields that cannot be passed on."""
    return (
        not 200 <= response.status <= 999
        or (response.version not in {HttpVersion10, HttpVersion11})
        or not _is_unambiguous(response)
        or any(_CONTROL.search(value) or not _NAME.fullmatch(name) for name, value in response.raw_headers)
    )


def _is_unambiguous(response: aiohttp.ClientResponse) -> bool:
    """Whether there is at most one transfer coding, chunked, as HTTP/1.1 has it (RFC 9112 section 6.1).

    Another one would have to be decoded, for its name is not passed on (section 7).
    """
    codings = response.headers.getall("transfer-encoding", [])
    return not codings or (len(codings) == 1 and codings[0].lower() == "chunked" and response.version != HttpVersion10)


def failure_of(exc: Exception, certificate: Certificate | None = None) -> Failure:
    """The failure that an exception of the library stands for. `certificate` is our own, where TLS is spoken."""
    if isinstance(exc, TimeoutError):
        return Failure.TIMEOUT
    if isinstance(exc, RefusedError):
        return Failure.CERTIFICATE_REFUSED
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return failure_of_verification(exc.certificate_error)
    if (error := _tls_error(exc)) is not None:
        return failure_of_connecting(error)
    if isinstance(exc, aiohttp.ClientConnectorError):
        # There was one; it ended in its handshake.
        in_handshake = isinstance(exc.os_error, ConnectionResetError | BrokenPipeError)
        return failure_of_connecting(exc, certificate if in_handshake else None)
    if isinstance(exc, aiohttp.ClientResponseError | ValueError):
        return Failure.BAD_RESPONSE
    return Failure.CLOSED


def _tls_error(exc: BaseException | None) -> ssl.SSLError | None:
    while exc is not None:
        # Some of the library's own exceptions call themselves SSLError, without a reason; the true one is within.
        if isinstance(exc, ssl.SSLError) and not isinstance(exc, aiohttp.ClientError):
            return exc
        exc = getattr(exc, "os_error", None) or exc.__cause__
    return None
