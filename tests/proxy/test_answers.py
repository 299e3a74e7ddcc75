"""How a response goes to a client: tables."""

from __future__ import annotations

import json

import pytest

from exporter.proxy.answers import Framing, interim_head, refusal_message, response_head, switching_head
from exporter.proxy.core import Failure
from exporter.proxy.errors import Refusal, refusal_of
from exporter.proxy.heads import HeadReader, RequestHead

FIELDS = b"X-A: 1\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
CLOSE = b"connection: close\r\n"


def request(method: bytes = b"GET", version: bytes = b"1.1") -> RequestHead:
    found = HeadReader().read(b"%b / HTTP/%b\r\nHost: a\r\n\r\n" % (method, version))
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("asked", "status", "length", "added", "framing"),
    [
        (request(), 200, 5, b"", Framing.LENGTH),
        (request(), 200, 0, b"", Framing.LENGTH),
        (request(), 200, None, CHUNKED, Framing.CHUNKED),
        (request(b"POST"), 404, None, CHUNKED, Framing.CHUNKED),
        (request(version=b"1.0"), 200, 5, b"", Framing.LENGTH),
        # RFC 9112 section 6.1: no coding for HTTP/1.0.
        (request(version=b"1.0"), 200, None, CLOSE, Framing.CLOSE),
        # RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5: whatever the fields say, nothing comes.
        (request(b"HEAD"), 200, 5, b"", Framing.NONE),
        (request(b"HEAD"), 200, None, b"", Framing.NONE),
        (request(), 204, None, b"", Framing.NONE),
        (request(), 304, 5, b"", Framing.NONE),
        (request(), 304, None, b"", Framing.NONE),
        (request(version=b"1.0"), 304, None, b"", Framing.NONE),
    ],
)
@pytest.mark.parametrize("close", [False, True])
def test_the_end_of_a_response_is_told_as_the_client_can_understand_it(
    asked: RequestHead, status: int, length: int | None, added: bytes, framing: Framing, *, close: bool
) -> None:
    head, how = response_head(asked, status, FIELDS, length, close=close)
    closing = CLOSE if close and added != CLOSE else b""
    assert how is framing
    assert head.partition(b"\r\n")[2] == FIELDS + added + closing + b"\r\n"


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK"),
        (404, b"HTTP/1.1 404 Not Found"),
        (299, b"HTTP/1.1 299 "),
        (999, b"HTTP/1.1 999 "),
    ],
)
def test_the_version_is_our_own_and_the_phrase_the_standards(status: int, line: bytes) -> None:
    assert response_head(request(version=b"1.0"), status, b"", 0, close=False)[0] == line + b"\r\n\r\n"


@pytest.mark.parametrize("status", range(200, 1000))
def test_every_status_has_a_line(status: int) -> None:
    head, _ = response_head(request(), status, b"", 0, close=False)
    assert head.startswith(b"HTTP/1.1 %d " % status)


def test_an_interim_response_is_a_head_alone() -> None:
    assert interim_head(103, FIELDS) == b"HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n"


def test_a_change_of_protocol_names_it() -> None:
    assert switching_head(b"websocket", FIELDS) == (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nX-A: 1\r\n\r\n"
    )


@pytest.mark.parametrize("refusal", Refusal)
@pytest.mark.parametrize(("close", "last"), [(True, CLOSE), (False, b"")])
def test_a_refusal_is_a_whole_response(refusal: Refusal, last: bytes, *, close: bool) -> None:
    head, _, content = refusal_message(refusal, close=close).partition(b"\r\n\r\n")
    fields = b"content-type: application/json\r\ncontent-length: %d\r\n%b" % (len(content), last)
    assert head.startswith(b"HTTP/1.1 %d " % refusal.status)
    assert head.partition(b"\r\n")[2] + b"\r\n" == fields
    assert json.loads(content) == {"error": refusal.sentence, "code": refusal.code}


def test_a_refusal_without_content_says_how_long_it_would_be() -> None:
    whole = refusal_message(Refusal.NO_SUCH_API, close=False)
    head = refusal_message(Refusal.NO_SUCH_API, close=False, with_content=False)
    assert head == whole[: whole.index(b"\r\n\r\n") + 4]


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_has_an_answer_of_its_own(failure: Failure) -> None:
    refusal = refusal_of(failure)
    assert refusal.code == failure
    assert refusal.status in {502, 503, 504}


def test_no_two_refusals_have_one_code() -> None:
    assert len({refusal.code for refusal in Refusal}) == len(Refusal)
