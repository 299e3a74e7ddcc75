"""Listen paths, and the API for a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Routes(Generic[T]):
    """An immutable map from listen paths to what is served there."""

    def __init__(self, by_path: Mapping[bytes, T]) -> None:
        self._by_path = dict(by_path)
        self._longest = max(map(len, by_path), default=0)

    def match(self, path: bytes) -> T | None:
        """What has the longest listen path that is a prefix of the raw `path` and ends at a segment boundary.

        Looks at no more of the path than the longest listen path has, however long the path is.
        """
        end = min(len(path), self._longest)
        if end == len(path) and (found := self._by_path.get(path)) is not None:
            return found
        # A boundary lies before each slash (`/orders` serves `/orders/1`) and behind it (`/orders/` does, too).
        slash = path.rfind(b"/", 0, end + 1)
        while slash >= 0:
            found = self._by_path.get(path[: slash + 1]) or self._by_path.get(path[:slash])
            if found is not None:
                return found
            slash = path.rfind(b"/", 0, slash)
        return None
