"""What must never come to a client, or to an upstream, whatever the other end does."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from exporter.proxy.errors import Refusal
from tests.proxy.fuzz_scenes import Client, Request, Scene

PUBLISHED = {(refusal.status, refusal.code) for refusal in Refusal}
FRAMING = {b"content-length", b"transfer-encoding"}

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIELDS = rb"((?:%b:[\t -~\x80-\xff]*\r\n)*)\r\n" % _TOKEN
REQUEST = re.compile(rb"(%b) (/[!-~]*) HTTP/1\.1\r\n%b" % (_TOKEN, _FIELDS))
_RESPONSE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [\t -~\x80-\xff]*\r\n" + _FIELDS)
_CHUNK = re.compile(rb"([0-9a-f]{1,8})\r\n")


@dataclass(frozen=True)
class Message:
    """A request or a response, as somebody reads it who forgives nothing."""

    start: bytes
    fields: dict[bytes, bytes]
    content: bytes
    complete: bool

    @property
    def status(self) -> int:
        return int(self.start)

    @property
    def number(self) -> int | None:
        found = re.search(rb" /([0-9]+)$", self.start)
        return int(found[1]) if found else None


def fields_of(lines: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        assert name.lower() not in fields or name.lower() not in {b"host", *FRAMING}
        fields[name.lower()] = value.strip(b" \t")
    assert not fields.keys() >= FRAMING
    return fields


def content_of(fields: dict[bytes, bytes], data: bytes, otherwise: int | None = 0) -> tuple[bytes, bool, bytes]:
    """The content that these bytes begin with, whether it is complete, and what is behind it."""
    if fields.get(b"transfer-encoding") == b"chunked":
        return _unchunked(data)
    size = int(fields[b"content-length"]) if b"content-length" in fields else otherwise
    if size is None:
        return data, False, b""
    return data[:size], len(data) >= size, data[size:]


def _unchunked(data: bytes) -> tuple[bytes, bool, bytes]:
    parts: list[bytes] = []
    while (found := _CHUNK.match(data)) is not None:
        size, at = int(found[1], 16), found.end()
        if not size:
            assert b"\r\n".startswith(data[at : at + 2])
            return b"".join(parts), len(data) >= at + 2, data[at + 2 :]
        parts.append(data[at : at + size])
        assert b"\r\n".startswith(data[at + size : at + size + 2])
        data = data[at + size + 2 :]
    assert not data.strip(b"0123456789abcdef\r")
    return b"".join(parts), False, b""


@dataclass
class Got:
    """What came to a client."""

    data: bytearray = field(default_factory=bytearray)
    has_good_end: bool = True
    """Not a reset, and the client has not left."""


def responses_in(got: Got, methods: Sequence[str]) -> list[Message]:
    """The final responses that came, of which the last may be cut off."""
    responses: list[Message] = []
    data = bytes(got.data)
    while data:
        found = _RESPONSE.match(data)
        if found is None:
            assert b"\r\n\r\n" not in data, data
            break
        data = data[found.end() :]
        fields = fields_of(found[2])
        if found[1].startswith(b"1"):
            assert found[1] != b"101"
            assert b"content-length" not in fields
            continue
        method = methods[len(responses)] if len(responses) < len(methods) else "GET"
        if method == "HEAD" or int(found[1]) in {204, 304}:
            content, complete = b"", True
        else:
            content, complete, data = content_of(fields, data, None)
            # RFC 9112 section 8: without a length, a good end of the connection is the content's.
            complete = complete or (got.has_good_end and not fields.keys() & FRAMING)
        responses.append(Message(found[1], fields, content, complete))
    return responses


def judge(scene: Scene, client: Client, numbers: list[int], got: Got) -> None:
    """Hold what a client got against what it may get."""
    responses = responses_in(got, [request.method for request in client.requests])
    assert all(response.complete for response in responses[:-1])
    if client.is_mutated:
        assert len(responses) <= len(numbers) + 1
        for response in responses:
            assert is_published(response) or b"x-upstream" in response.fields or response.status < 500
        return
    assert len(responses) <= len(numbers)
    for response, number, request in zip(responses, numbers, client.requests, strict=False):
        judge_response(scene, number, request, response)
    if scene.is_proper:
        assert [int(response.fields[b"x-upstream"]) for response in responses] == numbers
        assert all(response.complete for response in responses)


def judge_response(scene: Scene, number: int, request: Request, response: Message) -> None:
    answer = scene.answer(number)
    if is_published(response):
        assert response.status in ({502, 504, 408} if scene.is_mutated else {502, 504})
        assert not scene.is_proper
    elif not answer.mutations:
        assert (response.status, int(response.fields[b"x-upstream"])) == (answer.status, number)
        content = answer.content(number, request.method)
        assert content.startswith(response.content)
        assert not response.complete or response.content == content
        assert (
            answer.stops_at is not None or answer.early or len(content) == len(response.content) or not scene.is_proper
        )


def is_published(response: Message) -> bool:
    """Whether it is an answer of our own, which is then one of the table."""
    if response.fields.get(b"content-type") != b"application/json":
        return False
    if response.content and response.complete:
        assert (response.status, json.loads(response.content)["code"]) in PUBLISHED
    return True


def judge_upstream(scene: Scene, seen: list[Message]) -> None:
    """Hold what came to the upstream against what was sent: nothing twice, nothing that nobody has sent."""
    sent = {
        number: request
        for client, numbers in scene.numbered()
        for number, request in zip(numbers, client.requests, strict=True)
    }
    assert len(seen) <= len(sent) + sum(request.may_be_repeated for request in sent.values())
    if scene.is_mutated:
        return
    for number, times in Counter(message.number for message in seen).items():
        assert number in sent
        assert times <= 1 + (sent[number].may_be_repeated and not scene.is_proper)
    for message in seen:
        assert message.number is not None
        request = sent[message.number]
        content = request.content(message.number)
        assert message.start.startswith(request.method.encode() + b" ")
        assert content.startswith(message.content)
        assert not message.complete or message.content == content
