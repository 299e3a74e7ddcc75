"""A reverse proxy as one writes it with httpx. `python -m benchmarks.peer_httpx DIRECTORY UPSTREAM PORT`"""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict

import httpx  # type: ignore[import-not-found,unused-ignore] # is in .venv-bench
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
Fields = list[tuple[bytes, bytes]]


class State(TypedDict):
    client: httpx.AsyncClient


def end_to_end(fields: Fields, *also: bytes) -> Fields:
    return [(name, value) for name, value in fields if name.lower() not in {*HOP_BY_HOP, *also}]


async def forward(request: Request[State]) -> StreamingResponse:
    client = request.state["client"]
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    answer = await client.send(
        client.build_request(
            request.method,
            httpx.URL(path=request.url.path, query=request.url.query.encode()),
            headers=end_to_end(request.headers.raw, b"host"),
            content=request.stream() if has_body else None,
        ),
        stream=True,
    )
    response = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
    response.raw_headers = end_to_end(answer.headers.raw)
    return response


def main(directory: Path, upstream: str, port: int) -> None:
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    context.load_cert_chain(directory / "client.pem")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{upstream}", verify=context, limits=limits, timeout=60, trust_env=False
        ) as client:
            yield {"client": client}

    methods = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    app = Starlette(routes=[Route("/{path:path}", forward, methods=methods)], lifespan=lifespan)
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", log_level="warning", access_log=False
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
