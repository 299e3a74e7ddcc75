"""A steady number of requests a second, on connections that stay open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

from tests.wire.wires import Wire, connected

CLIENTS = 25


@contextmanager
def load(url: str, requests_a_second: int, one: Callable[[Wire], None]) -> Iterator[None]:
    """Make requests by `one`, each client in its turn, until left. What it raises is raised, and ends that client."""
    stop = Event()
    began_at = time.monotonic()

    def client(number: int) -> None:
        with connected(url) as wire:
            turn = number
            while not stop.wait(max(0, began_at + turn / requests_a_second - time.monotonic())):
                one(wire)
                turn += CLIENTS

    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(client, number) for number in range(CLIENTS)]
        try:
            yield
        finally:
            stop.set()
        for each in clients:
            each.result()
