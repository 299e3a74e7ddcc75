"""The token that protects administration."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.admin.problem import problem

_OPEN = frozenset({"/live", "/ready", "/health", "/metrics"})


class BearerToken:
    """Lets everything but the probes and the scrape through only with `Authorization: Bearer` and the token."""

    def __init__(self, app: ASGIApp, token: Callable[[], bytes | None]) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = self._token()
        if scope["type"] != "http" or token is None or scope["path"] in _OPEN or _is_given(scope, token):
            await self._app(scope, receive, send)
            return
        response = problem(401, "A bearer token is needed.", headers={"www-authenticate": "Bearer"})
        await response(scope, receive, send)


def _is_given(scope: Scope, token: bytes) -> bool:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, given = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
    return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token)
