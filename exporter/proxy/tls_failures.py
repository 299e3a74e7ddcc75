"""What a connection's exceptions mean to a proxy, mapped once."""

from __future__ import annotations

import ssl

from exporter.proxy.core import Failure

_CERTIFICATE_HAS_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
# What a TLS peer says of our certificate, by OpenSSL's names for the alerts of RFC 8446 section 6.2.
_REFUSALS = (
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "ACCESS_DENIED",
    # An issuer of the right name, with another key.
    "DECRYPT_ERROR",
)


def failure_of_connecting(exc: Exception) -> Failure:
    """Why there is no connection."""
    if isinstance(exc, TimeoutError):
        return Failure.TIMEOUT
    if isinstance(exc, ssl.SSLCertVerificationError):
        return failure_of_verification(exc)
    return Failure.CERTIFICATE_REFUSED if is_refusal(exc) else Failure.UNREACHABLE


def failure_while_open(exc: Exception | None) -> Failure:
    """Why a connection ended before its response did. TLS 1.3 tells only then that our certificate is refused."""
    return Failure.CERTIFICATE_REFUSED if is_refusal(exc) else Failure.CLOSED


def failure_of_verification(exc: Exception) -> Failure:
    """Why the upstream's certificate was not accepted."""
    expired = getattr(exc, "verify_code", None) == _CERTIFICATE_HAS_EXPIRED
    return Failure.SERVER_CERTIFICATE_EXPIRED if expired else Failure.SERVER_CERTIFICATE_INVALID


def is_refusal(exc: BaseException | None) -> bool:
    """Whether it is the other end's word against the certificate that we have presented."""
    return isinstance(exc, ssl.SSLError) and any(word in (getattr(exc, "reason", None) or "") for word in _REFUSALS)
