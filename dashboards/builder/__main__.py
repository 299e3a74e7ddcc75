"""Writes the boards anew: `scripts/dashboards`."""

from __future__ import annotations

import json
from pathlib import Path

from dashboards.builder import one_api, overview

DIRECTORY = Path(__file__).parents[1]


def files() -> dict[Path, str]:
    """Each board's file and its text."""
    documents = (overview.document(), one_api.document())
    return {
        DIRECTORY / f"{document['uid']}.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for document in documents
    }


def main() -> None:
    """Write them."""
    for path, text in files().items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
