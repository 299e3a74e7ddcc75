"""What clients and an upstream do to a proxy, as values that say all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeAlias

from tests.proxy.segments import cut

IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
SMUGGLED = b"\r\n0\r\n\r\nGET /orders/666 HTTP/1.1\r\nHost: a\r\n\r\nHTTP/1.1 666 X\r\n\r\n"
"""Content that whoever loses its place takes for something else."""

Mutation: TypeAlias = tuple[int, int, bytes]
"""Where (modulo the message's length), how many bytes are taken away, and what is put there."""


def mutated(message: bytes, mutations: Sequence[Mutation]) -> bytes:
    for place, removed, added in mutations:
        at = place % (len(message) + 1)
        message = message[:at] + added + message[at + removed :]
    return message


def segments(message: bytes, cuts: Sequence[int]) -> list[bytes]:
    return cut(message, *(place % (len(message) + 1) for place in cuts))


def framed(content: bytes, chunk: int) -> bytes:
    """In chunks of this size; 0: as it is."""
    if not chunk:
        return content
    parts = [content[at : at + chunk] for at in range(0, len(content), chunk)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@dataclass(frozen=True)
class Request:
    method: str = "GET"
    size: int = 0
    chunk: int = 0
    """Of the content; 0: it has a length."""
    expects: bool = False
    version: bytes = b"1.1"
    mutations: tuple[Mutation, ...] = ()

    def content(self, number: int) -> bytes:
        # Where a length may have changed, content that is a request may rightly be taken for one.
        filling = b"x" if self.mutations else b"%d%b" % (number, SMUGGLED)
        return (filling * (self.size // len(filling) + 1))[: self.size]

    def message(self, number: int, *, last: bool) -> bytes:
        framing = b"Transfer-Encoding: chunked\r\n" if self.chunk else b"Content-Length: %d\r\n" % self.size
        fields = [
            b"Host: a.example\r\n",
            framing if self.chunk or self.size else b"",
            b"Expect: 100-continue\r\n" if self.expects else b"",
            b"Connection: close\r\n" if last else b"",
        ]
        line = b"%b /orders/%d HTTP/%b\r\n" % (self.method.encode(), number, self.version)
        whole = line + b"".join(fields) + b"\r\n" + framed(self.content(number), self.chunk)
        return mutated(whole, self.mutations)

    @property
    def may_be_repeated(self) -> bool:
        return self.method in IDEMPOTENT and not self.size and not self.chunk


@dataclass(frozen=True)
class Answer:
    status: int = 200
    size: int = 0
    framing: Literal["length", "chunks", "close"] = "length"
    interim: bool = False
    early: bool = False
    """Before the request's content has come."""
    stops_at: int | None = None
    ending: Literal["kept", "closed", "dropped", "reset"] = "kept"
    """`closed` was announced, `dropped` was not."""
    cuts: tuple[int, ...] = ()
    pace: int = 1
    unasked: bytes = b""
    """What comes in one segment with the end, and makes the connection one that cannot be used again."""
    mutations: tuple[Mutation, ...] = ()

    @property
    def is_proper(self) -> bool:
        return (
            not (self.early or self.unasked or self.mutations)
            and self.stops_at is None
            and self.ending in {"kept", "closed"}
        )

    def content(self, number: int, method: str) -> bytes:
        if method == "HEAD" or self.status in {204, 304}:
            return b""
        filling = b"%d%b" % (number, SMUGGLED)
        return (filling * (self.size // len(filling) + 1))[: self.size]

    def message(self, number: int, method: str) -> bytes:
        framing = {"length": b"Content-Length: %d\r\n" % self.size, "chunks": b"Transfer-Encoding: chunked\r\n"}
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" if self.interim else b""
        content = self.content(number, method)
        nothing = method == "HEAD" or self.status in {204, 304}
        head = [
            b"HTTP/1.1 %d X\r\nX-Upstream: %d\r\n" % (self.status, number),
            b"" if self.status in {204, 304} else framing.get(self.framing, b""),
            b"Connection: close\r\n" if self.ending == "closed" else b"",
            b"\r\n",
        ]
        chunk = 1000 if self.framing == "chunks" and not nothing else 0
        whole = interim + b"".join(head) + framed(content, chunk) + self.unasked
        return mutated(whole, self.mutations)[: self.stops_at]


@dataclass(frozen=True)
class Client:
    requests: tuple[Request, ...]
    cuts: tuple[int, ...] = ()
    leaves: tuple[Literal["sent", "received"], int] | None = None
    """After so many bytes."""
    pace: int = 1
    """How often everybody else has a turn between two segments."""

    @property
    def is_proper(self) -> bool:
        return self.leaves is None and not self.is_mutated

    @property
    def is_mutated(self) -> bool:
        return any(request.mutations for request in self.requests)


@dataclass(frozen=True)
class Scene:
    """Some clients at a time, and what the upstream answers to the requests, in turn."""

    clients: tuple[Client, ...]
    answers: tuple[Answer, ...]

    @property
    def is_proper(self) -> bool:
        return all(client.is_proper for client in self.clients) and all(answer.is_proper for answer in self.answers)

    @property
    def is_mutated(self) -> bool:
        return any(client.is_mutated for client in self.clients)

    def numbered(self) -> Iterator[tuple[Client, list[int]]]:
        """Each client, with the numbers of its requests."""
        numbers = count(1)
        for client in self.clients:
            yield client, [next(numbers) for _ in client.requests]

    def answer(self, number: int | None) -> Answer:
        return self.answers[number % len(self.answers)] if number is not None else Answer(204)
