"""The strict HTTP/1.1 listener protocol: one client's connection, its deadlines, and the framing of both directions.

It lets a request in only when there is one way to understand it, and hands it over message by message, without a task:
the next one begins when the response to the one before is complete. What a request is for is its handler's to know.
"""

from __future__ import annotations

import asyncio
from typing import cast

from exporter.proxy.alarm import Alarm
from exporter.proxy.answers import Framing, framed, interim_head, refusal_message, response_head, switching_head
from exporter.proxy.clients import Client
from exporter.proxy.content import LAST_CHUNK, Chunked, ContentError, Sized, UntilClose
from exporter.proxy.core import Fields
from exporter.proxy.errors import Refusal
from exporter.proxy.handling import Exchange, Handler
from exporter.proxy.heads import HeadReader, RefusedError, RequestHead
from exporter.proxy.link import Link

_CONTINUE = 100
_MOST_HELD = 64 * 1024


class Front(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handler: Handler) -> None:
        self.client: Client
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
        self._full = False
        """The client takes no more for now."""
        self._deadline = Alarm(loop, self._late)

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of it on uvloop.
        self._link = Link(cast("asyncio.Transport", transport), self._loop, self._limits.stalled)
        self.client = Client(transport)
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
        self._link.lost()
        self._buffer = b""
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            exchange.gone()

    def pause_writing(self) -> None:
        self._full = True
        self._link.await_taking()
        if self._exchange is not None:
            self._exchange.hold()

    def resume_writing(self) -> None:
        self._full = False
        self._link.taken()
        if self._exchange is not None:
            self._exchange.release()

    # What the listener tells.

    def drain(self) -> None:
        """Serve the present request, if there is one, and no other."""
        self._closes = True
        if self._exchange is None and not self._lingers:
            # Clients that keep a connection for later do not look at it, and do not say goodbye in TLS.
            self._lingers = True
            self._deadline.set(self._limits.linger)
            self._link.close()

    def abort(self) -> None:
        """End the connection now."""
        self._link.transport.abort()

    # What the exchange tells.

    def inform(self, status: int, fields: Fields) -> None:
        """Send an interim response."""
        self._link.write(interim_head(status, fields))
        if status == _CONTINUE:
            self._await_content()

    def begin(self, status: int, fields: Fields, length: int | None, content: bytes) -> None:
        """Send a response's head, and what there is of its content."""
        if self._content is not None and self._head.expects_continue:
            # It may keep its content to itself, or send it: nothing can be told apart behind this response.
            self._closes = True
        head, self._framing = response_head(self._head, status, fields, length, close=self._closes)
        # In one piece: it is one system call, one segment, and one record of TLS.
        self._link.write(head + framed(content, self._framing) if content else head)

    def switch(self, protocol: bytes, fields: Fields) -> None:
        """Send 101. From now on, bytes pass as they are, in both directions."""
        self._framing = Framing.CLOSE
        self._closes = True
        self._content = UntilClose()
        self._link.write(switching_head(protocol, fields))
        held, self._buffer = self._buffer, b""
        self.resume_reading()
        if held and self._exchange is not None:
            self._exchange.send(held)

    def write(self, data: bytes) -> None:
        """Send a part of a response's content."""
        self._link.write(framed(data, self._framing))

    def finish(self) -> None:
        """The response is complete."""
        if self._framing is Framing.CHUNKED:
            self._link.write(LAST_CHUNK)
        self._exchange = None
        if self._closes or self._framing is Framing.CLOSE or self._content is not None:
            self._end()
            return
        if not self._link.is_reading:
            self.resume_reading()
        self._deadline.set(self._limits.idle)
        if self._buffer:
            # Not at once: a client that sends a thousand requests ahead would have the loop for itself.
            self._loop.call_soon(self._next)

    def refuse(self, refusal: Refusal) -> None:
        """Send an answer of our own, whole."""
        unread = self._content is not None
        close = self._closes or unread or refusal is Refusal.BAD_REQUEST
        self._link.write(refusal_message(refusal, close=close, with_content=self._head.method != "HEAD"))
        self._closes = close
        self._framing = Framing.NONE
        self.finish()

    def break_off(self) -> None:
        """There is no more of a response that has begun: let the client see that it is not whole."""
        self._exchange = None
        if self._framing is Framing.CLOSE:
            # A good end would make it look complete (RFC 9112 section 8).
            self._link.reset()
        else:
            self._end()

    def pause_reading(self) -> None:
        """The upstream takes no more of the content for now: neither do we."""
        if self._link.pause_reading():
            self._deadline.clear()

    def resume_reading(self) -> None:
        """It takes more."""
        if self._link.resume_reading():
            self._await_content()

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
        if self._exchange is None and self._buffer and not (self._lingers or self._closes):
            self._read_head(self._buffer)

    def _read_content(self, content: Sized | Chunked | UntilClose, data: bytes) -> None:
        assert self._exchange is not None
        try:
            parts, rest = content.feed(data)
        except ContentError:
            self._exchange.refuse(Refusal.BAD_REQUEST)
            return
        if parts:
            self._exchange.send(parts[0] if len(parts) == 1 else b"".join(parts))
        if content.complete:
            self._content = None
            self._deadline.clear()
            self._exchange.end()
            if rest:
                self._hold(rest)
        else:
            self._await_content()

    def _await_content(self) -> None:
        if self._link.is_reading and isinstance(self._content, Sized | Chunked):
            self._deadline.set(self._limits.content)

    def _hold(self, data: bytes) -> None:
        """Keep what a client sends ahead."""
        self._buffer += data
        if len(self._buffer) > _MOST_HELD:
            self.pause_reading()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what never became a request."""
        self._link.write(refusal_message(refusal, close=True))
        self._content = UntilClose()
        self._end()
        self._handler.refused(self, refusal)

    def _end(self) -> None:
        """Close, when everything has been sent and, if a request is not complete, when the client has seen it."""
        self._buffer = b""
        self._lingers = True
        if self._content is None:
            self._link.close()
            return
        self._link.resume_reading()
        self._deadline.set(self._limits.linger)
        self._link.end_writing()

    def _late(self) -> None:
        if self._link.transport.is_closing():
            self._link.transport.abort()
        elif self._exchange is not None:
            self._exchange.refuse(Refusal.REQUEST_TIMEOUT)
        elif self._buffer:
            self._refuse(Refusal.REQUEST_TIMEOUT)
        else:
            self._link.close()
