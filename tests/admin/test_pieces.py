"""Large documents are whole, and written without holding up anything else."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from starlette.responses import Response

from exporter.admin.pieces import in_pieces
from tests.pauses import longest_pause

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
    pauses = [await longest_pause(partial(in_pieces, lambda: document)) for _ in range(3)]

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
