"""Where an API forwards to, and which certificate goes with it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import idna

DEFAULT_PORTS = {"http": 80, "https": 443}

# An IPv6 address with a port has brackets; without one it may do without.
_PATTERN = re.compile(r"(\*\.)?(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+(?=$|:)|[0-9A-Fa-f:.]+(?=$))(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Target:
    """A target URL, taken apart: `host` lower-case and IDNA-normalised, `port` always known."""

    scheme: str
    host: str
    port: int
    path: str
    """What the rest of the request's path is appended to; begins with a slash."""

    @property
    def authority(self) -> str:
        """For a Host field: without the scheme's default port, IPv6 addresses in brackets."""
        host = in_url(self.host)
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str) -> Target:
    """Take a target URL apart.

    Raises:
        ValueError: with a sentence for the person who wrote it, which never quotes the URL.
    """
    # The standard library would quietly remove some of them.
    if any(c <= " " for c in url):
        raise ValueError("must not contain spaces or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or port cannot be read") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("must begin with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry credentials")
    if not parts.hostname:
        raise ValueError("must name a host")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("must not have a query or a fragment")
    if port == 0:
        raise ValueError("must not have port 0")
    if not _is_plain(parts.path):
        raise ValueError("must have a path of visible ASCII characters; percent-encode the others")
    return Target(parts.scheme, normalise_host(parts.hostname), port or DEFAULT_PORTS[parts.scheme], parts.path or "/")


def _is_plain(path: str) -> bool:
    return all("!" <= c <= "~" for c in path)


def normalise_host(host: str) -> str:
    """Lower-case, A-labels (RFC 5891), no trailing dot; an IP address in its canonical form, without brackets.

    Raises:
        ValueError: not a host name.
    """
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(bare).compressed
    except ValueError:
        pass
    name = host.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("is not a host name") from None
    if not name or len(name) > 253 or any(not _is_label(label) for label in name.split(".")):
        raise ValueError("is not a host name")
    return name


def _is_label(label: str) -> bool:
    return 0 < len(label) <= 63 and all(c.isalnum() or c in "-_" for c in label)


def normalise_pattern(pattern: str) -> str:
    """The one spelling of a key of `upstream_certificates`.

    Raises:
        ValueError: it is none of `host`, `host:port`, `*.rest`, `*.rest:port`, `*`.
    """
    if pattern == "*":
        return pattern
    parts = _PATTERN.fullmatch(pattern)
    wildcard, host, port = parts.groups(default="") if parts else ("", "", "")
    try:
        name = normalise_host(host)
    except ValueError:
        name = ""
    if not name or (port and not 0 < int(port) <= 65535):
        raise ValueError("must be host, host:port, *.domain, *.domain:port or *")
    if wildcard and (is_address(name) or is_address(f"0.{name}")):
        raise ValueError("must not be a wildcard for an IP address: addresses match only exactly")
    return wildcard + (f"{in_url(name)}:{int(port)}" if port else name)


def in_url(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def is_address(host: str) -> bool:
    """Whether `host`, normalised, is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def match_pattern(patterns: Mapping[str, str], target: Target) -> str | None:
    """The reference for a target, from a map with normalised keys; None where no key matches.

    In this order: `host:port`, `host`, `*.rest:port`, `*.rest` (one label), `*`. An address matches only exactly.
    """
    host, port = target.host, target.port
    candidates = [f"{in_url(host)}:{port}", host]
    if not is_address(host):
        _, dot, rest = host.partition(".")
        candidates += [f"*.{rest}:{port}", f"*.{rest}"] if dot else []
        candidates.append("*")
    return next((patterns[candidate] for candidate in candidates if candidate in patterns), None)
