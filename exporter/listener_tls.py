"""The TLS of a listener, exchangeable while connections are served."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from exporter.certificates.tls import DirectSSLObject


class ListenerTls:
    """What a listener's connections begin with: whole, and exchanged whole.

    `on_handshake` is called for each ClientHello: the certificate is in use. `on_failure` is called for each handshake
    that fails, not for one that its client leaves.
    """

    def __init__(self, on_handshake: Callable[[], None], on_failure: Callable[[], None]) -> None:
        self._on_handshake = on_handshake
        self._connection = _connection(on_failure)
        self._context = _Exchangeable(ssl.PROTOCOL_TLS_SERVER)

    @property
    def context(self) -> ssl.SSLContext:
        """For the server: it stands for whichever is in use when a connection begins."""
        return self._context

    def use(self, context: ssl.SSLContext) -> None:
        """Serve new connections with this context. It is complete: a live one is never changed."""
        # Runs without SNI, too.
        context.sni_callback = lambda *_: self._on_handshake()
        context.sslobject_class = self._connection
        self._context.current = context


class _Exchangeable(ssl.SSLContext):
    """Begins each connection with another context. Loops ask a context for nothing else."""

    current: ssl.SSLContext | None = None

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        current = self.current
        if current is None:
            return super().wrap_bio(*arguments, **named)
        if current.verify_mode is ssl.CERT_NONE:
            return current.wrap_bio(*arguments, **named)
        connection = _first(current).wrap_bio(*arguments, **named)
        # Certificate, anchors and callback are the new context's from now on; everything else stays the first one's.
        connection.context = current
        return connection


def _first(context: ssl.SSLContext) -> ssl.SSLContext:
    """A context of the same settings, for one connection.

    OpenSSL keeps the sessions of TLS 1.2 in the context that a connection began with, 20,480 of them with all that
    their clients presented, up to a megabyte each, and the module has no way to turn that off. This one goes with its
    connection. It costs 0.2 ms.
    """
    first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    first.minimum_version = context.minimum_version
    first.options = context.options
    first.num_tickets = context.num_tickets
    first.verify_mode = context.verify_mode
    first.verify_flags = context.verify_flags
    first.sslobject_class = context.sslobject_class
    return first


def _connection(on_failure: Callable[[], None]) -> type[ssl.SSLObject]:
    class Connection(DirectSSLObject):
        """Tells of a handshake that fails."""

        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError:
                on_failure()
                raise

        def getpeercert(self, binary_form: bool = False) -> Any:  # noqa: FBT001, FBT002 not ours to name
            """Nothing but the DER: loops ask for the rest of each connection, and nobody reads it."""
            return super().getpeercert(True) if binary_form else {}

    return Connection
