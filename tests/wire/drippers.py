"""Clients that send a request's head byte by byte, and would never come to its end."""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from urllib.parse import urlsplit

_BETWEEN_SECONDS = 0.1
_HEAD = b"GET / HTTP/1.1\r\nHost: gateway.example\r\nX-Slow: "


@dataclass(frozen=True)
class Cut:
    """How one of them ended."""

    after_seconds: float
    """From its first byte."""
    answer: bytes
    """What it had been sent; empty: nothing but an end."""


class Drippers:
    """So many of them; `done` when each has been cut, or the time is up."""

    def __init__(self, url: str, count: int, give_up_seconds: float) -> None:
        parts = urlsplit(url)
        address = parts.hostname or "", parts.port or 0
        self.done = Event()
        self.cuts: list[Cut] = []
        self._give_up_seconds = give_up_seconds
        self._open = {socket.create_connection(address, timeout=5): 0.0 for _ in range(count)}
        """With the time of the first byte."""

    def drip(self) -> None:
        """Go on until all are cut."""
        started_at = time.monotonic()
        for byte in itertools.chain(_HEAD, itertools.repeat(ord("a"))):
            if not self._open or time.monotonic() > started_at + self._give_up_seconds:
                break
            self._read_until(time.monotonic() + _BETWEEN_SECONDS)
            for each in list(self._open):
                self._send(each, bytes([byte]))
        self.done.set()

    def close(self) -> None:
        for each in self._open:
            each.close()

    def _send(self, each: socket.socket, data: bytes) -> None:
        try:
            each.send(data)
        except ConnectionError:
            self._cut(each, b"")
        else:
            self._open[each] = self._open[each] or time.monotonic()

    def _read_until(self, end: float) -> None:
        while (left := end - time.monotonic()) > 0:
            for each in select.select(list(self._open), [], [], left)[0]:
                self._read(each)

    def _read(self, each: socket.socket) -> None:
        try:
            answer = each.recv(4096)
        except ConnectionError:
            answer = b""
        self._cut(each, answer)

    def _cut(self, each: socket.socket, answer: bytes) -> None:
        self.cuts.append(Cut(time.monotonic() - self._open.pop(each), answer))
        each.close()


@contextmanager
def dripping(url: str, count: int, give_up_seconds: float) -> Iterator[Drippers]:
    """They drip in a thread of their own, until all are cut or have given up."""
    drippers = Drippers(url, count, give_up_seconds)
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(drippers.drip)
        try:
            yield drippers
            future.result()
        finally:
            drippers.close()
