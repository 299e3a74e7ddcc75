"""Connections to allowed addresses only: what is checked is the very address that is connected to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from exporter.sinks.addresses import is_allowed
from exporter.sinks.apart import apart

Lookup: TypeAlias = Callable[..., Sequence[tuple[Any, ...]]]
"""`socket.getaddrinfo`. Blocks."""


class ForbiddenAddressError(OSError):
    """A name or URL leads to addresses that must not be connected to, and to no other."""


class Guard(AbstractResolver):
    """Resolves names for one client, and makes its sockets.

    The resolver leaves out what is not allowed, so that a name with an allowed address is connected to there. It is not
    asked where a URL has an address in place of a name. The socket is made for an address just before it is connected
    to it: there nothing gets past, whatever a name means by then.
    """

    def __init__(self, lookup: Lookup, *, private: bool) -> None:
        self._lookup = lookup
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The allowed addresses of a name.

        Raises:
            OSError: there is none; `ForbiddenAddressError`: there are others.
        """
        found = await apart(partial(self._lookup, host, port, family=family, type=socket.SOCK_STREAM))
        addresses = dict.fromkeys((each[0], str(each[4][0])) for each in found)
        allowed = [each for each in addresses if is_allowed(each[1], private=self._private)]
        if not allowed:
            raise ForbiddenAddressError
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=address, port=port, family=of, proto=socket.IPPROTO_TCP, flags=flags)
            for of, address in allowed
        ]

    async def close(self) -> None:
        """Nothing is kept."""

    def socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for an address.

        Raises:
            ForbiddenAddressError: it must not be connected to.
        """
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0]), private=self._private):
            raise ForbiddenAddressError
        return socket.socket(family, kind, protocol)
