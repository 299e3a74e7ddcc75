"""The files that go with `state`: what is wrong with them, and where they are."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from exporter.config import Configuration
from exporter.problems import ConfigError, Problem
from exporter.redis_url import SCHEMES, RedisUrl, parse_redis_url

Content = Callable[[Path], bytes]
"""Reads a file, or raises ConfigError."""


def redis_url(configuration: Configuration) -> RedisUrl | None:
    """Which Redis keeps the cooldowns. None: none does."""
    state = configuration.state or ""
    return parse_redis_url(state) if state.partition(":")[0] in SCHEMES else None


def secret(content: bytes, noun: str) -> bytes:
    """What a file of one secret holds.

    Raises:
        ValueError: nothing, or more, in the words of a configuration error.
    """
    value = content.strip()
    if not value or not all(0x21 <= byte <= 0x7E for byte in value):
        raise ValueError(f"names a file without a {noun}: one line of visible ASCII characters")
    return value


def state_problems(configuration: Configuration, directory: Path, file: str, content: Content) -> Iterator[Problem]:
    """What is wrong with the password and the trust anchors of a store."""
    url, name = redis_url(configuration), configuration.state_password_file
    if url is None:
        if name is not None:
            yield Problem(file, "state_password_file", "is used with a redis:// or rediss:// state only")
        return
    if name is None and url.user:
        yield Problem(file, "state_password_file", "is required: state names a user")
    if name is not None:
        for message in _password_problems(directory / name, content):
            yield Problem(file, "state_password_file", message)
    if url.ca_file is not None:
        for message in _anchor_problems(directory / url.ca_file, content):
            yield Problem(file, "state", f"has a ca_file that {message}")


def state_warnings(configuration: Configuration, file: str) -> Iterator[Problem]:
    """What is allowed, but hardly meant."""
    url = redis_url(configuration)
    if url and not url.tls and configuration.state_password_file and not _is_loopback(url.host):
        yield Problem(file, "state", "sends the password in the clear; use rediss://")


def _password_problems(path: Path, content: Content) -> Iterator[str]:
    try:
        secret(content(path), "password")
    except ConfigError as exc:
        yield from (each.message for each in exc.problems)
    except ValueError as exc:
        yield str(exc)


def _anchor_problems(path: Path, content: Content) -> Iterator[str]:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content(path).decode("ascii"))
    except ConfigError as exc:
        yield from (each.message for each in exc.problems)
    except (ValueError, ssl.SSLError):
        yield "holds no certificates in PEM"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
