"""Large documents as JSON, in pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from starlette.responses import Response, StreamingResponse

_PIECE = 64 * 1024


async def in_pieces(make: Callable[[], Mapping[str, Any]]) -> Response:
    """What `make` gives, made and written out off the loop: megabytes at once would hold it up, in a thread as well."""
    pieces = await asyncio.to_thread(lambda: [*joined(_written(make()))])
    headers = {"content-length": str(sum(map(len, pieces)))}
    return StreamingResponse(each(pieces), headers=headers, media_type="application/json")


async def each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    """One after the other."""
    for piece in pieces:
        yield piece


def _written(document: Mapping[str, Any]) -> Iterator[str]:
    """Item by item where there is a list: the library lets nothing else run while it writes."""
    yield "{"
    for number, (key, value) in enumerate(document.items()):
        yield f"{',' if number else ''}{json.dumps(key)}:"
        yield from _list(value) if isinstance(value, list) else [_text(value)]
    yield "}"


def _list(items: list[Any]) -> Iterator[str]:
    yield "["
    for number, item in enumerate(items):
        yield f"{',' if number else ''}{_text(item)}"
    yield "]"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def joined(parts: Iterator[str]) -> Iterator[bytes]:
    """Encoded, in pieces that are neither tiny nor huge."""
    piece = bytearray()
    for part in parts:
        # What is half a character is shown as a question mark: for one name, not everything may fail.
        piece += part.encode("utf-8", "replace")
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)
