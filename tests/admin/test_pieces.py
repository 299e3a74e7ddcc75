"""Large documents are whole, and written without holding up anything else."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from starlette.responses import Response

from exporter.admin.pieces import in_pieces

MOST = timedelta(milliseconds=20)
ROW = {"cert_name": 'orders \N{SNOWMAN} "quoted"', "sans": ["s" * 250] * 100}


@pytest.mark.parametrize(
    "document", [{}, {"certs": []}, {"certs": [ROW, ROW], "next": None}, {"cert_id": "1", "a": [1]}]
)
async def test_a_document_in_pieces_is_the_document(document: dict[str, Any]) -> None:
    response = await in_pieces(lambda: document)
    content = await body_of(response)

    assert json.loads(content) == document
    assert response.headers["content-length"] == str(len(content))
    assert response.headers["content-type"] == "application/json"


async def test_a_document_of_many_megabytes_does_not_stop_the_loop() -> None:
    document = {"certs": [ROW] * 1000}
    pauses = [await longest_pause(lambda: document) for _ in range(3)]

    assert min(pauses) < MOST


async def body_of(response: Response) -> bytes:
    """What a client would be sent."""
    sent = bytearray()

    async def send(message: Any) -> None:
        sent.extend(message.get("body", b""))

    async def receive() -> Any:
        return await asyncio.Event().wait()

    await response({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    return bytes(sent)


async def longest_pause(make: Callable[[], dict[str, Any]]) -> timedelta:
    """How long the loop stood still at most while a document was written."""
    gc.collect()
    done, late = asyncio.Event(), [0.0]

    async def tick() -> None:
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - before - 0.001)

    async with asyncio.TaskGroup() as group:
        group.create_task(tick())
        await in_pieces(make)
        done.set()
    return timedelta(seconds=max(late))
