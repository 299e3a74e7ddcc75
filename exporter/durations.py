"""How long requests took, counted in plain attributes: the request path pays for a few dictionary look-ups."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from typing import NamedTuple

# OpenTelemetry semantic conventions, HTTP metrics: the advised bucket boundaries, seconds.
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# RFC 9110 section 9 and RFC 5789; anything else is `_OTHER`, or clients could make series without end.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


def known_method(method: str) -> str:
    """`http.request.method`: the method if it is a standard one, else `_OTHER`."""
    return method if method in _METHODS else "_OTHER"


class ServerKey(NamedTuple):
    """One series of `http.server.request.duration`. `route` is the listen path; None where no API was found."""

    api_id: str | None
    route: str | None
    method: str
    scheme: str
    status: int | None
    error: str | None


class ClientKey(NamedTuple):
    """One series of `http.client.request.duration`."""

    api_id: str
    method: str
    server_address: str
    server_port: int
    status: int | None
    error: str | None


class Durations:
    """Histograms of durations in seconds."""

    def __init__(self) -> None:
        self.server: dict[ServerKey, Histogram] = {}
        self.client: dict[ClientKey, Histogram] = {}

    def of_server(self, key: ServerKey) -> Histogram:
        """That of requests to the proxy; it is there from now on."""
        return self.server.get(key) or self.server.setdefault(key, Histogram())

    def of_client(self, key: ClientKey) -> Histogram:
        """That of requests to upstreams; it is there from now on."""
        return self.client.get(key) or self.client.setdefault(key, Histogram())

    def forget(self, api_ids: Collection[str]) -> None:
        """Drop the series of APIs that are gone."""
        self.server = {key: value for key, value in self.server.items() if key.api_id not in api_ids}
        self.client = {key: value for key, value in self.client.items() if key.api_id not in api_ids}


class Histogram:
    """Counts per bucket, with the sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDARIES) + 1)
        self.total = 0.0

    def record(self, seconds: float) -> None:
        """Add one duration. A bucket includes its upper boundary."""
        self.counts[bisect_left(BOUNDARIES, seconds)] += 1
        self.total += seconds
