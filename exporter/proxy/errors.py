"""What the proxy answers when it does not forward: one table."""

from __future__ import annotations

import json
from enum import Enum

from starlette.types import Send

from exporter.proxy.core import Failure


class Refusal(Enum):
    """Status, code and sentence of an answer of our own."""

    BAD_REQUEST = (400, "bad_request", "The request is malformed.")
    CLIENT_CERTIFICATE_REQUIRED = (403, "client_certificate_required", "This API needs a client certificate.")
    NO_SUCH_API = (404, "no_such_api", "No API is served at this path.")
    NOT_IMPLEMENTED = (501, "not_implemented", "The method is not implemented.")
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
    UPSTREAM_TIMEOUT = (504, Failure.TIMEOUT, "The upstream did not answer in time.")

    def __init__(self, status: int, code: str, sentence: str) -> None:
        self.status = status
        self.code = str(code)
        self.sentence = sentence

    @property
    def closes(self) -> bool:
        """Whether the connection ends with it: what follows on it cannot be told from the request's rest."""
        return self in {Refusal.BAD_REQUEST, Refusal.NOT_IMPLEMENTED}


_OF_FAILURE = {Failure(refusal.code): refusal for refusal in Refusal if refusal.code in list(Failure)}


def refusal_of(failure: Failure) -> Refusal:
    """The answer for a failure between us and the upstream."""
    return _OF_FAILURE[failure]


async def answer(send: Send, refusal: Refusal, *, close: bool = False) -> None:
    """Send the error. `close`: the request's body was not read, so the connection cannot carry another."""
    body = json.dumps({"error": refusal.sentence, "code": refusal.code}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
