"""What a connection's exceptions mean to a proxy, mapped once."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from exporter.certcheck.certificate import Certificate, InvalidReason
from exporter.proxy.core import Failure

_CERTIFICATE_HAS_EXPIRED = 10
# By OpenSSL's X509_V_ERR_*: its manual, X509_STORE_CTX_get_error(3).
_REASONS = {
    2: InvalidReason.UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT
    9: InvalidReason.NOT_YET_VALID,  # CERT_NOT_YET_VALID
    18: InvalidReason.SELF_SIGNED,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: InvalidReason.UNKNOWN_ISSUER,  # SELF_SIGNED_CERT_IN_CHAIN: the root came along, but is not trusted
    20: InvalidReason.UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: InvalidReason.UNKNOWN_ISSUER,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    23: InvalidReason.REVOKED,  # CERT_REVOKED
    27: InvalidReason.UNKNOWN_ISSUER,  # CERT_UNTRUSTED
    62: InvalidReason.HOSTNAME_MISMATCH,  # HOSTNAME_MISMATCH
    64: InvalidReason.HOSTNAME_MISMATCH,  # IP_ADDRESS_MISMATCH
}
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


def failure_of_connecting(exc: Exception, certificate: Certificate | None = None) -> Failure:
    """Why there is no connection. With `certificate`, our own, a handshake had begun in which it was presented."""
    if isinstance(exc, TimeoutError):
        return Failure.TIMEOUT
    if isinstance(exc, ssl.SSLCertVerificationError):
        return failure_of_verification(exc)
    refused = is_refusal(exc) or (certificate is not None and _is_out_of_date(certificate))
    return Failure.CERTIFICATE_REFUSED if refused else Failure.UNREACHABLE


def failure_while_open(exc: Exception | None, *, is_untold: bool = False) -> Failure:
    """Why a connection ended before its response did. TLS 1.3 tells only then that our certificate is refused."""
    return Failure.CERTIFICATE_REFUSED if is_refusal(exc) or is_untold else Failure.CLOSED


def failure_of_verification(exc: Exception) -> Failure:
    """Why the upstream's certificate was not accepted."""
    expired = getattr(exc, "verify_code", None) == _CERTIFICATE_HAS_EXPIRED
    return Failure.SERVER_CERTIFICATE_EXPIRED if expired else Failure.SERVER_CERTIFICATE_INVALID


def reason_of_verification(exc: Exception) -> InvalidReason:
    """The same of the published set. An issuer's dates are `other`, for those of the leaf speak for themselves."""
    return _REASONS.get(getattr(exc, "verify_code", 0), InvalidReason.OTHER)


def words_of_verification(exc: Exception) -> str:
    """OpenSSL's words for it."""
    return str(getattr(exc, "verify_message", ""))


def _is_out_of_date(certificate: Certificate) -> bool:
    return not certificate.not_before <= datetime.now(UTC) <= certificate.not_after


def is_refusal(exc: BaseException | None) -> bool:
    """Whether it is the other end's word against the certificate that we have presented."""
    return isinstance(exc, ssl.SSLError) and any(word in (getattr(exc, "reason", None) or "") for word in _REFUSALS)
