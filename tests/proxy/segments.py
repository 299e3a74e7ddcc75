"""How a message can be cut into segments."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

from hypothesis import strategies as st


def cut(message: bytes, *places: int) -> list[bytes]:
    """The message, cut before these bytes; an empty segment never comes off a socket."""
    edges = sorted({0, *(min(place, len(message)) for place in places), len(message)})
    return [message[start:end] for start, end in pairwise(edges)]


def splits(message: bytes, most: int) -> Iterator[list[bytes]]:
    """The message in every number of segments up to `most`, cut at every place; and byte by byte."""
    for cuts in range(most):
        for places in combinations(range(1, len(message)), cuts):
            yield cut(message, *places)
    yield cut(message, *range(len(message)))


def segmentations(message: bytes) -> st.SearchStrategy[list[bytes]]:
    """The message in up to twelve segments."""
    places = st.lists(st.integers(1, max(1, len(message) - 1)), max_size=11)
    return places.map(lambda chosen: cut(message, *chosen))
