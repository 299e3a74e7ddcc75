"""What this proxy, nginx and HAProxy each do with the messages of `vectors`, on real sockets.

`python -m tests.proxy.rivals >docs/strictness.md` writes that page anew.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import uvloop

from tests.haproxy import haproxy, require_haproxy
from tests.nginx import nginx, require_nginx
from tests.proxy.front import api, front
from tests.proxy.upstreams import NO_CONTENT, Wire, upstream
from tests.proxy.vectors import ACCEPTED, BODIES, HEADS, Accepted, Refused

PATIENCE_SECONDS = 5.0
"""How long a client waits for an answer, or for the end of its connection."""

Proxy: TypeAlias = Callable[[int], AbstractAsyncContextManager[int]]
"""Forwards to a port of the loopback address while the context lasts, and gives its own."""

_LAST = b"that was all"


@dataclass(frozen=True, slots=True)
class Whole:
    """A message that has come to its end, as an upstream reads it."""

    line: bytes
    content: bytes


def read(data: bytes) -> Whole | None:
    """The message that these bytes begin with, or None if its end has not come.

    What has no clear framing counts as whole: the next server would have found an end to it.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    values = {name.strip().lower(): value.strip() for name, _, value in (each.partition(b":") for each in fields)}
    content: bytes | None
    if b"transfer-encoding" in values:
        content = _unchunked(rest)
    else:
        digits = re.match(rb"\d*", values.get(b"content-length", b""))
        length = int(digits[0] or 0) if digits else 0
        content = rest[:length] if len(rest) >= length else None
    return Whole(line, content) if end and content is not None else None


def _unchunked(data: bytes) -> bytes | None:
    content = b""
    while True:
        line, end, data = data.partition(b"\n")
        if not end:
            return None
        size = re.fullmatch(rb"([0-9A-Fa-f]{1,16})(;[^\r]*)?\r", line)
        if size is None:
            return content
        length = int(size[1], 16)
        if length == 0:
            return content if data.startswith(b"\r\n") or b"\r\n\r\n" in data else None
        if len(data) < length + 2:
            return None
        if data[length : length + 2] != b"\r\n":
            return content
        content, data = content + data[:length], data[length + 2 :]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one message."""

    status: int | None
    """None: nothing came back that has one."""
    answered: bool
    """Anything came back, though it may be of another protocol."""
    closed: bool
    """The client's connection was ended by the proxy."""
    wires: tuple[bytes, ...]
    """What came over each of the connections to the upstream."""

    @property
    def reached(self) -> bool:
        return any(self.wires)

    @property
    def whole(self) -> list[Whole]:
        return [message for message in map(read, self.wires) if message]


@dataclass
class _Recorder:
    """An upstream that keeps what comes, and answers once on a connection: when a message is whole."""

    wires: list[bytearray] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, wire: Wire) -> None:
        got = bytearray()
        self.wires.append(got)
        answered = False
        with suppress(OSError):
            while part := await wire.reader.read(65536):
                got += part
                if got == _LAST:
                    self.finished.set()
                elif not answered and read(bytes(got)):
                    answered = True
                    await wire.send(NO_CONTENT)


async def outcome(proxy: Proxy, *segments: bytes) -> Outcome:
    """What comes of a message that is sent in these segments, to a proxy and an upstream of its own."""
    recorder = _Recorder()
    async with upstream(recorder) as server:
        async with proxy(server.port) as port:
            answer, closed = await _ask(port, segments)
        # The proxy has gone, so its connections have ended; and they are accepted in their order, before this one.
        _, last = await asyncio.open_connection("127.0.0.1", server.port)
        last.write(_LAST)
        last.close()
        await recorder.finished.wait()
        await asyncio.wait(server.tasks)
    status = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    wires = tuple(map(bytes, recorder.wires[:-1]))
    return Outcome(int(status[1]) if status else None, bool(answer), closed, wires)


async def _ask(port: int, segments: Iterable[bytes]) -> tuple[bytes, bool]:
    """What comes until the upstream's answer, the end of the connection, or the end of patience; was it the end?"""
    loop = asyncio.get_running_loop()
    got = bytearray()
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(client, ("127.0.0.1", port))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                # It may be refused before all of it is sent.
                with suppress(ConnectionError):
                    for segment in segments:
                        await loop.sock_sendall(client, segment)
                        # A proxy on this loop reads them one by one.
                        await asyncio.sleep(0)
                while not re.match(rb"HTTP/1\.[01] 204 (?s:.*)\r\n\r\n", got):
                    part = await loop.sock_recv(client, 65536)
                    if not part:
                        return bytes(got), True
                    got += part
        except ConnectionError:
            return bytes(got), True
        except TimeoutError:
            pass
    return bytes(got), False


@asynccontextmanager
async def certgauge(port: int) -> AsyncIterator[int]:
    """Our own."""
    async with front(api(port, listen_path=b"/")) as proxy:
        yield proxy.port


@asynccontextmanager
async def nginx_proxy(port: int) -> AsyncIterator[int]:
    """With HTTP/1.1 to its upstream, and by its defaults for all the rest."""
    location = f"location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; }}"
    with _directory() as directory, nginx(directory, location, tls=False) as listening:
        yield listening


@asynccontextmanager
async def haproxy_proxy(port: int) -> AsyncIterator[int]:
    """By its defaults."""
    with _directory() as directory, haproxy(directory, port) as listening:
        yield listening


