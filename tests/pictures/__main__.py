"""`python -m tests.pictures [NAME ...]`: makes the pictures in `docs/images`; all of them where none is named."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.pictures import boards, page, terminal

_INTO = Path(__file__).parents[2] / "docs" / "images"

PICTURES: dict[str, Callable[[Path, Path], Awaitable[list[Path]]]] = {
    "page": page.take,
    "terminal": terminal.take,
    "boards": boards.take,
}
"""What takes some pictures: it is given an empty directory, and where they go."""


def main(names: list[str]) -> int:
    """The exit status: 2 for a name that there is not."""
    unknown = {*names} - PICTURES.keys()
    if unknown:
        print(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}", file=sys.stderr)
        return 2
    _INTO.mkdir(exist_ok=True)
    for name in names or PICTURES:
        with tempfile.TemporaryDirectory() as directory:
            made = asyncio.run(taken(name, Path(directory)))
        for file in made:
            print(f"{file.relative_to(_INTO.parents[1])}  {file.stat().st_size:,} bytes")
        if not made:
            print(f"{name}: cannot be drawn; scripts/boards installs what that needs", file=sys.stderr)
    return 0


async def taken(name: str, directory: Path) -> list[Path]:
    """The files."""
    return await PICTURES[name](directory, _INTO)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
