"""A TCP connection to one of the addresses behind a name, and which one it was."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

from exporter.target import is_address


async def dial(loop: asyncio.AbstractEventLoop, host: str, port: int) -> tuple[socket.socket, str]:
    """A connected socket and the IP address it leads to; addresses are raced as in RFC 8305.

    Raises:
        OSError: the name has no address, or none of them can be reached.
    """
    if is_address(host):
        # Nothing to look up, which is done in a thread.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found: Sequence[AddrInfoType] = [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
    else:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await race(loop, found)


async def race(loop: asyncio.AbstractEventLoop, found: Sequence[AddrInfoType]) -> tuple[socket.socket, str]:
    """The same, of addresses that have been looked up.

    Raises:
        OSError: none of them can be reached.
    """
    connected = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=0.25, loop=loop)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected, connected.getpeername()[0]
    except BaseException:
        connected.close()
        raise
