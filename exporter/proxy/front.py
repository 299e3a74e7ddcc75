"""The strict HTTP/1.1 listener protocol: one client's connection, its deadlines, and the framing of both directions.

It lets a request in only when there is one way to understand it, and hands it over message by message, without a task:
the next one begins when the response to the one before is complete. What a request is for is its handler's to know.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import struct
import termios
from dataclasses import dataclass
from typing import Protocol, cast

from exporter.proxy.alarm import Alarm
from exporter.proxy.answers import Framing, interim_head, refusal_message, response_head, switching_head
from exporter.proxy.clients import Admission, ClientPolicy, presented
from exporter.proxy.content import LAST_CHUNK, Chunked, ContentError, Sized, UntilClose, as_chunk
from exporter.proxy.core import Fields
from exporter.proxy.errors import Refusal
from exporter.proxy.heads import HeadReader, RefusedError, RequestHead


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


_CONTINUE = 100
_MOST_HELD = 64 * 1024
_GONE_SECONDS = 0.25
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


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


class Front(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handler: Handler) -> None:
        self.scheme = "http"
        self.forwarded = b""
        """What X-Forwarded-* says of the client: field lines."""
        self.transport: asyncio.Transport
        self._presented: tuple[bytes, ...] | None = None
        self._admissions: dict[str, tuple[ClientPolicy, Admission]] = {}
        self._loop = loop
        self._handler = handler
        self._limits = handler.limits
        self._buffer = b""
        self._reader: HeadReader | None = None
        """Of a head that has arrived in part."""
        self._head: RequestHead
        self._exchange: Exchange | None = None
        self._content: Sized | Chunked | UntilClose | None = None
        """What is still to come of the request's; None: nothing."""
        self._framing = Framing.NONE
        self._closes = False
        """No other request is served on this connection."""
        self._lingers = False
        self._reading = True
        self._looks = False
        """For the client's end, in a while."""
        self._full = False
        """The client takes no more for now."""
        self._deadline = Alarm(loop, self._late)
        self._stalled = Alarm(loop, self._look_for_taking)
        self._untaken = 0

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of it on uvloop.
        self.transport = cast("asyncio.Transport", transport)
        if transport.get_extra_info("ssl_object") is not None:
            self.scheme = "https"
        peer = transport.get_extra_info("peername") or ("unknown",)
        self.forwarded = f"x-forwarded-for: {peer[0]}\r\nx-forwarded-proto: {self.scheme}\r\n".encode()
        if self._handler.opened(self):
            self._deadline.set(self._limits.idle)
        else:
            self._refuse(Refusal.OVERLOADED)

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        if self._exchange is None:
            self._read_head(self._buffer + data if self._buffer else data)
        elif self._content is not None:
            self._read_content(self._content, data)
        else:
            self._hold(data)

    def eof_received(self) -> None:
        """A client that ends its side has left: nginx takes it so, too. The transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (however it was lost)
        self._handler.closed(self)
        self._deadline.close()
        self._stalled.close()
        self._buffer = b""
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            exchange.gone()

    def pause_writing(self) -> None:
        self._full = True
        self._await_taking()
        if self._exchange is not None:
            self._exchange.hold()

    def resume_writing(self) -> None:
        self._full = False
        if not self.transport.is_closing():
            self._stalled.clear()
        if self._exchange is not None:
            self._exchange.release()

    # What the listener tells.

    def drain(self) -> None:
        """Serve the present request, if there is one, and no other."""
        self._closes = True
        if self._exchange is None and not self._lingers:
            # Clients that keep a connection for later do not look at it, and do not say goodbye in TLS.
            self._deadline.set(self._limits.linger)
            self._close()

    def abort(self) -> None:
        """End the connection now."""
        self.transport.abort()

    # What the exchange tells.

    def admission(self, api_id: str, policy: ClientPolicy) -> Admission:
        """Whether the client's certificate is one for this generation of an API: judged once for a connection."""
        if self._presented is None:
            self._presented = presented(self.transport)
        judged = self._admissions.get(api_id)
        if judged is None or judged[0] is not policy:
            judged = self._admissions[api_id] = policy, policy.judge(self._presented)
        return judged[1]

    def inform(self, status: int, fields: Fields) -> None:
        """Send an interim response."""
        self._write(interim_head(status, fields))
        if status == _CONTINUE:
            self._await_content()

    def begin(self, status: int, fields: Fields, length: int | None, content: bytes) -> None:
        """Send a response's head, and what there is of its content."""
        if self._content is not None and self._head.expects_continue:
            # It may keep its content to itself, or send it: nothing can be told apart behind this response.
            self._closes = True
        head, self._framing = response_head(self._head, status, fields, length, close=self._closes)
        # In one piece: it is one system call, one segment, and one record of TLS.
        self._write(head + self._framed(content) if content else head)

    def switch(self, protocol: bytes, fields: Fields) -> None:
        """Send 101. From now on, bytes pass as they are, in both directions."""
        self._framing = Framing.CLOSE
        self._closes = True
        self._content = UntilClose()
        self._write(switching_head(protocol, fields))
        held, self._buffer = self._buffer, b""
        self.resume_reading()
        if held and self._exchange is not None:
            self._exchange.send(held)

    def write(self, data: bytes) -> None:
        """Send a part of a response's content."""
        self._write(self._framed(data))

    def finish(self) -> None:
        """The response is complete."""
        if self._framing is Framing.CHUNKED:
            self._write(LAST_CHUNK)
        self._exchange = None
        if self._closes or self._framing is Framing.CLOSE or self._content is not None:
            self._end()
            return
        if not self._reading:
            self.resume_reading()
        self._deadline.set(self._limits.idle)
        if self._buffer:
            # Not at once: a client that sends a thousand requests ahead would have the loop for itself.
            self._loop.call_soon(self._next)

    def refuse(self, refusal: Refusal) -> None:
        """Send an answer of our own, whole."""
        unread = self._content is not None
        close = self._closes or unread or refusal is Refusal.BAD_REQUEST
        self._write(refusal_message(refusal, close=close, with_content=self._head.method != "HEAD"))
        self._closes = close
        self._framing = Framing.NONE
        self.finish()

    def break_off(self) -> None:
        """There is no more of a response that has begun: let the client see that it is not whole."""
        self._exchange = None
        if self._framing is Framing.CLOSE:
            # A good end would make it look complete (RFC 9112 section 8).
            self._abort()
        else:
            self._end()

    def pause_reading(self) -> None:
        """The upstream takes no more of the content for now: neither do we."""
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self._deadline.clear()
            self.transport.pause_reading()
            if not self._looks:
                self._looks = True
                self._loop.call_later(_GONE_SECONDS, self._look_for_end)

    def resume_reading(self) -> None:
        """It takes more."""
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            self._await_content()
            self.transport.resume_reading()

    # Within.

    def _read_head(self, data: bytes) -> None:
        reader = self._reader or HeadReader()
        try:
            found = reader.read(data)
        except RefusedError as exc:
            self._refuse(exc.refusal)
            return
        if found is None:
            if self._reader is None:
                self._reader = reader
                self._deadline.set(self._limits.head)
            self._buffer = data
            return
        self._head, end = found
        self._start(data[end:] if end < len(data) else b"")

    def _start(self, rest: bytes) -> None:
        head = self._head
        self._reader = None
        self._buffer = b""
        self._deadline.clear()
        if not head.keep_alive:
            self._closes = True
        if head.length == 0:
            self._serve(head, b"")
        else:
            rest = self._start_with_content(head, rest)
        if rest and not self._lingers:
            self._buffer = rest
            if self._exchange is None:
                self._loop.call_soon(self._next)

    def _start_with_content(self, head: RequestHead, data: bytes) -> bytes:
        """Serve a request with what has come of its content; what is behind that is given back."""
        content = self._content = Chunked() if head.length is None else Sized(head.length)
        try:
            parts, rest = content.feed(data) if data else ([], b"")
        except ContentError:
            self._refuse(Refusal.BAD_REQUEST)
            return b""
        if content.complete:
            self._content = None
        elif not head.expects_continue:
            # Where it waits to be asked for, that takes as long as the upstream does.
            self._await_content()
        self._serve(head, b"".join(parts))
        if content.complete and self._exchange is not None:
            self._exchange.end()
        return rest

    def _serve(self, head: RequestHead, content: bytes) -> None:
        exchange = self._exchange = self._handler.exchange(self, head)
        exchange.start(content)
        if self._full and self._exchange is exchange:
            exchange.hold()

    def _next(self) -> None:
        if self._exchange is None and self._buffer and not self._lingers:
            self._read_head(self._buffer)

    def _read_content(self, content: Sized | Chunked | UntilClose, data: bytes) -> None:
        assert self._exchange is not None
        try:
            parts, rest = content.feed(data)
        except ContentError:
            self._exchange.refuse(Refusal.BAD_REQUEST)
            return
        for part in parts:
            self._exchange.send(part)
        if content.complete:
            self._content = None
            self._deadline.clear()
            self._exchange.end()
            if rest:
                self._hold(rest)
        else:
            self._await_content()

    def _write(self, data: bytes) -> None:
        # uvloop's transports raise where they have been closed, which they are before they say so.
        if not self.transport.is_closing():
            self.transport.write(data)

    def _framed(self, data: bytes) -> bytes:
        if self._framing is Framing.CHUNKED:
            return as_chunk(data)
        return b"" if self._framing is Framing.NONE else data

    def _await_content(self) -> None:
        if self._reading and isinstance(self._content, Sized | Chunked):
            self._deadline.set(self._limits.content)

    def _hold(self, data: bytes) -> None:
        """Keep what a client sends ahead."""
        self._buffer += data
        if len(self._buffer) > _MOST_HELD:
            self.pause_reading()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what never became a request."""
        self.transport.write(refusal_message(refusal, close=True))
        self._content = UntilClose()
        self._end()
        self._handler.refused(self, refusal)

    def _end(self) -> None:
        """Close, when everything has been sent and, if a request is not complete, when the client has seen it."""
        self._buffer = b""
        self._lingers = True
        if self._content is None:
            self._close()
            return
        if not self._reading:
            self.resume_reading()
        self._deadline.set(self._limits.linger)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            # TLS waits for the other end by itself.
            self._close()

    def _close(self) -> None:
        """Close, when everything has been sent."""
        if self.transport.get_write_buffer_size():
            self._await_taking()
        self.transport.close()

    def _late(self) -> None:
        if self.transport.is_closing():
            self.transport.abort()
        elif self._exchange is not None:
            self._exchange.refuse(Refusal.REQUEST_TIMEOUT)
        elif self._buffer:
            self._refuse(Refusal.REQUEST_TIMEOUT)
        else:
            self._close()

    def _await_taking(self) -> None:
        self._untaken = _untaken(self.transport)
        self._stalled.set(self._limits.stalled)

    def _look_for_taking(self) -> None:
        # It may be slow: what it must not do is take nothing.
        if _untaken(self.transport) == self._untaken:
            self._abort()
        else:
            self._await_taking()

    def _look_for_end(self) -> None:
        """A connection that is not read does not tell that its client has left."""
        self._looks = not (self._reading or self.transport.is_closing())
        if not self._looks:
            return
        if _has_hung_up(self.transport):
            self.transport.abort()
        else:
            self._loop.call_later(_GONE_SECONDS, self._look_for_end)

    def _abort(self) -> None:
        """End the connection so that the client cannot take it for a good end: with a reset."""
        descriptor = self.transport.get_extra_info("socket").fileno()
        if descriptor >= 0:
            with socket.socket(fileno=descriptor) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                same.detach()
        self.transport.abort()


def _untaken(transport: asyncio.Transport) -> int:
    """How many bytes wait here, or in the kernel, for the client to take them."""
    waiting = struct.pack("i", 0)
    descriptor = transport.get_extra_info("socket").fileno()
    if descriptor >= 0:
        waiting = fcntl.ioctl(descriptor, termios.TIOCOUTQ, waiting)
    return int(struct.unpack("i", waiting)[0]) + transport.get_write_buffer_size()


def _has_hung_up(transport: asyncio.Transport) -> bool:
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))
