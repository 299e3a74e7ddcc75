"""Connections are reused, never shared between upstreams, and gone when they should be."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from exporter.certcheck.certificate import read_certificate
from exporter.certcheck.slot import Observation, Role
from exporter.proxy.core import CoreFactory, Failure, UpstreamError
from tests.authority import Authority
from tests.proxy.conformance import Caller, parts
from tests.proxy.upstreams import (
    HELLO,
    NO_CONTENT,
    Wire,
    answering,
    client_tls,
    server_tls,
    silent,
    unaccepting,
    upstream,
)


async def test_requests_one_after_another_use_one_connection(caller: Caller) -> None:
    async with upstream(answering(HELLO)) as server:
        to = await caller.to(server.port)
        assert [(await caller.ask(to)).body for _ in range(20)] == [b"hello"] * 20
        assert (len(server.heads), len(server.wires)) == (20, 1)


async def test_requests_with_bodies_use_one_connection(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        while await wire.head():
            await wire.take(b"1\r\na\r\n0\r\n\r\n")
            await wire.send(HELLO)

    async with upstream(script) as server:
        to = await caller.to(server.port)
        assert [(await caller.ask(to, "POST", body=parts(b"a"))).status for _ in range(5)] == [200] * 5
        assert len(server.wires) == 1


async def test_requests_at_the_same_time_use_a_connection_each(caller: Caller) -> None:
    everybody = asyncio.Barrier(5)

    async def script(wire: Wire) -> None:
        await wire.head()
        await everybody.wait()
        await wire.send(HELLO)

    async with upstream(script) as server:
        to = await caller.to(server.port)
        assert len(await asyncio.gather(*(caller.ask(to) for _ in range(5)))) == 5
        assert len(server.wires) == 5


@pytest.mark.parametrize(
    "response", [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"]
)
async def test_a_connection_that_the_upstream_will_close_is_not_used_again(caller: Caller, response: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(response)
        if b"1.1" in response:
            assert await wire.rest() == b""

    async with upstream(script) as server:
        to = await caller.to(server.port)
        await caller.ask(to)
        await caller.ask(to)
        assert len(server.wires) == 2


async def test_bytes_after_a_response_are_not_taken_for_the_next_one(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        if len(wire.server.wires) > 1:
            return await answering(HELLO)(wire)
        await wire.head()
        await wire.send(HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")
        await wire.rest()
        return None

    async with upstream(script) as server:
        to = await caller.to(server.port)
        answers = []
        for _ in range(2):
            try:
                answers.append((await caller.ask(to)).body)
            except UpstreamError as exc:
                answers.append(exc.failure.encode())
        assert b"smuggled" not in answers


async def test_what_comes_on_an_idle_connection_is_not_taken_for_the_next_answer(caller: Caller) -> None:
    answered, sent = asyncio.Event(), asyncio.Event()

    async def script(wire: Wire) -> None:
        if len(wire.server.wires) > 1:
            return await answering(HELLO)(wire)
        await wire.head()
        await wire.send(HELLO)
        await answered.wait()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")
        sent.set()
        await wire.rest()
        return None

    async with upstream(script) as server:
        to = await caller.to(server.port)
        assert (await caller.ask(to)).body == b"hello"
        answered.set()
        await sent.wait()
        # It is in the socket: whoever reads that does so in the loop's next turns.
        for _ in range(10):
            await asyncio.sleep(0)
        assert (await caller.ask(to)).body == b"hello"
        assert len(server.wires) == 2


async def closes_at_the_second(wire: Wire) -> None:
    """The first connection serves one request, and ends when the next one has been sent on it."""
    await wire.head()
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    if len(wire.server.wires) == 1:
        await wire.head()
    else:
        await wire.rest()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_an_idempotent_request_on_a_stale_connection_is_sent_once_more(caller: Caller, method: str) -> None:
    async with upstream(closes_at_the_second) as server:
        to = await caller.to(server.port)
        await caller.ask(to)
        answer = await caller.ask(to, method)
        assert (answer.status, len(server.heads), len(server.wires)) == (200, 3, 2)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_request_that_is_not_idempotent_is_never_sent_twice(caller: Caller, method: str) -> None:
    async with upstream(closes_at_the_second) as server:
        to = await caller.to(server.port)
        await caller.ask(to)
        assert await caller.failure(to, method) == Failure.CLOSED
        assert (len(server.heads), len(server.wires)) == (2, 1)


async def test_a_request_whose_body_has_been_read_is_never_sent_twice(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(HELLO)
        await wire.head()
        await wire.take(b"1\r\na\r\n0\r\n\r\n")

    async with upstream(script) as server:
        to = await caller.to(server.port)
        await caller.ask(to)
        assert await caller.failure(to, "PUT", body=parts(b"a")) == Failure.CLOSED
        assert len(server.wires) == 1


async def test_a_request_is_sent_once_more_only_once(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        if len(wire.server.wires) == 1:
            await wire.send(HELLO)
            await wire.head()

    async with upstream(script) as server:
        to = await caller.to(server.port)
        await caller.ask(to)
        assert await caller.failure(to) == Failure.CLOSED
        assert len(server.wires) == 2


async def test_a_request_that_was_being_answered_is_not_sent_again(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(HELLO)
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-")

    async with upstream(script) as server:
        to = await caller.to(server.port)
        await caller.ask(to)
        assert await caller.failure(to) == Failure.CLOSED
        assert len(server.wires) == 1


async def test_upstreams_with_different_certificates_never_share_a_connection(
    caller: Caller, authority: Authority
) -> None:
    async def script(wire: Wire) -> None:
        names.append(wire.writer.get_extra_info("peercert")["subject"][0][0][1])
        while await wire.head():
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(names[-1]), names[-1].encode()))

    names: list[str] = []
    tls = server_tls(authority.issue("127.0.0.1"), authority)
    async with upstream(script, tls) as server:
        owns = [authority.issue("anna"), authority.issue("bert")]
        each = [await caller.to(server.port, client_tls(authority, own)) for own in owns]
        for _ in range(5):
            for to in each:
                await caller.ask(to)
        assert names == ["anna", "bert"]


async def test_two_upstreams_that_are_alike_do_not_share_a_connection(caller: Caller) -> None:
    async with upstream(answering(HELLO)) as server:
        for to in [await caller.to(server.port), await caller.to(server.port)]:
            await caller.ask(to)
        assert len(server.wires) == 2


async def test_dropping_an_upstream_closes_its_connections_and_no_others(caller: Caller) -> None:
    async with upstream(answering(HELLO)) as kept, upstream(answering(HELLO)) as dropped:
        to, gone = await caller.to(kept.port), await caller.to(dropped.port)
        await caller.ask(to)
        await caller.ask(gone)
        await caller.drop(gone)
        await asyncio.wait_for(asyncio.gather(*dropped.tasks), 2)
        await caller.ask(to)
        assert len(kept.wires) == 1


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        b"HTTP/1.1 200 OK\r\n\r\npart of what lasts until the end",
    ],
    ids=["before", "chunked", "until the end"],
)
async def test_dropping_an_upstream_cuts_off_what_it_carries(caller: Caller, begun: bytes) -> None:
    reached = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(begun)
        reached.set()
        await wire.rest()

    async with upstream(script) as server, asyncio.TaskGroup() as group:
        to = await caller.to(server.port)
        asked = group.create_task(caller.failure(to))
        await reached.wait()
        await asyncio.wait_for(caller.drop(to), 2)
        assert await asyncio.wait_for(asked, 2) == Failure.CLOSED
        await asyncio.wait_for(asyncio.gather(*server.tasks), 2)


async def test_dropping_an_upstream_does_not_wait_for_one_that_takes_nothing(caller: Caller) -> None:
    async def script(wire: Wire) -> None:
        await asyncio.Event().wait()

    produced = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 2**20
            produced.set()

    async with upstream(script) as server, asyncio.TaskGroup() as group:
        to = await caller.to(server.port)
        asked = group.create_task(caller.failure(to, "PUT", body=endless()))
        await produced.wait()
        await asyncio.wait_for(caller.drop(to), 2)
        assert await asyncio.wait_for(asked, 2) == Failure.CLOSED


async def test_dropping_an_upstream_ends_the_connections_that_are_being_made(
    caller: Caller, authority: Authority
) -> None:
    async with upstream(silent) as server, unaccepting() as port, asyncio.TaskGroup() as group:
        made = [await caller.to(server.port, client_tls(authority)), await caller.to(port)]
        asked = [group.create_task(caller.failure(to)) for to in made]
        await server.reached(wires=1)
        for to in made:
            await asyncio.wait_for(caller.drop(to), 2)
        assert [await task for task in asked] == [Failure.CLOSED, Failure.CLOSED]
        await asyncio.wait_for(asyncio.gather(*server.tasks), 2)


async def test_dropping_an_upstream_while_its_context_is_made_opens_nothing(
    caller: Caller, authority: Authority
) -> None:
    making, go_on = threading.Event(), threading.Event()

    def slow() -> ssl.SSLContext:
        making.set()
        go_on.wait(10)
        return client_tls(authority)()

    async with upstream(silent) as server, asyncio.TaskGroup() as group:
        to = await caller.to(server.port, slow)
        asked = group.create_task(caller.failure(to))
        await asyncio.to_thread(making.wait, 10)
        await caller.drop(to)
        go_on.set()
        assert await asked == Failure.CLOSED
        assert server.wires == []


async def test_a_context_that_cannot_be_made_is_an_unusable_certificate(caller: Caller) -> None:
    def broken() -> ssl.SSLContext:
        raise OSError

    assert await caller.failure(await caller.to(1, broken)) == Failure.CERTIFICATE_UNUSABLE


def descriptors() -> set[str]:
    """What is open: kind and inode."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:  # the one that reads the directory
            continue
    return found


