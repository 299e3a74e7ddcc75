"""Events as requests to a receiver, one attempt at a time. When to try again is not decided here."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from exporter import __version__
from exporter.attempts import Attempt, Failed, Retry
from exporter.sinks.apart import apart
from exporter.sinks.attempt import answered, in_words
from exporter.sinks.body import Body, BodyError
from exporter.sinks.guard import ForbiddenAddressError, Guard, Lookup
from exporter.sinks.signing import signature_fields

_MOST_READ = 64 * 1024


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where the events of a handler go, and in what form. Nothing of it is shown."""

    url: str
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    timeout: timedelta = timedelta(seconds=10)
    """For an attempt as a whole."""
    content_type: str = "application/json"
    body: Body = field(default_factory=Body)
    keys: tuple[bytes, ...] = ()
    """What bodies are signed with; while a secret is exchanged, two."""
    anchors: bytes | None = None
    """Who may vouch for it, in PEM; None: the system's trust store."""
    allow_private: bool = False

    def __repr__(self) -> str:
        return "Receiver(...)"


class WebhookSink:
    """Sends to one receiver. `tls` makes the context to verify it with, when first needed; it may block."""

    def __init__(
        self, receiver: Receiver, tls: Callable[[], ssl.SSLContext], lookup: Lookup = socket.getaddrinfo
    ) -> None:
        self._receiver = receiver
        self._url = URL(receiver.url, encoded=True)
        self._tls = tls
        self._guard = Guard(lookup, private=receiver.allow_private)
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, payload: Mapping[str, Any], event_id: str, attempt_at: datetime) -> Attempt:
        """Try once to hand over an event. Returns within the receiver's timeout; raises nothing but cancellation.

        What the status says counts, however the rest of the response comes.
        """
        attempt: Attempt | None = None
        try:
            async with asyncio.timeout(self._receiver.timeout.total_seconds()):
                body = await apart(partial(self._receiver.body.of, payload))
                fields = self._fields(event_id, attempt_at, body)
                session = await self._opened()
                async with session.request(
                    self._receiver.method, self._url, data=body, headers=fields, allow_redirects=False
                ) as response:
                    attempt = answered(response.status, response.headers.get("Retry-After"), attempt_at)
                    await _drop(response)
        except BodyError as exc:
            return Failed(str(exc))
        except TimeoutError:
            return attempt or Retry(None, "no answer in time")
        except (aiohttp.ClientError, OSError) as exc:
            return attempt or _broken(exc)
        except ValueError:
            return attempt or Failed("cannot be sent: a field or the URL is not usable")
        return attempt

    async def close(self) -> None:
        """End what is open. Another delivery would open it again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _fields(self, event_id: str, at: datetime, body: bytes) -> CIMultiDict[str]:
        own = {"Content-Type": self._receiver.content_type, **signature_fields(self._receiver.keys, event_id, at, body)}
        fields = CIMultiDict({"User-Agent": f"certgauge/{__version__}"})
        fields.update(self._receiver.headers)
        fields.update(own)
        return fields

    async def _opened(self) -> aiohttp.ClientSession:
        context = await apart(self._tls) if self._session is None and self._url.scheme == "https" else None
        if self._session is None:
            self._session = self._new(context)
        return self._session

    def _new(self, context: ssl.SSLContext | None) -> aiohttp.ClientSession:
        """Each attempt has a connection of its own: the library would repeat one by itself on one that was used."""
        connector = aiohttp.TCPConnector(
            ssl=context or True,
            resolver=self._guard,
            socket_factory=self._guard.socket,
            use_dns_cache=False,
            force_close=True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding"),
        )


async def _drop(response: aiohttp.ClientResponse) -> None:
    """Read what a receiver says, so that it need not complain; whoever leaves then cuts off what is too long."""
    left = _MOST_READ
    while left > 0 and (part := await response.content.read(left)):
        left -= len(part)


def _broken(exc: aiohttp.ClientError | OSError) -> Attempt:
    if isinstance(getattr(exc, "os_error", exc), ForbiddenAddressError):
        return Failed("the address is not allowed")
    if isinstance(exc, aiohttp.InvalidURL):
        return Failed("the URL has no usable host")
    if isinstance(exc, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return Retry(None, "the answer is not HTTP")
    if isinstance(exc, aiohttp.ServerDisconnectedError):
        return Retry(None, "closed without an answer")
    return Retry(None, in_words(exc))
