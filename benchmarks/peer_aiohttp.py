"""A reverse proxy as one writes it with aiohttp. `python -m benchmarks.peer_aiohttp DIRECTORY UPSTREAM PORT`"""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
CLIENT = web.AppKey("client", ClientSession)


def end_to_end(fields: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in fields.items() if name.lower() not in HOP_BY_HOP)


async def forward(request: web.Request) -> web.StreamResponse:
    headers = end_to_end(request.headers)
    headers.popall("Host", None)
    body = request.content.iter_any() if request.body_exists else None
    url = URL(request.raw_path, encoded=True)
    async with request.app[CLIENT].request(
        request.method, url, headers=headers, data=body, allow_redirects=False
    ) as answer:
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=end_to_end(answer.headers))
        await response.prepare(request)
        async for part in answer.content.iter_any():
            await response.write(part)
        await response.write_eof()
        return response


def main(directory: Path, upstream: str, port: int) -> None:
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    context.load_cert_chain(directory / "client.pem")

    async def client(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(
            f"https://127.0.0.1:{upstream}",
            connector=TCPConnector(limit=0, ssl=context),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            timeout=ClientTimeout(sock_read=60),
        ) as app[CLIENT]:
            yield

    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(client)
    app.router.add_route("*", "/{path:.*}", forward)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
