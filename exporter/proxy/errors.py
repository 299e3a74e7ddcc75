"""What the proxy answers when it does not forward: one table."""

from __future__ import annotations

import json
from enum import Enum

from exporter.proxy.core import Failure


class Refusal(Enum):
    """Status, code and sentence of an answer of our own."""

    BAD_REQUEST = (400, "bad_request", "The request is malformed.")
    CLIENT_CERTIFICATE_REQUIRED = (403, "client_certificate_required", "This API needs a client certificate.")
    CLIENT_CERTIFICATE_NOT_ALLOWED = (
        403,
        "client_certificate_not_allowed",
        "The client certificate is not allowed for this API.",
    )
    CLIENT_CERTIFICATE_EXPIRED = (403, "client_certificate_expired", "The client certificate has expired.")
    NO_SUCH_API = (404, "no_such_api", "No API is served at this path.")
    REQUEST_TIMEOUT = (408, "request_timeout", "The request did not arrive in time.")
    CONTENT_TOO_LARGE = (413, "content_too_large", "The content is larger than can be counted.")
    TARGET_TOO_LONG = (414, "target_too_long", "The request's target is too long.")
    HEAD_TOO_LARGE = (431, "head_too_large", "The request's head is too large, or has too many fields.")
    NOT_IMPLEMENTED = (501, "not_implemented", "The method, or the transfer coding, is not implemented.")
    UPSTREAM_UNREACHABLE = (502, Failure.UNREACHABLE, "The upstream cannot be reached.")
    UPSTREAM_CLOSED = (502, Failure.CLOSED, "The upstream closed the connection without a whole response.")
    UPSTREAM_BAD_RESPONSE = (502, Failure.BAD_RESPONSE, "The upstream's response is malformed.")
    SERVER_CERTIFICATE_INVALID = (
        502,
        Failure.SERVER_CERTIFICATE_INVALID,
        "The upstream's certificate failed verification.",
    )
    SERVER_CERTIFICATE_EXPIRED = (502, Failure.SERVER_CERTIFICATE_EXPIRED, "The upstream's certificate has expired.")
    CERTIFICATE_REFUSED = (502, Failure.CERTIFICATE_REFUSED, "The upstream refused the certificate presented to it.")
    CERTIFICATE_UNUSABLE = (503, Failure.CERTIFICATE_UNUSABLE, "The certificate for the upstream cannot be used.")
    OVERLOADED = (503, Failure.OVERLOADED, "Too many requests are in flight for this API.")
    VERSION_NOT_SUPPORTED = (505, "version_not_supported", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    UPSTREAM_TIMEOUT = (504, Failure.TIMEOUT, "The upstream did not answer in time.")

    def __init__(self, status: int, code: str, sentence: str) -> None:
        self.status = status
        self.code = str(code)
        self.sentence = sentence


_OF_FAILURE = {Failure(refusal.code): refusal for refusal in Refusal if refusal.code in list(Failure)}


def refusal_of(failure: Failure) -> Refusal:
    """The answer for a failure between us and the upstream."""
    return _OF_FAILURE[failure]


def document(refusal: Refusal) -> bytes:
    """The answer's content, JSON."""
    return json.dumps({"error": refusal.sentence, "code": refusal.code}).encode()
