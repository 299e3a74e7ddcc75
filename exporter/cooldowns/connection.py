"""One connection to a Redis or Valkey server, and the requests that share it. The redis library is used here only.

Requests that come while others are under way go together in the next exchange: ten thousand APIs that load at once
need neither as many connections nor as many round trips.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from redis.asyncio.connection import Connection, SSLConnection
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from exporter.cooldowns.breaker import Breaker
from exporter.cooldowns.scripts import Script
from exporter.redis_url import RedisUrl

TIMEOUT_SECONDS = 0.5
"""For connecting, and for each thing that is read."""

EXCHANGE_SECONDS = 1.0
"""For an exchange as a whole, connecting included."""

MOST_AT_ONCE = 128
"""Requests in one exchange. Packing and parsing more would hold up the loop."""

_IDLE_SECONDS = 30.0

Arguments: TypeAlias = tuple[str | int, ...]
"""A key, and what else a script takes."""


class StoreUnreachableError(ConnectionError):
    """The server cannot be reached, or does not answer in time. The cause is what the library or the system said."""


class StoreRefusedError(Exception):
    """The server answers with an error: it is read-only, say, or there is another type under the key."""


@dataclass(frozen=True, slots=True)
class Server:
    """Which server, and the files that go with it."""

    url: RedisUrl
    password_file: Path | None = None
    ca_file: Path | None = None
    """None: the system's trust store."""


class RedisConnection:
    """Runs scripts. Connects by itself; sends nothing twice. `clock` is monotonic, in seconds."""

    def __init__(self, server: Server, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._breaker = Breaker(clock)
        self._connection: Connection | None = None
        self._context: ssl.SSLContext | None = None
        self._used_at = 0.0
        self._waiting: deque[_Request] = deque()
        self._turn = asyncio.Lock()

    async def run(self, script: Script, calls: Iterable[Arguments]) -> list[Any]:
        """What a script returns for each of the calls.

        Raises:
            ServerAwayError: none has been sent.
            StoreUnreachableError: some may have run, and some not.
            StoreRefusedError: the others have run.
        """
        self._breaker.admit()
        loop = asyncio.get_running_loop()
        requests = [_Request(script, call, loop.create_future()) for call in calls]
        self._waiting += requests
        try:
            for request in requests:
                async with self._turn:
                    if not request.answer.done():
                        await self._exchange()
        finally:
            # What nobody waits for any more is not sent.
            for request in requests:
                request.answer.cancel()
        return [_result(request.answer.result()) for request in requests]

    async def close(self) -> None:
        """Close the connection, if there is one. A later call makes a new one."""
        async with self._turn:
            await self._drop(nowait=False)

    async def _exchange(self) -> None:
        """Send what waits, as much as goes together; whoever has the turn does it for all."""
        requests: list[_Request] = []
        while self._waiting and len(requests) < MOST_AT_ONCE:
            request = self._waiting.popleft()
            if not request.answer.done():
                requests.append(request)
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                answers = await self._send(requests)
        except BaseException as exc:
            await self._lost([*requests, *self._waiting], _root(exc))
            if not isinstance(exc, Exception):
                raise
        else:
            self._breaker.succeeded()
            _settle(requests, answers)

    async def _lost(self, requests: list[_Request], cause: BaseException) -> None:
        # Also those who wait: they would meet with the same, one after the other.
        _settle(requests, [cause] * len(requests))
        self._waiting.clear()
        self._context = None
        if isinstance(cause, Exception):
            self._breaker.failed()
        await self._drop()

    async def _send(self, requests: list[_Request]) -> list[Any]:
        connection = await self._connected()
        answers = await _converse(connection, [("EVALSHA", r.script.sha, 1, *r.arguments) for r in requests])
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        sources = [("EVAL", requests[at].script.source, 1, *requests[at].arguments) for at in unknown]
        for at, answer in zip(unknown, await _converse(connection, sources), strict=True):
            answers[at] = answer
        self._used_at = self._clock()
        return answers

    async def _connected(self) -> Connection:
        # What has been idle may have been forgotten by something on the way, and what can be read is the end.
        if self._connection and (self._clock() - self._used_at > _IDLE_SECONDS or await self._connection.can_read()):
            await self._drop()
        if self._connection is None:
            self._connection = await self._new_connection()
            await self._connection.connect()  # type: ignore[no-untyped-call]
        return self._connection

    async def _new_connection(self) -> Connection:
        url, password_file = self._server.url, self._server.password_file
        options: dict[str, Any] = {
            "host": url.host,
            "port": url.port,
            "db": url.database,
            "credential_provider": _PasswordFile(url.user, password_file) if password_file else None,
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
        }
        if not url.tls:
            return Connection(**options)
        # Made off the loop, which the system's trust store would hold up for tens of milliseconds.
        self._context = self._context or await asyncio.to_thread(_context, self._server.ca_file)
        connection = SSLConnection(**options)
        connection.ssl_context.context = self._context
        return connection

    async def _drop(self, *, nowait: bool = True) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=nowait)


@dataclass(frozen=True, slots=True)
class _Request:
    script: Script
    arguments: Arguments
    answer: asyncio.Future[Any]
    """What came back, or what is wrong; never fails itself, for nobody may be left to hear of it."""


class _PasswordFile(CredentialProvider):
    """Read for each connection, so that a password can be changed without a restart."""

    def __init__(self, user: str | None, path: Path) -> None:
        self._user = user
        self._path = path

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        password = (await asyncio.to_thread(self._path.read_text, "utf-8")).strip()
        return (self._user, password) if self._user else (password,)


async def _converse(connection: Connection, commands: list[tuple[str | int, ...]]) -> list[Any]:
    """The answer to each command, in their order; an error that is one of the server's answers is one."""
    if commands:
        await connection.send_packed_command(connection.pack_commands(commands))
    return [await _answer(connection) for _ in commands]


async def _answer(connection: Connection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as exc:
        return exc


def _settle(requests: Iterable[_Request], answers: Iterable[Any]) -> None:
    for request, answer in zip(requests, answers, strict=True):
        if not request.answer.done():
            request.answer.set_result(answer)


def _result(answer: Any) -> Any:
    if isinstance(answer, ResponseError):
        raise StoreRefusedError from answer
    if isinstance(answer, BaseException):
        raise StoreUnreachableError from answer
    return answer


def _root(exc: BaseException) -> BaseException:
    """What the system said, which the library says again in its own words."""
    while isinstance(before := exc.__cause__ or exc.__context__, Exception):
        exc = before
    return exc


def _context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.hostname_checks_common_name = False
    return context
