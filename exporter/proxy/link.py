"""The transport of a client's connection, as a proxy needs it: nothing of HTTP."""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import struct
import termios

from exporter.proxy.alarm import Alarm

_GONE_SECONDS = 0.25
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Link:
    """Writes that cannot fail, pauses that do not hide who has left, and ends that the client can tell apart."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, stalled_seconds: float) -> None:
        self.transport = transport
        self.is_reading = True
        self._loop = loop
        self._stalled_seconds = stalled_seconds
        self._stalled = Alarm(loop, self._look_for_taking)
        self._untaken = 0
        self._looks = False
        """For the client's end, in a while."""

    def write(self, data: bytes) -> None:
        """Write, if it is still open."""
        # uvloop's transports raise where they have been closed, which they are before they say so.
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause_reading(self) -> bool:
        """Read no more for now; whether that is new."""
        if not self.is_reading or self.transport.is_closing():
            return False
        self.is_reading = False
        self.transport.pause_reading()
        if not self._looks:
            self._looks = True
            self._loop.call_later(_GONE_SECONDS, self._look_for_end)
        return True

    def resume_reading(self) -> bool:
        """Read on; whether that is new."""
        if self.is_reading or self.transport.is_closing():
            return False
        self.is_reading = True
        self.transport.resume_reading()
        return True

    def await_taking(self) -> None:
        """Reset the connection if the client takes nothing of what has been written for so long."""
        self._untaken = _untaken(self.transport)
        self._stalled.set(self._stalled_seconds)

    def taken(self) -> None:
        """The client has taken what it was awaited to take."""
        # What it has not when the connection is closing is still awaited.
        if not self.transport.is_closing():
            self._stalled.clear()

    def close(self) -> None:
        """Close, when everything has been sent."""
        if self.transport.get_write_buffer_size():
            self.await_taking()
        self.transport.close()

    def end_writing(self) -> None:
        """Tell the client that there is no more, and go on reading what it still sends."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            # TLS waits for the other end by itself.
            self.close()

    def reset(self) -> None:
        """End the connection so that the client cannot take it for a good end."""
        descriptor = self.transport.get_extra_info("socket").fileno()
        if descriptor >= 0:
            with socket.socket(fileno=descriptor) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                same.detach()
        self.transport.abort()

    def lost(self) -> None:
        """The connection has ended: leave no timer behind."""
        self._stalled.close()

    def _look_for_taking(self) -> None:
        # It may be slow: what it must not do is take nothing.
        if _untaken(self.transport) == self._untaken:
            self.reset()
        else:
            self.await_taking()

    def _look_for_end(self) -> None:
        """A connection that is not read does not tell that its client has left."""
        self._looks = not (self.is_reading or self.transport.is_closing())
        if not self._looks:
            return
        if _has_hung_up(self.transport):
            self.transport.abort()
        else:
            self._loop.call_later(_GONE_SECONDS, self._look_for_end)


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
