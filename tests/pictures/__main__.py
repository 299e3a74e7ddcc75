"""`python -m tests.pictures [NAME ...]`: makes the pictures in `docs/images`; all of them where none is named."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.pictures import page
from tests.pictures.png import shrink

_INTO = Path(__file__).parents[2] / "docs" / "images"
_LARGEST = 150_000

PICTURES: dict[str, Callable[[Path, Path], Awaitable[list[Path]]]] = {"page": page.take}
"""What takes some pictures: it is given an empty directory, and where they go."""


def main(names: list[str]) -> int:
    """The exit status: 1 if a picture is too large for a page that many load."""
    unknown = {*names} - PICTURES.keys()
    if unknown:
        print(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}", file=sys.stderr)
        return 2
    _INTO.mkdir(exist_ok=True)
    too_large = False
    for name in names or PICTURES:
        with tempfile.TemporaryDirectory() as directory:
            for made in asyncio.run(taken(name, Path(directory))):
                shrink(made)
                size = made.stat().st_size
                too_large |= size > _LARGEST
                print(f"{made.relative_to(_INTO.parents[1])}  {size:,} bytes{' (too large)' * (size > _LARGEST)}")
    return int(too_large)


async def taken(name: str, directory: Path) -> list[Path]:
    """The files."""
    return await PICTURES[name](directory, _INTO)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
