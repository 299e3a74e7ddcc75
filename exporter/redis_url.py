"""Which Redis or Valkey keeps the event cooldowns: a URL taken apart. Without credentials, which go into files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from exporter.target import normalise_host

SCHEMES = ("redis", "rediss")

_PORT = 6379
_PARAMETERS = {"prefix": r"[A-Za-z0-9._-]{1,64}", "user": r"[!-~]{1,128}", "ca_file": r".{1,1024}"}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """`redis://HOST:PORT/DATABASE?prefix=NAME&user=NAME&ca_file=FILE`; all but the host may be left out."""

    host: str
    port: int
    tls: bool
    """`rediss://`: over TLS, verified."""
    database: int = 0
    prefix: str = "default"
    """Those who share cooldowns have the same."""
    user: str | None = None
    """Of an access control list; None: the default user."""
    ca_file: str | None = None
    """Relative to the configuration. None: the system's trust store."""


def parse_redis_url(url: str) -> RedisUrl:
    """Take a URL apart.

    Raises:
        ValueError: with a sentence for the person who wrote it, which never quotes the URL.
    """
    # The standard library would quietly remove some of them.
    if any(c <= " " or c > "~" for c in url):
        raise ValueError("must consist of visible ASCII characters; percent-encode the others")
    # Also where it is no part of the host: a password may hold a slash that somebody forgot to encode.
    if "@" in url:
        raise ValueError("must not carry credentials; put the password into state_password_file")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = normalise_host(parts.hostname or "")
    except ValueError:
        raise ValueError("is not a URL: its host or port cannot be read") from None
    if parts.scheme not in SCHEMES:
        raise ValueError("must begin with redis:// or rediss://")
    if port == 0:
        raise ValueError("must not have port 0")
    if parts.fragment or "#" in url:
        raise ValueError("must not have a fragment")
    given = _parameters(parts.query)
    if "ca_file" in given and parts.scheme != "rediss":
        raise ValueError("has a ca_file without TLS; it goes with rediss://")
    return RedisUrl(host, port or _PORT, parts.scheme == "rediss", _database(parts.path), **given)


def _database(path: str) -> int:
    if not re.fullmatch(r"/?|/[0-9]{1,5}", path):
        raise ValueError("must have the number of a database as its path, or none")
    return int(path.removeprefix("/") or 0)


def _parameters(query: str) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise ValueError("has parameters that cannot be read; they are prefix, user and ca_file") from None
    given = dict(pairs)
    if given.keys() - _PARAMETERS.keys() or len(given) < len(pairs):
        raise ValueError("has a parameter that is not known, or one twice; they are prefix, user and ca_file")
    if not re.fullmatch(_PARAMETERS["prefix"], given.get("prefix", "default")):
        raise ValueError("must have a prefix of 1 to 64 letters, digits, dots, hyphens and underscores")
    for name, value in given.items():
        if not re.fullmatch(_PARAMETERS[name], value):
            raise ValueError(f"has an unfit value of {name}")
    return given
