"""One connection to an upstream: a request at a time, its response as it comes, and when it can carry another."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from exporter.proxy.alarm import Alarm
from exporter.proxy.content import LAST_CHUNK, Chunked, ContentError, Sized, UntilClose, as_chunk
from exporter.proxy.core import Failure, Responder, UpstreamRequest
from exporter.proxy.headers import split, tokens
from exporter.proxy.httptools_response import BadResponseError, ResponseHead, ResponseReader
from exporter.proxy.presented import Peer
from exporter.proxy.tls_failures import failure_while_open

_CONTINUE = 100
_SWITCHING = 101


class Caller(Protocol):
    """The call that a connection carries."""

    request: UpstreamRequest
    responder: Responder

    def completed(self) -> None:
        """There is a whole response."""

    def failed(self, failure: Failure) -> None:
        """There is none, or no more of it."""

    def lost(self) -> bool:
        """The connection ended with no sign of a response. Whether the request goes out on another one."""


class Owner(Protocol):
    """Where a connection belongs to."""

    def made(self, connection: Connection) -> None: ...

    def idle(self, connection: Connection) -> None:
        """It can carry another request."""

    def gone(self, connection: Connection) -> None: ...


class Connection(asyncio.BufferedProtocol):
    """A connection of an upstream's pool.

    A buffered protocol, for where it is not, uvloop's TLS allocates 256 KiB for whatever it reads: 13 µs each time.
    """

    def __init__(
        self, owner: Owner, loop: asyncio.AbstractEventLoop, timeout_seconds: float, buffer: memoryview
    ) -> None:
        self.transport: asyncio.Transport
        self.idle_since = 0.0
        """By the loop's clock."""
        self.peer = Peer()
        self._owner = owner
        self._timeout = timeout_seconds
        self._buffer = buffer
        """Shared by all connections of a core: what is read into it is taken out before anything else happens."""
        self._alarm = Alarm(loop, self._late)
        self._caller: Caller | None = None
        self._awaits_head = False
        self._reader: ResponseReader | None = None
        """Of a head that has come in part."""
        self._content: Sized | Chunked | UntilClose | None = None
        """What is still to come of the response."""
        self._sending = False
        """The request has content that is not complete."""
        self._begun = False
        """A byte of the response has come."""
        self._used = False
        """It has carried a request before."""
        self._keep_alive = False
        self._paused = False
        self._tunnels = False

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of it on uvloop.
        self.transport = cast("asyncio.Transport", transport)
        self._owner.made(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (a hint)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._buffer[:nbytes].tobytes()
        caller = self._caller
        if caller is None:
            # Nobody has asked: whatever it is, it must not be taken for the answer to the next request.
            self.transport.abort()
        elif self._awaits_head:
            self._read_head(caller, data)
        elif self._content is not None:
            self._read_content(self._content, caller, data)

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._alarm.close()
        self._owner.gone(self)
        caller, self._caller = self._caller, None
        if caller is None:
            return
        if not self._awaits_head and isinstance(self._content, UntilClose) and exc is None:
            caller.completed()
        elif not (self._used and not self._begun and caller.lost()):
            is_first = not self._used and not self._begun
            caller.failed(failure_while_open(exc, is_untold=is_first and self.peer.has_refused()))

    def pause_writing(self) -> None:
        if self._caller is not None:
            if self._awaits_head:
                self._alarm.set(self._timeout)
            self._caller.responder.pause()

    def resume_writing(self) -> None:
        if self._caller is not None:
            if self._awaits_head and self._sending:
                # The next part is the client's to bring, which is not the upstream's fault.
                self._alarm.clear()
            self._caller.responder.resume()

    # What the call tells.

    def serve(self, caller: Caller) -> None:
        """Send a request. The connection is idle."""
        request = caller.request
        self._used = self._begun
        self._begun = False
        self._caller = caller
        self._awaits_head = True
        if self.peer.usage is not None:
            self.peer.usage.requests += 1
        self._sending = request.length != 0
        if not self._sending or any(name.lower() == b"expect" for name, _ in split(request.fields)):
            self._alarm.set(self._timeout)
        head = _head(request)
        if request.content:
            head += self._framed(request, request.content)
        self._write(head)

    def send(self, data: bytes) -> None:
        """A part of the request's content, or of what goes through a tunnel."""
        assert self._caller is not None
        self._write(self._framed(self._caller.request, data))

    def end(self) -> None:
        """The request's content is complete."""
        assert self._caller is not None
        self._sending = False
        if self._caller.request.length is None:
            self._write(LAST_CHUNK)
        if self._awaits_head:
            self._alarm.set(self._timeout)

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def release(self) -> None:
        """The call is given up. What was sent through a tunnel still goes out; of a request, nothing more does."""
        self._caller = None
        if self._tunnels:
            self.transport.close()
        else:
            self.transport.abort()

    # Within.

    def _read_head(self, caller: Caller, data: bytes) -> None:
        self._begun = True
        # A loop: as many interim responses as one likes may come in one piece.
        while data:
            reader = self._reader or ResponseReader(caller.request.method)
            try:
                found = reader.feed(data)
            except BadResponseError:
                self._fail(Failure.BAD_RESPONSE)
                return
            if found is None:
                self._reader = reader
                return
            self._reader = None
            head, data = found
            if head.status >= 200:
                self._begin(head, caller, data)
                return
            if head.status == _SWITCHING:
                self._switched(head, data, caller)
                return
            if head.status == _CONTINUE and self._sending:
                self._alarm.clear()
            caller.responder.informed(head.status, head.fields)

    def _begin(self, head: ResponseHead, caller: Caller, rest: bytes) -> None:
        self._alarm.clear()
        self._awaits_head = False
        self._keep_alive = head.keep_alive
        if not head.has_content:
            caller.responder.began(head.status, head.fields, head.length)
            self._completed(caller, rest)
        elif len(rest) == head.length:
            caller.responder.began(head.status, head.fields, head.length, rest)
            self._completed(caller, b"")
        else:
            self._begin_content(head, caller, rest)

    def _begin_content(self, head: ResponseHead, caller: Caller, data: bytes) -> None:
        content = self._content = head.content()
        try:
            parts, rest = content.feed(data) if data else ([], b"")
        except ContentError:
            self._fail(Failure.BAD_RESPONSE)
            return
        caller.responder.began(head.status, head.fields, head.length, b"".join(parts))
        if content.complete:
            self._completed(caller, rest)

    def _switched(self, head: ResponseHead, rest: bytes, caller: Caller) -> None:
        """RFC 9110 section 7.8: to one of the protocols that were offered, and to no other."""
        offered = caller.request.upgrade
        if offered is None or len(head.protocols) != 1 or not head.protocols <= tokens([offered]):
            self._fail(Failure.BAD_RESPONSE)
            return
        self._alarm.clear()
        self._awaits_head = False
        self._content = UntilClose()
        self._tunnels = True
        caller.responder.switched(next(iter(head.protocols)), head.fields)
        if rest:
            caller.responder.received(rest)

    def _read_content(self, content: Sized | Chunked | UntilClose, caller: Caller, data: bytes) -> None:
        try:
            parts, rest = content.feed(data)
        except ContentError:
            self._fail(Failure.BAD_RESPONSE)
            return
        if parts:
            # Together: a thousand small chunks must not be a thousand system calls.
            caller.responder.received(parts[0] if len(parts) == 1 else b"".join(parts))
        if content.complete:
            self._completed(caller, rest)

    def _completed(self, caller: Caller, rest: bytes) -> None:
        self._caller = None
        self._content = None
        if rest or self._sending or not self._keep_alive:
            # What follows cannot be told from an answer; half a request has been sent; or the upstream will close.
            self.transport.abort()
        else:
            if self._paused:
                self.resume()
            self._owner.idle(self)
        caller.completed()

    def _write(self, data: bytes) -> None:
        # uvloop's transports raise where they have been closed, which they are before they say so.
        if not self.transport.is_closing():
            self.transport.write(data)

    def _framed(self, request: UpstreamRequest, data: bytes) -> bytes:
        return as_chunk(data) if request.length is None and not self._tunnels else data

    def _late(self) -> None:
        self._fail(Failure.TIMEOUT)

    def _fail(self, failure: Failure) -> None:
        caller, self._caller = self._caller, None
        self.transport.abort()
        if caller is not None:
            caller.failed(failure)


def _head(request: UpstreamRequest) -> bytes:
    coding = b"transfer-encoding: chunked\r\n" if request.length is None else b""
    upgrade = b"connection: upgrade\r\nupgrade: %b\r\n" % request.upgrade if request.upgrade is not None else b""
    line = b"%b %b HTTP/1.1\r\n" % (request.method.encode(), request.target)
    return b"".join((line, request.fields, coding, upgrade, b"\r\n"))
