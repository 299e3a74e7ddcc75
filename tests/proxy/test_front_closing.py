"""How a connection ends: nothing that has been sent is lost, and no client waits for what does not come.

RFC 9112 sections 9.5 and 9.6.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from exporter.proxy.handling import Limits
from tests.proxy.front import Front, Reply, api, front
from tests.proxy.upstreams import Wire, answering, sized, upstream

pytestmark = pytest.mark.usefixtures("leaves_nothing")

POST = b"POST /orders/ HTTP/1.1\r\nHost: x\r\n"
LARGE = 10 * 2**20
LAST = 2**20
SHORT = 0.15
EARLY = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"


async def early(wire: Wire) -> None:
    await wire.head()
    await wire.send(EARLY)
    await wire.rest()


REFUSED = [
    (b"POST /orders/ HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % LARGE, 400),
    (b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LARGE, 404),
    (POST + b"Content-Length: %d\r\n\r\n" % LARGE, 413),
    (POST + b"Transfer-Encoding: chunked\r\n\r\na00000\r\n", 413),
    (POST + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n", 400),
    (b"GET /%s HTTP/1.1\r\n" % (b"x" * 9000), 414),
    (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
]


@pytest.mark.parametrize(("request_", "status"), REFUSED, ids=[str(status) for _, status in REFUSED])
async def test_a_client_that_still_sends_reads_the_answer(scheme: dict[str, Any], request_: bytes, status: int) -> None:
    async with upstream(early) as server, front(api(server.port), **scheme) as proxy:
        answer = await asyncio.to_thread(sent_before_read, proxy, request_ + bytes(LARGE))
        assert Reply(answer).status == status


async def test_a_client_has_time_to_take_the_end_of_a_response(scheme: dict[str, Any]) -> None:
    limits = Limits(linger=SHORT)
    async with (
        upstream(answering(sized(LARGE))) as server,
        front(api(server.port), limits=limits, **scheme) as proxy,
        proxy.stalled() as (reader, writer),
    ):
        writer.write(b"GET /orders/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(LARGE - LAST)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 4 * SHORT)
        assert len(await reader.read()) == LAST


def sent_before_read(proxy: Front, message: bytes) -> bytes:
    """What a client reads that first sends everything."""
    with socket.create_connection(("127.0.0.1", proxy.port)) as plain, on_top(proxy, plain) as client:
        client.sendall(message)
        return client.recv(4096)


def on_top(proxy: Front, plain: socket.socket) -> socket.socket:
    return proxy.trust.wrap_socket(plain, server_hostname="127.0.0.1") if proxy.trust else plain
