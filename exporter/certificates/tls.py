"""TLS contexts, made of the very bytes that were judged."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakValueDictionary

from exporter.proxy.clients import unverified_chain

# X509_V_FLAG_NO_CHECK_TIME, for which the module has no name.
_NO_CHECK_TIME = 0x200000


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain and its private key, in PEM."""

    certificate: bytes
    key: bytes
    passphrase: bytes

    def __repr__(self) -> str:
        return "Pair(...)"


class DirectSSLObject(ssl.SSLObject):
    """A TLS connection whose reads and writes are OpenSSL's own: no Python function is called for a record.

    Where the other end's certificate fails verification, the exception has what was presented: `presented`, DER, leaf
    first. The library keeps that to itself, and the handshake is the only time that it is seen.
    """

    @classmethod
    def _create(cls, *args: Any, **kwargs: Any) -> Self:
        made: Any = super()._create(*args, **kwargs)  # type: ignore[misc]
        made.read, made.write = made._sslobj.read, made._sslobj.write
        return made  # type: ignore[no-any-return]

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as exc:
            exc.presented = unverified_chain(self)  # type: ignore[attr-defined]
            raise


def client_context(pair: Pair | None, anchors: bytes | None) -> ssl.SSLContext:
    """A context for upstreams: TLS 1.2 or later, SAN verification, `pair` presented. Blocks.

    `anchors` is PEM; None is the system's trust store (26 to 41 ms and 700 KiB of memory).

    Raises:
        ssl.SSLError: OpenSSL refuses the pair or the anchors.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslobject_class = DirectSSLObject
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 9525 section 6.3: names are taken from SANs, never from the common name.
    context.hostname_checks_common_name = False
    if anchors is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        with _as_file(anchors) as path:
            context.load_verify_locations(path)
    if pair is not None:
        load_pair(context, pair.certificate, pair.key, pair.passphrase)
    return context


def server_context(pair: Pair, clients: Collection[bytes] = ()) -> ssl.SSLContext:
    """A context for a listener. Blocks.

    With `clients` (DER) it asks for certificates, and lets in those, what they have issued, and whoever presents none.
    Others end the handshake. Expired ones pass: who they are has been proved, and the answer can say what is wrong.

    Raises:
        ssl.SSLError: OpenSSL refuses the pair.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_pair(context, pair.certificate, pair.key, pair.passphrase)
    if clients:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= _NO_CHECK_TIME | ssl.VERIFY_X509_PARTIAL_CHAIN
        # A ticket brings back the client's certificate without its issuers, and a renegotiation another one.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        for each in clients:
            # One by one: together they would hold the interpreter, and one bad would keep out all others.
            with suppress(ssl.SSLError):
                context.load_verify_locations(cadata=each)
    return context


def is_loadable(certificate: bytes) -> bool:
    """Whether OpenSSL can use a certificate (DER) to let clients in."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        return False
    return True


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes, passphrase: bytes) -> None:
    """Load a pair into a context that nothing uses yet: a mismatch breaks every later handshake of a live one.

    Raises:
        ssl.SSLError: OpenSSL refuses it.
    """
    with _as_file(certificate) as certificate_path, _as_file(key) as key_path:
        # Always a callable: without one, an encrypted key asks on the terminal and waits for ever.
        context.load_cert_chain(certificate_path, key_path, password=lambda: passphrase)


class LazyContexts:
    """Client contexts made when first needed, one for each pair of own certificate and trust set, shared."""

    def __init__(self) -> None:
        self._made: WeakValueDictionary[tuple[bytes, bytes], ssl.SSLContext] = WeakValueDictionary()

    def client(
        self, pair: Pair | None, anchors: bytes | None, identity: tuple[bytes, bytes]
    ) -> Callable[[], ssl.SSLContext]:
        """A function that makes the context, or gives the one that was made. `identity` tells what it is made of."""

        def make() -> ssl.SSLContext:
            context = self._made.get(identity)
            if context is None:
                # Two threads may both make one; the first stays. Waiting would hold up whoever shares the threads.
                context = self._made.setdefault(identity, client_context(pair, anchors))
            return context

        return make


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path to `data` in memory: OpenSSL loads from paths only, and a key must never reach a disk."""
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
