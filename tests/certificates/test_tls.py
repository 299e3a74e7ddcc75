from __future__ import annotations

import gc
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from exporter.certificates.tls import LazyContexts, Pair, client_context, load_pair, server_context
from tests.authority import DAY, Authority, Issued

AUTHORITY, FOREIGN = Authority(), Authority("another CA")
ANCHORS, ROOT = AUTHORITY.root.pem, AUTHORITY.root.der
ORDERS = AUTHORITY.issue("orders.internal")
CLIENT, SECOND = AUTHORITY.issue("a client"), AUTHORITY.issue("a second client")
STRANGER = FOREIGN.issue("orders.internal")


def pair(issued: Issued, passphrase: bytes = b"") -> Pair:
    return Pair(issued.pem, issued.key_pem(passphrase), passphrase)


def handshake(
    client: ssl.SSLContext, server: ssl.SSLContext, host: str = "orders.internal"
) -> tuple[bytes | None, bytes | None]:
    """The certificates that the client and the server saw, after a byte went each way."""
    near, far = socket.socketpair()
    near.settimeout(10)
    far.settimeout(10)

    def serve() -> bytes | None:
        with server.wrap_socket(far, server_side=True) as connection:
            connection.sendall(connection.recv(1))
            return connection.getpeercert(binary_form=True)

    with far, near, ThreadPoolExecutor(1) as thread:
        served = thread.submit(serve)
        try:
            with client.wrap_socket(near, server_hostname=host) as connection:
                connection.sendall(b"x")
                assert connection.recv(1) == b"x"
                seen = connection.getpeercert(binary_form=True)
        finally:
            near.close()
            error = served.exception(timeout=10)
        assert error is None
        return seen, served.result()


@pytest.mark.parametrize("context", [client_context(None, ANCHORS), server_context(pair(ORDERS), [ROOT])])
def test_nothing_older_than_tls_1_2_is_spoken(context: ssl.SSLContext) -> None:
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("anchors", [ANCHORS, None])
def test_upstreams_are_verified_by_their_sans(anchors: bytes | None) -> None:
    context = client_context(None, anchors)

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.hostname_checks_common_name


@pytest.mark.parametrize("issued", [CLIENT, SECOND, None])
def test_the_certificate_that_is_given_is_the_one_presented(issued: Issued | None) -> None:
    client = client_context(pair(issued) if issued else None, ANCHORS)
    seen, presented = handshake(client, server_context(pair(ORDERS), [ROOT]))

    assert seen == ORDERS.der
    assert presented == (issued.der if issued else None)


def test_a_listener_that_has_no_clients_to_let_in_asks_for_no_certificate() -> None:
    _, presented = handshake(client_context(pair(CLIENT), ANCHORS), server_context(pair(ORDERS)))

    assert presented is None


def test_a_listener_that_asks_gives_no_ticket_and_does_not_renegotiate() -> None:
    context = server_context(pair(ORDERS), [ROOT])

    assert context.num_tickets == 0
    assert {ssl.OP_NO_TICKET, ssl.OP_NO_RENEGOTIATION} <= set(context.options)


def test_a_listener_serves_the_whole_chain_of_its_file() -> None:
    # The root is no anchor of the client, but the other root is; the chain leads there or nowhere.
    server = server_context(Pair(ORDERS.pem + AUTHORITY.root.pem, ORDERS.key_pem(), b""))

    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate in certificate chain"):
        handshake(client_context(None, FOREIGN.root.pem), server)


def test_an_encrypted_key_is_loaded_with_its_passphrase() -> None:
    server = server_context(pair(ORDERS, b"passphrase"))

    assert handshake(client_context(None, ANCHORS), server)[0] == ORDERS.der