@contextmanager
def _directory() -> Iterator[Path]:
    """One that nginx's worker can reach, which is another user where this one is root."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


_PROXIES: tuple[Proxy, ...] = (certgauge, nginx_proxy, haproxy_proxy)
_COLUMNS = ("certgauge", "nginx", "HAProxy")
_FORWARDED = "**forwarded**"
# What HAProxy makes of some trailers varies from one connection to the next.
_CONTENT_ATTEMPTS = 12

_PAGE = """# How strict the listener is

What becomes of {heads} malformed or ambiguous heads, of {bodies} defects in content, and of {accepted} requests that
are unusual but well-formed, when each is sent on a connection of its own to certgauge, to {nginx}
and to {haproxy}. The messages are in
[vectors.py](../tests/proxy/vectors.py), byte for byte. All three forward to a recording upstream; nginx and HAProxy
are configured as plain reverse proxies, nginx for HTTP/1.1, and have their defaults otherwise. This page is written by
`python -m tests.proxy.rivals >docs/strictness.md`, which needs both installed.

| cell | meaning |
|---|---|
| `400` | Refused with this status. |
| closed | Refused by closing the connection, without an answer. |
| otherwise | Answered, but not in HTTP/1: HAProxy speaks HTTP/2 to a client that begins with its preface. |
| waits | Taken for the beginning of more: no answer for {patience:.0f} seconds, and the connection stayed open. |
| **forwarded** | Of a head: a byte of it, at least, reached the upstream. Of content: it reached the upstream whole. |
| **forwarded** at times | Not in each of the {attempts} times that each defect in content is sent. |

A row with † is this proxy's choice: the standard lets a server accept such a message or repair it, or asks for it even
(as it does for absolute-form); limits on sizes are choices, too. **forwarded** does not say that an attack would
succeed: what reached the upstream may have been repaired.

{totals}

## Heads that must be refused

{head_table}

## Content that must not arrive whole

{body_table}

## Requests that must pass

{accepted_table}
"""


def _answered(outcome: Outcome) -> str:
    if outcome.status is not None:
        return f"`{outcome.status}`"
    if outcome.answered:
        return "otherwise"
    return "closed" if outcome.closed else "waits"


def _head_cell(outcome: Outcome) -> str:
    return _FORWARDED if outcome.reached else _answered(outcome)


def _body_cell(outcome: Outcome) -> str:
    return _FORWARDED if outcome.whole else _answered(outcome)


def _accepted_cell(outcome: Outcome) -> str:
    return "forwarded" if outcome.whole else f"**{_answered(outcome)}**"


@dataclass(frozen=True, slots=True)
class _Row:
    vector: Refused | Accepted
    cells: tuple[str, ...]

    @property
    def tolerable(self) -> bool:
        return isinstance(self.vector, Refused) and self.vector.tolerable

    def __str__(self) -> str:
        section = self.vector.section + " †" * self.tolerable
        return _line(self.vector.name, section, *self.cells)


async def _rows(vectors: Sequence[Refused | Accepted], cell: Callable[[Outcome], str], attempts: int = 1) -> list[_Row]:
    async def cell_of(vector: Refused | Accepted, proxy: Proxy) -> str:
        cells = {cell(await outcome(proxy, vector.message)) for _ in range(attempts)}
        return _FORWARDED + " at times" if len(cells) > 1 and _FORWARDED in cells else min(cells)

    return [_Row(vector, tuple([await cell_of(vector, proxy) for proxy in _PROXIES])) for vector in vectors]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _table(rows: Iterable[_Row]) -> str:
    return "\n".join([_line("vector", "section", *_COLUMNS), "|---" * 5 + "|", *map(str, rows)])


def _totals(heads: list[_Row], bodies: list[_Row], accepted: list[_Row]) -> str:
    """How many of each kind each has forwarded."""

    def line(what: str, rows: list[_Row]) -> str:
        forwarded = (sum("forwarded" in row.cells[column] for row in rows) for column in range(len(_COLUMNS)))
        return _line(what, *(f"{number} of {len(rows)}" for number in forwarded))

    return "\n".join(
        [
            _line("forwarded", *_COLUMNS),
            "|---" * 4 + "|",
            line("heads that must be refused", heads),
            line("of these, without †", [row for row in heads if not row.tolerable]),
            line("content that must not arrive whole", bodies),
            line("of these, without †", [row for row in bodies if not row.tolerable]),
            line("requests that must pass", accepted),
        ]
    )


def _version(*command: str) -> str:
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    version = re.search(r"\d+(\.\d+)+\S*", said.stdout + said.stderr)
    return version[0] if version else "of unknown version"


async def _page() -> str:
    heads = await _rows(HEADS, _head_cell)
    bodies = await _rows(BODIES, _body_cell, _CONTENT_ATTEMPTS)
    accepted = await _rows(ACCEPTED, _accepted_cell)
    return _PAGE.format(
        heads=len(heads),
        bodies=len(bodies),
        accepted=len(accepted),
        nginx=f"nginx {_version(require_nginx(), '-v')}",
        haproxy=f"HAProxy {_version(require_haproxy(), '-v')}",
        patience=PATIENCE_SECONDS,
        attempts=_CONTENT_ATTEMPTS,
        totals=_totals(heads, bodies, accepted),
        head_table=_table(heads),
        body_table=_table(bodies),
        accepted_table=_table(accepted),
    )


if __name__ == "__main__":
    # What the servers complain of is not part of the page.
    with redirect_stdout(sys.stderr):
        page = uvloop.run(_page())
    sys.stdout.write(page)
