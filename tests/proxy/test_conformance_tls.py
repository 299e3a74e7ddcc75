"""Whom an upstream has to be, and what it may say of us."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from datetime import timedelta

import pytest

from exporter.proxy.core import Failure
from tests.authority import DAY, Authority, Issued
from tests.proxy.conformance import Caller, parts
from tests.proxy.upstreams import (
    HELLO,
    Wire,
    answering,
    client_tls,
    refusing,
    server_tls,
    silent,
    upstream,
    without_names,
)

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("host", "san"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("localhost", "LOCALHOST")],
)
async def test_an_upstream_with_the_right_name_is_accepted(
    caller: Caller, authority: Authority, version: ssl.TLSVersion, host: str, san: str
) -> None:
    async with upstream(answering(HELLO), server_tls(authority.issue("any", DAY, san), version=version)) as server:
        answer = await caller.ask(await caller.to(server.port, client_tls(authority), host=host))
        assert answer.body == b"hello"


def self_signed() -> Issued:
    return Authority("localhost").root


@pytest.mark.parametrize(
    ("make", "failure"),
    [
        (lambda ca: ca.issue("any", DAY, "other.internal"), Failure.SERVER_CERTIFICATE_INVALID),
        (lambda ca: ca.issue("localhost", DAY, "127.0.0.1"), Failure.SERVER_CERTIFICATE_INVALID),
        (lambda ca: ca.issue("any", DAY, "sub.localhost"), Failure.SERVER_CERTIFICATE_INVALID),
        (lambda ca: without_names(ca, "localhost"), Failure.SERVER_CERTIFICATE_INVALID),
        (lambda _: Authority().issue("localhost"), Failure.SERVER_CERTIFICATE_INVALID),
        (lambda _: self_signed(), Failure.SERVER_CERTIFICATE_INVALID),
        (lambda ca: ca.issue("localhost", 2 * DAY, not_before=ca.now + DAY), Failure.SERVER_CERTIFICATE_INVALID),
        (lambda ca: ca.issue("localhost", -timedelta(seconds=5)), Failure.SERVER_CERTIFICATE_EXPIRED),
        (lambda ca: ca.issue("localhost", -400 * DAY), Failure.SERVER_CERTIFICATE_EXPIRED),
    ],
    ids=[
        "another name",
        "an address only",
        "a name below",
        "a common name only",
        "unknown issuer",
        "self-signed",
        "not yet valid",
        "just expired",
        "long expired",
    ],
)
async def test_an_upstream_whose_certificate_does_not_verify_is_refused(
    caller: Caller, authority: Authority, make: Callable[[Authority], Issued], failure: Failure
) -> None:
    async with upstream(silent, server_tls(make(authority))) as server:
        to = await caller.to(server.port, client_tls(authority), host="localhost")
        assert await caller.failure(to, "POST", body=parts(b"secret")) == failure
        assert server.heads == []


async def test_an_address_has_to_be_in_the_certificate_as_an_address(caller: Caller, authority: Authority) -> None:
    async with upstream(silent, server_tls(authority.issue("127.0.0.1", DAY, "localhost"))) as server:
        to = await caller.to(server.port, client_tls(authority))
        assert await caller.failure(to) == Failure.SERVER_CERTIFICATE_INVALID


async def test_each_upstream_is_verified_with_its_own_authority(caller: Caller, authority: Authority) -> None:
    other = Authority()
    async with upstream(answering(HELLO), server_tls(authority.issue("127.0.0.1"))) as server:
        assert (await caller.ask(await caller.to(server.port, client_tls(authority)))).status == 200
        to = await caller.to(server.port, client_tls(other))
        assert await caller.failure(to) == Failure.SERVER_CERTIFICATE_INVALID


async def test_versions_before_tls_1_2_are_refused(caller: Caller, authority: Authority) -> None:
    context = server_tls(authority.issue("127.0.0.1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    async with upstream(answering(HELLO), context) as server:
        assert await caller.failure(await caller.to(server.port, client_tls(authority))) == Failure.UNREACHABLE


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", ["expired", "another issuer", "another issuer of that name"])
async def test_an_upstream_that_refuses_our_certificate_says_so(
    caller: Caller, authority: Authority, version: ssl.TLSVersion, method: str, kind: str
) -> None:
    issuer = {"expired": authority, "another issuer": Authority("other CA")}.get(kind, Authority())
    own = issuer.issue("anna", -DAY if kind == "expired" else DAY)
    tls = server_tls(authority.issue("127.0.0.1"), authority, version)
    async with upstream(refusing(tls)) as server:
        to = await caller.to(server.port, client_tls(authority, own))
        body = parts(b"a" * 1000) if method == "POST" else None
        assert await caller.failure(to, method, body=body) == Failure.CERTIFICATE_REFUSED


async def test_an_upstream_that_misses_our_certificate_says_so(caller: Caller, authority: Authority) -> None:
    tls = server_tls(authority.issue("127.0.0.1"), authority, ssl.TLSVersion.TLSv1_3)
    async with upstream(refusing(tls)) as server:
        assert await caller.failure(await caller.to(server.port, client_tls(authority))) == Failure.CERTIFICATE_REFUSED


@pytest.mark.parametrize("version", VERSIONS)
async def test_our_certificate_is_presented(caller: Caller, authority: Authority, version: ssl.TLSVersion) -> None:
    tls = server_tls(authority.issue("127.0.0.1"), authority, version)
    async with upstream(answering(HELLO), tls) as server:
        to = await caller.to(server.port, client_tls(authority, authority.issue("anna")))
        assert (await caller.ask(to)).body == b"hello"
        assert server.wires[0].writer.get_extra_info("peercert")["subject"] == ((("commonName", "anna"),),)


async def test_a_server_without_tls_is_unreachable(caller: Caller, authority: Authority) -> None:
    async def script(wire: Wire) -> None:
        await wire.reader.read(65536)
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with upstream(script) as server:
        assert await caller.failure(await caller.to(server.port, client_tls(authority))) == Failure.UNREACHABLE


async def test_a_handshake_that_is_never_answered_times_out(caller: Caller, authority: Authority) -> None:
    async with upstream(silent) as server:
        to = await caller.to(server.port, client_tls(authority), timeout_seconds=0.2)
        assert await caller.failure(to) == Failure.TIMEOUT


async def test_a_body_in_many_records_arrives_whole(caller: Caller, authority: Authority) -> None:
    content = bytes(range(256)) * 4096
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)
    async with upstream(answering(answer), server_tls(authority.issue("127.0.0.1"))) as server:
        assert (await caller.ask(await caller.to(server.port, client_tls(authority)))).body == content
