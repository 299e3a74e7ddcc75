"""What a client's connection asks of the rest, and what it asks of the client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from exporter.proxy.errors import Refusal
from exporter.proxy.heads import RequestHead

if TYPE_CHECKING:
    from exporter.proxy.front import Front


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a client may take, in seconds."""

    head: float = 10.0
    """For a whole head, from its first byte."""
    content: float = 30.0
    """Between two parts of a request's content."""
    idle: float = 75.0
    """Before a request begins."""
    stalled: float = 60.0
    """To take something, when it has stopped taking a response; and to say goodbye in TLS."""
    linger: float = 2.0
    """What it still sends is read and dropped for so long, so that it sees the answer and not a reset."""


class Exchange(Protocol):
    """One request, as the connection that has brought it sees it. None of its methods waits or raises."""

    def start(self, content: bytes) -> None:
        """`content` is what has come of it together with the head."""

    def send(self, data: bytes) -> None:
        """A part of the content; once switched, bytes of the other protocol."""

    def end(self) -> None:
        """The content is complete."""

    def refuse(self, refusal: Refusal) -> None:
        """What came of the request after its head is not let in."""

    def gone(self) -> None:
        """The client has left."""

    def hold(self) -> None:
        """The client does not take as much as there is."""

    def release(self) -> None:
        """It does again."""


class Handler(Protocol):
    """What all connections of a listener share."""

    limits: Limits

    def exchange(self, front: Front, head: RequestHead) -> Exchange:
        """Serve a request that was let in. It is told to `start` when the connection is ready for what it says."""

    def refused(self, front: Front, refusal: Refusal) -> None:
        """A request was not let in; it has been answered."""

    def opened(self, front: Front) -> bool:
        """There is a new connection; whether it is served. If not, it is told so and closed."""

    def closed(self, front: Front) -> None:
        """It has ended."""