@pytest.mark.parametrize(
    ("served", "why"),
    [
        (STRANGER, "unable to get local issuer certificate"),
        (AUTHORITY.issue("orders.internal", -5 * DAY), "has expired"),
        (AUTHORITY.issue("another.internal"), "Hostname mismatch"),
        # RFC 9525 section 6.3: the common name is no name.
        (AUTHORITY.issue("orders.internal", 100 * DAY, "10.0.0.1"), "Hostname mismatch"),
    ],
)
def test_an_upstream_that_cannot_be_verified_is_refused(served: Issued, why: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=why):
        handshake(client_context(None, ANCHORS), server_context(pair(served)))


def test_an_address_is_verified_as_an_address() -> None:
    local = AUTHORITY.issue("local", 100 * DAY, "127.0.0.1")
    server = server_context(pair(local))

    assert handshake(client_context(None, ANCHORS), server, "127.0.0.1")[0] == local.der
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        handshake(client_context(None, ANCHORS), server, "127.0.0.2")


def test_the_systems_trust_store_does_not_know_a_private_authority() -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        handshake(client_context(None, None), server_context(pair(ORDERS)))


def test_a_client_of_another_issuer_is_refused() -> None:
    client, server = client_context(pair(STRANGER), ANCHORS), server_context(pair(ORDERS), [ROOT])

    with pytest.raises((ssl.SSLError, OSError)):
        handshake(client, server)


@pytest.mark.parametrize(
    "unfit",
    [
        Pair(ORDERS.pem, CLIENT.key_pem(), b""),
        Pair(b"", ORDERS.key_pem(), b""),
        Pair(ORDERS.pem, b"", b""),
        # Without a callable for the passphrase these would ask on the terminal, and wait.
        Pair(ORDERS.pem, ORDERS.key_pem(b"passphrase"), b""),
        Pair(ORDERS.pem, ORDERS.key_pem(b"passphrase"), b"another"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused(unfit: Pair) -> None:
    with pytest.raises(ssl.SSLError):
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), unfit.certificate, unfit.key, unfit.passphrase)


@pytest.mark.parametrize("anchors", [b"", b"not PEM", ORDERS.key_pem()])
def test_anchors_without_a_certificate_are_refused(anchors: bytes) -> None:
    with pytest.raises(ssl.SSLError):
        client_context(None, anchors)


def test_a_pair_does_not_show_what_it_holds() -> None:
    assert repr(pair(ORDERS, b"canary")) == "Pair(...)"


def test_contexts_are_shared_by_those_who_have_the_same_identity() -> None:
    contexts = LazyContexts()
    one = contexts.client(pair(CLIENT), ANCHORS, (b"client", b"anchors"))
    same = contexts.client(pair(CLIENT), ANCHORS, (b"client", b"anchors"))
    another = contexts.client(pair(SECOND), ANCHORS, (b"second", b"anchors"))
    elsewhere = contexts.client(pair(CLIENT), FOREIGN.root.pem, (b"client", b"foreign"))
    context = one()

    assert one() is context
    assert same() is context
    assert another() is not context
    assert elsewhere() is not context


def test_contexts_that_are_not_shared_present_their_own_certificate() -> None:
    contexts, server = LazyContexts(), server_context(pair(ORDERS), [ROOT])
    makers = [contexts.client(pair(issued), ANCHORS, (issued.der, ANCHORS)) for issued in (CLIENT, SECOND)]

    for _ in range(3):
        assert [handshake(make(), server)[1] for make in makers] == [CLIENT.der, SECOND.der]


def test_many_who_ask_at_once_get_one_context() -> None:
    make = LazyContexts().client(pair(CLIENT), ANCHORS, (b"client", b"anchors"))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make(), range(64)))

    assert len({id(context) for context in made}) == 1


def test_a_context_that_nobody_uses_is_not_kept() -> None:
    contexts = LazyContexts()
    make = contexts.client(pair(CLIENT), ANCHORS, (b"client", b"anchors"))
    kept = make()
    assert len(contexts._made) == 1
    del kept
    gc.collect()

    assert len(contexts._made) == 0


def test_a_context_is_not_made_before_it_is_needed() -> None:
    make = LazyContexts().client(Pair(b"not a certificate", b"", b""), ANCHORS, (b"unfit", b""))

    with pytest.raises(ssl.SSLError):
        make()
