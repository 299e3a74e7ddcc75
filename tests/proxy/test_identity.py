"""Whom a real nginx sees: two APIs to one upstream, each as itself, whatever happens at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from exporter.certificates.tls import LazyContexts, Pair
from exporter.plan import ApiPlan
from tests.authority import Authority
from tests.nginx import nginx
from tests.proxy.front import Front, api, front

REQUESTS = 1000
AT_A_TIME = 16

ECHO = """
        ssl_certificate server.pem; ssl_certificate_key server.key;
        ssl_client_certificate ca.pem; ssl_verify_client on;
        location / { return 200 "$ssl_client_s_dn"; }
"""


class World:
    """An nginx that demands certificates, and plans that present them."""

    def __init__(self, port: int, authority: Authority) -> None:
        self._port = port
        self._authority = authority
        self._contexts = LazyContexts()

    def plan(self, api_id: str, name: str | None) -> ApiPlan:
        """An API that presents a new certificate of that name; None: no certificate."""
        own = self._authority.issue(name) if name else None
        pair = Pair(own.pem, own.key_pem(), b"") if own else None
        made_of = (own.der if own else b"", self._authority.root.der)
        tls = self._contexts.client(pair, self._authority.root.pem, made_of)
        return api(self._port, api_id, listen_path=f"/{api_id}/".encode(), tls=tls)


@pytest.fixture
def world(tmp_path: Path, authority: Authority) -> Iterator[World]:
    authority.issue("127.0.0.1").write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(authority.root.pem)
    with nginx(tmp_path, ECHO) as port:
        yield World(port, authority)


async def seen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, api_id: str) -> str:
    """One request on a connection that stays open: whom the upstream saw."""
    writer.write(f"GET /{api_id}/ HTTP/1.1\r\nHost: gateway.example\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200 "), head
    length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
    return (await reader.readexactly(length)).decode()


Ask: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str, int], Awaitable[None]]


async def drive(proxy: Front, ask: Ask) -> None:
    """Ask so often, so many at a time, for one API and the other in turn."""
    numbers = iter(range(REQUESTS))

    async def client() -> None:
        async with proxy.connection() as (reader, writer):
            for number in numbers:
                await ask(reader, writer, ("anna", "bert")[number % 2], number)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(client())


async def test_each_api_is_seen_as_itself(world: World) -> None:
    counted: Counter[tuple[str, str]] = Counter()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, api_id: str, _number: int) -> None:
        counted[api_id, await seen(reader, writer, api_id)] += 1

    async with front(world.plan("anna", "anna"), world.plan("bert", "bert")) as proxy:
        await drive(proxy, ask)
    assert counted == {("anna", "CN=anna"): REQUESTS // 2, ("bert", "CN=bert"): REQUESTS // 2}


async def test_after_a_rotation_new_requests_present_the_new_certificate(world: World) -> None:
    before, during, after = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    phase = before

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, api_id: str, number: int) -> None:
        nonlocal phase
        if number == REQUESTS // 2:
            phase = during
            await proxy.gateway.load(world.plan("anna", "anna renewed"))
            phase = after
        mine = phase
        name = await seen(reader, writer, api_id)
        # What began before the rotation may have ended in it.
        (during if mine is before and phase is not before else mine)[api_id, name] += 1

    async with front(world.plan("anna", "anna"), world.plan("bert", "bert")) as proxy:
        await drive(proxy, ask)
    assert before.keys() == {("anna", "CN=anna"), ("bert", "CN=bert")}
    assert during.keys() <= {("anna", "CN=anna"), ("anna", "CN=anna renewed"), ("bert", "CN=bert")}
    assert after.keys() == {("anna", "CN=anna renewed"), ("bert", "CN=bert")}
    assert (before + during + after).total() == REQUESTS


async def test_an_api_without_a_certificate_is_not_seen_as_another(world: World) -> None:
    plans = world.plan("anna", "anna"), world.plan("nobody", None)
    async with front(*plans) as proxy, proxy.connection() as (reader, writer):
        assert await seen(reader, writer, "anna") == "CN=anna"
        assert b"No required SSL certificate was sent" in (await proxy.get(b"/nobody/")).body