async def test_closing_leaves_no_task_no_descriptor_and_no_thread(
    core_factory: CoreFactory, authority: Authority
) -> None:
    async def script(wire: Wire) -> None:
        while head := await wire.head():
            await wire.send(
                HELLO if head.startswith(b"GET /done") else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na"
            )

    tls = server_tls(authority.issue("127.0.0.1"))
    async with upstream(script, tls) as server, upstream(silent) as waiting, asyncio.TaskGroup() as group:
        await asyncio.to_thread(int)
        before = asyncio.all_tasks(), descriptors(), set(threading.enumerate())
        caller = Caller(core_factory)
        to = await caller.to(server.port, client_tls(authority))
        plain = await caller.to(waiting.port)
        await asyncio.gather(*(caller.ask(to, target=b"/done") for _ in range(3)))
        asked = [group.create_task(caller.failure(each)) for each in (to, plain, to, plain)]
        await asyncio.gather(server.reached(heads=5), waiting.reached(wires=2))
        await caller.core.close()
        assert [await task for task in asked] == [Failure.CLOSED] * 4
        await asyncio.wait_for(asyncio.gather(*server.tasks, *waiting.tasks), 2)
        assert (asyncio.all_tasks(), descriptors(), set(threading.enumerate())) == before


async def test_an_observation_is_reported_for_each_request_before_anything_is_sent(
    caller: Caller, authority: Authority
) -> None:
    own = authority.issue("anna")
    observation = Observation("orders", Role.UPSTREAM, (read_certificate(own.der),), "anna")
    seen: list[int] = []

    async def script(wire: Wire) -> None:
        seen.append(len(caller.observed))
        while await wire.head():
            await wire.send(NO_CONTENT)

    async with upstream(script) as server:
        to = await caller.to(server.port, observation=observation)
        await caller.ask(to)
        await caller.ask(to)
        await caller.ask(await caller.to(server.port))
    assert (caller.observed, seen[0]) == ([observation] * 2, 1)


@pytest.mark.parametrize("kind", ["refused", "handshake"])
async def test_an_observation_is_reported_though_the_connection_fails(
    caller: Caller, authority: Authority, kind: str
) -> None:
    own = authority.issue("anna")
    observation = Observation("orders", Role.UPSTREAM, (read_certificate(own.der),), "anna")
    tls = server_tls(Authority().issue("127.0.0.1")) if kind == "handshake" else None
    async with upstream(silent, tls) as server:
        port = server.port if tls else 1
        to = await caller.to(port, client_tls(authority, own), observation=observation)
        await caller.failure(to)
    assert caller.observed == [observation]


async def test_requests_to_a_core_that_is_closed_fail(core_factory: CoreFactory) -> None:
    caller = Caller(core_factory)
    async with upstream(answering(HELLO)) as server:
        to = await caller.to(server.port)
        await caller.ask(to)
        await caller.core.close()
        await caller.core.close()
        with pytest.raises(UpstreamError):
            async with caller.forward(to):
                pass
        assert len(server.heads) == 1
