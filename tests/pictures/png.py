"""Pictures of screens made small: of 256 colours, which is all that a page of text needs."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = 256


def shrink(file: Path) -> None:
    """Write an RGB picture anew with the colours that it has most of; others become the nearest of those. Blocks."""
    width, height, data = _read(file.read_bytes())
    rows = list(_rows(data, width * 3))
    pixels = [[*zip(row[::3], row[1::3], row[2::3], strict=True)] for row in rows]
    found = Counter(pixel for row in pixels for pixel in row)
    palette = _palette(found)
    index = {pixel: _nearest(pixel, palette) for pixel in found}
    # Each row without a filter: neighbours in a palette have nothing to do with each other.
    flat = b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", bytes(sum(palette, ()))), (b"IDAT", zlib.compress(flat, 9)), (b"IEND", b""))
    file.write_bytes(_SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks))


def _palette(found: Counter[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Of colours that look alike, the one that there is most of: the edges of letters leave room for what is rare."""
    alike: dict[tuple[int, ...], tuple[int, int, int]] = {}
    number: Counter[tuple[int, ...]] = Counter()
    for pixel, count in found.most_common():
        shade = tuple(part >> 3 for part in pixel)
        alike.setdefault(shade, pixel)
        number[shade] += count
    return [alike[shade] for shade, _ in number.most_common(_COLOURS)]


def _nearest(pixel: tuple[int, ...], palette: list[tuple[int, int, int]]) -> int:
    return min(range(len(palette)), key=lambda at: sum((a - b) ** 2 for a, b in zip(pixel, palette[at], strict=True)))


def _read(picture: bytes) -> tuple[int, int, bytes]:
    at, width, height, data = len(_SIGNATURE), 0, 0, b""
    while at < len(picture):
        length, kind = struct.unpack_from(">I4s", picture, at)
        content = picture[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, *form = struct.unpack(">IIBBBBB", content)
            assert form == [8, 2, 0, 0, 0], "not the RGB that Chromium writes"
        elif kind == b"IDAT":
            data += content
        at += 12 + length
    return width, height, zlib.decompress(data)


def _rows(data: bytes, length: int) -> Iterator[bytes]:
    """PNG, section 9: each row was written as differences to its left, to the row above, or to both."""
    above = bytes(length)
    for start in range(0, len(data), length + 1):
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + length])
        for at in range(length):
            left, corner = (row[at - 3], above[at - 3]) if at >= 3 else (0, 0)
            row[at] = (row[at] + _predicted(kind, left, above[at], corner)) & 0xFF
        above = bytes(row)
        yield above


def _predicted(kind: int, left: int, above: int, corner: int) -> int:
    match kind:
        case 0:
            return 0
        case 1:
            return left
        case 2:
            return above
        case 3:
            return (left + above) // 2
        case _:
            guess = left + above - corner
            return min((left, above, corner), key=lambda each: abs(guess - each))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
