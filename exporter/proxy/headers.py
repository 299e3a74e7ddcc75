"""Which field lines pass through a proxy, and which it reads or sets itself. Pure.

Fields are passed on as the bytes that they are: nothing that is not read is taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from exporter.proxy.core import Fields

Read: TypeAlias = dict[bytes, list[bytes]]
"""The values of the fields that are read, by lower-case name."""

# RFC 9110 section 7.6.1: fields that are about one connection, with those that older peers still send.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Without these a message has another length, or goes to another place: a Connection field cannot have them removed.
_NEVER_NOMINATED = frozenset({b"content-length", b"host", b"cache-control", b"expect"})
# What a Connection field names in almost every message, and what is removed anyway.
_USUAL = HOP_BY_HOP | {b"close", b""}
# Almost every Connection field there is.
_KNOWN_OPTIONS = {
    spelling: frozenset({spelling.lower()}) for spelling in (b"keep-alive", b"Keep-Alive", b"close", b"Close")
}
_NO_OPTIONS: frozenset[bytes] = frozenset()
_LINE = re.compile(rb"([^:]+):[\t ]*([^\r]*)\r\n")


def reader_of(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Finds the fields of these names; a name that ends in `*` stands for all that begin so."""
    either = b"|".join(name.replace(b"*", rb"[^:\r]*") for name in sorted(names))
    return re.compile(rb"\r\n((%b):[\t ]*([^\r]*))" % either, re.IGNORECASE)


def divide(fields: Fields, reader: re.Pattern[bytes], kept: frozenset[bytes]) -> tuple[Read, Fields]:
    """What is read of the fields; and all that is not read, or is among `kept`, as it is.

    `fields` begins with the CRLF that is before the first one.
    """
    read: Read = {}
    for line, name, value in reader.findall(fields):
        lower = name.lower()
        if lower in read:
            read[lower].append(value.rstrip(b"\t "))
        else:
            read[lower] = [value.rstrip(b"\t ")]
        if lower not in kept:
            fields = fields.replace(b"\r\n%b\r\n" % line, b"\r\n", 1)
    return read, fields[2:]


def connection_options(read: Read) -> frozenset[bytes]:
    """What the Connection fields say (RFC 9110 section 7.6.1), in lower case."""
    values = read.get(b"connection")
    if values is None:
        return _NO_OPTIONS
    known = _KNOWN_OPTIONS.get(values[0]) if len(values) == 1 else None
    return tokens(values) if known is None else known


def tokens(values: Iterable[bytes]) -> frozenset[bytes]:
    """The elements of a field that is a list of tokens (RFC 9110 section 5.6.1), in lower case."""
    return frozenset(token.strip(b" \t").lower() for value in values for token in value.split(b","))


def without_nominated(fields: Fields, connection: frozenset[bytes]) -> Fields:
    """The fields less those that a Connection field names: they too are about one connection."""
    if connection <= _USUAL:
        return fields
    return without(fields, connection - _USUAL - _NEVER_NOMINATED)


def without(fields: Fields, names: frozenset[bytes]) -> Fields:
    """The fields less those of these lower-case names."""
    return lines(field for field in split(fields) if field[0].lower() not in names) if names else fields


def split(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Names and values, in order."""
    return _LINE.findall(fields)


def lines(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Names and values as they stand in a message."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])
