"""The token that protects administration."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.admin.problem import problem

_OPEN = frozenset({"/live", "/ready", "/health", "/metrics"})
_READING = frozenset({"GET", "HEAD"})
_BASIC = 'Basic realm="certgauge", charset="UTF-8"'


class AdminToken:
    """Lets everything but the probes and the scrape through only with the token.

    It comes as `Authorization: Bearer`. What only reads takes it as the password of `Basic` as well, under any name:
    browsers and calendars have nothing else. A browser sends that along with whatever a page elsewhere makes it send,
    so it must not change anything.
    """

    def __init__(self, app: ASGIApp, token: Callable[[], bytes | None]) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = self._token()
        if scope["type"] != "http" or token is None or scope["path"] in _OPEN or _is_given(scope, token):
            await self._app(scope, receive, send)
            return
        response = problem(401, "A bearer token is needed.", headers={"www-authenticate": "Bearer"})
        if scope["method"] in _READING:
            response.headers.append("www-authenticate", _BASIC)
        await response(scope, receive, send)


def _is_given(scope: Scope, token: bytes) -> bool:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, given = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
    match scheme.lower():
        case b"bearer":
            return hmac.compare_digest(given.strip(), token)
        case b"basic" if scope["method"] in _READING:
            return hmac.compare_digest(_password(given.strip()), token)
        case _:
            return False


def _password(credentials: bytes) -> bytes:
    """RFC 7617 section 2: behind the first colon, for there is none in a name. Empty where there is no password."""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""
