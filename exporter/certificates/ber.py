"""Elements of BER (X.690), as much as the containers of certificates need: any length, strings in parts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

INTEGER, BIT_STRING, OCTETS, OID, SEQUENCE, EXPLICIT_0 = 0x02, 0x03, 0x04, 0x06, 0x30, 0xA0

MOST_ELEMENTS = 10_000
"""Millions of empty ones would fit into a file; so many objects hold up everything else."""

_CONSTRUCTED = 0x20
_DEEPEST = 16
_DEEPEST_STRING = 5
"""As deep as OpenSSL goes, for strings in parts in parts."""
# Of a value, in bytes. To work with larger ones takes minutes, or holds up everything else.
_LONGEST_NUMBER, _LONGEST_OID = 8, 128


class BerError(ValueError):
    """The bytes are not the structure that they should be."""


class Element(NamedTuple):
    """One element, with what is in it."""

    tag: int
    content: bytes
    raw: bytes
    """With its tag and length."""

    def number(self) -> int:
        """The value of an INTEGER."""
        if self.tag != INTEGER or not 1 <= len(self.content) <= _LONGEST_NUMBER:
            raise BerError("not a number, or not one that counts anything")
        return int.from_bytes(self.content, "big", signed=True)

    def octets(self, depth: int = 0) -> bytes:
        """The value of an OCTET STRING, its tag implicit or not; in BER it may come in parts (X.690 section 8.7.3)."""
        if not self.tag & _CONSTRUCTED:
            return self.content
        if depth == _DEEPEST_STRING:
            raise BerError("nested too deeply")
        return b"".join(part.octets(depth + 1) for part in elements(self.content))


def elements(data: bytes) -> Iterator[Element]:
    """Each element, in order.

    Raises:
        BerError: at the first that is cut off, or nested too deeply.
    """
    at = 0
    while at < len(data):
        tag, start, stop, end = _bounds(data, at, 0)
        yield Element(tag, data[start:stop], data[at:end])
        at = end


def children(data: bytes, tag: int = SEQUENCE) -> list[Element]:
    """What is in the one element that the bytes begin with."""
    outer = first(data)
    if outer.tag != tag:
        raise BerError("not the expected element")
    found = list(islice(elements(outer.content), MOST_ELEMENTS + 1))
    if len(found) > MOST_ELEMENTS:
        raise BerError(f"has more than {MOST_ELEMENTS:,} parts")
    return found


def first(data: bytes) -> Element:
    """The element that the bytes begin with."""
    element = next(elements(data), None)
    if element is None:
        raise BerError("ends early")
    return element


def dotted(element: Element) -> str:
    """The value of an OBJECT IDENTIFIER (X.690 section 8.19)."""
    if element.tag != OID or not 1 <= len(element.content) <= _LONGEST_OID or element.content[-1] & 0x80:
        raise BerError("not an object identifier")
    arcs, value = [], 0
    for byte in element.content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    root = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (root, arcs[0] - 40 * root, *arcs[1:]))


def _bounds(data: bytes, at: int, depth: int) -> tuple[int, int, int, int]:
    """Tag, and where the content begins, where it stops, and where the element ends."""
    if at + 2 > len(data) or depth > _DEEPEST:
        raise BerError("ends early")
    tag, length, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise BerError("not the expected element")
    if length == 0x80:
        stop = _indefinite(data, start, depth)
        return tag, start, stop, stop + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[at + 2 : start], "big")
    if start + length > len(data):
        raise BerError("ends early")
    return tag, start, start + length, start + length


def _indefinite(data: bytes, at: int, depth: int) -> int:
    """Where the content stops that ends with two zero bytes (X.690 section 8.1.3.6)."""
    while data[at : at + 2] != b"\0\0":
        *_, at = _bounds(data, at, depth + 1)
    return at
