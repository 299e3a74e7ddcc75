"""The token that protects administration."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.admin.problem import problem

_OPEN = frozenset({"/live", "/ready", "/health", "/metrics"})
_READING = frozenset({"GET", "HEAD"})
_CHALLENGE = 'Basic realm="certgauge", charset="UTF-8"'
_KEPT_APART = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""So that no page elsewhere makes use of an answer that it had a signed-in browser ask for."""


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
        if scope["type"] != "http" or token is None or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        scheme, given = _credentials(scope)
        reads = scope["method"] in _READING
        if scheme == b"bearer" and hmac.compare_digest(given, token):
            await self._app(scope, receive, send)
        elif scheme == b"basic" and reads and hmac.compare_digest(_password(given), token):
            await self._app(scope, receive, _kept_apart(send))
        else:
            response = problem(401, "A bearer token is needed.", headers={"www-authenticate": "Bearer"})
            if reads:
                response.headers.append("www-authenticate", _CHALLENGE)
            await response(scope, receive, send)


def _credentials(scope: Scope) -> tuple[bytes, bytes]:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, given = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
    return scheme.lower(), given.strip()


def _password(credentials: bytes) -> bytes:
    """RFC 7617 section 2: behind the first colon, for there is none in a name. Empty where there is no password."""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _kept_apart(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _KEPT_APART.items():
                headers.setdefault(name, value)
        await send(message)

    return sent
