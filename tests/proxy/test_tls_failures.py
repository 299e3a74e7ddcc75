"""What the exceptions of a connection mean."""

from __future__ import annotations

import ssl

import pytest

from exporter.proxy.core import Failure
from exporter.proxy.tls_failures import failure_of_connecting, failure_of_verification, failure_while_open, is_refusal


def tls(reason: str) -> ssl.SSLError:
    """As OpenSSL's errors come out of the standard library."""
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1006)")
    error.reason = reason
    return error


def verification(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


SAYS_NO = [
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV1_ALERT_ACCESS_DENIED",
    "TLSV1_ALERT_DECRYPT_ERROR",
]
SAYS_SOMETHING_ELSE = [
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "TLSV1_ALERT_INTERNAL_ERROR",
    "TLSV1_UNRECOGNIZED_NAME",
    "WRONG_VERSION_NUMBER",
    "UNEXPECTED_EOF_WHILE_READING",
    "",
]


@pytest.mark.parametrize("reason", SAYS_NO)
def test_an_alert_about_our_certificate_is_the_upstreams_refusal_whenever_it_comes(reason: str) -> None:
    assert failure_of_connecting(tls(reason)) is Failure.CERTIFICATE_REFUSED
    assert failure_while_open(tls(reason)) is Failure.CERTIFICATE_REFUSED


@pytest.mark.parametrize("reason", SAYS_SOMETHING_ELSE)
def test_any_other_alert_is_not(reason: str) -> None:
    assert failure_of_connecting(tls(reason)) is Failure.UNREACHABLE
    assert failure_while_open(tls(reason)) is Failure.CLOSED


@pytest.mark.parametrize(
    ("exc", "failure"),
    [
        (TimeoutError(), Failure.TIMEOUT),
        (ConnectionRefusedError(), Failure.UNREACHABLE),
        (ConnectionResetError(), Failure.UNREACHABLE),
        (OSError("no such host"), Failure.UNREACHABLE),
        (ValueError("not a name of a host"), Failure.UNREACHABLE),
        (ssl.SSLError("no reason at all"), Failure.UNREACHABLE),
        (verification(10), Failure.SERVER_CERTIFICATE_EXPIRED),
        # Not yet valid, self-signed, an issuer that is not known, another host.
        *((verification(code), Failure.SERVER_CERTIFICATE_INVALID) for code in (9, 18, 20, 62)),
        (ssl.SSLCertVerificationError("no code at all"), Failure.SERVER_CERTIFICATE_INVALID),
    ],
)
def test_what_ends_an_attempt_to_connect_tells_why_there_is_no_connection(exc: Exception, failure: Failure) -> None:
    assert failure_of_connecting(exc) is failure


@pytest.mark.parametrize("exc", [None, ConnectionResetError(), BrokenPipeError(), TimeoutError()])
def test_a_connection_that_ends_for_no_better_reason_was_closed(exc: Exception | None) -> None:
    assert failure_while_open(exc) is Failure.CLOSED


def test_an_exception_that_has_no_code_of_verification_is_no_expiry() -> None:
    assert failure_of_verification(Exception()) is Failure.SERVER_CERTIFICATE_INVALID


@pytest.mark.parametrize(
    "exc", [None, OSError("UNKNOWN_CA"), UnicodeDecodeError("utf-8", b"", 0, 0, "TLSV1_ALERT_UNKNOWN_CA")]
)
def test_only_tls_can_refuse_a_certificate(exc: Exception | None) -> None:
    assert not is_refusal(exc)
