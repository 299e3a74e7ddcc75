"""What a receiver's answer means, and what broke a connection to it."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from exporter.attempts import Attempt, Delivered, Failed, Retry

_LONGEST_WAIT = timedelta(hours=1)
_RETRIED = frozenset({408, 425, 429})

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH: OpenSSL's sentence names the host.
_FOR_ANOTHER_NAME = frozenset({62, 64})


def answered(status: int, retry_after: str | None, at: datetime) -> Attempt:
    """What an HTTP response means. `at` is when the attempt was made: a date in `Retry-After` counts from there."""
    if 200 <= status < 300:
        return Delivered()
    if status in _RETRIED or 500 <= status < 600:
        return Retry(_wait(retry_after, at), f"status {status}")
    return Failed(f"status {status}")


def _wait(value: str | None, at: datetime) -> timedelta | None:
    """RFC 9110 section 10.2.3: seconds, or a date."""
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]+", value):
        # A number of a thousand digits is bounded before it is read.
        wait = timedelta(seconds=int(value)) if len(value) < 6 else _LONGEST_WAIT
    else:
        try:
            date = parsedate_to_datetime(value)
            wait = (date if date.tzinfo else date.replace(tzinfo=UTC)) - at
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return max(timedelta(0), min(wait, _LONGEST_WAIT))


def in_words(exc: BaseException) -> str:
    """What broke a connection. The libraries' own sentences name hosts and addresses."""
    inner = getattr(exc, "certificate_error", None) or getattr(exc, "os_error", None) or exc
    if isinstance(inner, ssl.SSLCertVerificationError):
        named = inner.verify_code in _FOR_ANOTHER_NAME
        return f"certificate not verified: {'it is for another name' if named else inner.verify_message}"
    if isinstance(inner, ssl.SSLError):
        return "TLS failed"
    if isinstance(inner, socket.gaierror):
        return "the name cannot be resolved"
    number = getattr(inner, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number).lower()
    return "the connection failed"
