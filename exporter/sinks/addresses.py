"""Which addresses a webhook may be sent to: one table, by the IANA special-purpose registries (RFC 6890)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


class Reach(Enum):
    """Who may be behind an address."""

    PUBLIC = "public"
    PRIVATE = "private"
    """Ours to reach, where the configuration says so."""
    FORBIDDEN = "forbidden"
    """Nobody's whom a webhook is for, whatever the configuration says."""


_PRIVATE = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",  # carrier-grade NAT
    "::1/128",
    "fc00::/7",
)
_FORBIDDEN = (
    "0.0.0.0/8",
    "100.100.100.200/32",  # metadata of Alibaba Cloud
    "168.63.129.16/32",  # the host agent of Azure
    "169.254.0.0/16",  # link-local; metadata of most clouds
    "192.0.0.0/24",  # protocol assignments; metadata of Oracle Cloud
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relays
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "::/0",  # all that is not assigned; unspecified, IPv4-compatible, link-local and multicast with it
    "2001::/23",  # protocol assignments
    "2001:db8::/32",
    "3fff::/20",
    "fd00:ec2::/32",  # metadata of AWS
    "fd20:ce::254/128",  # metadata of Google Cloud
)
_PUBLIC = ("0.0.0.0/0", "2000::/3")

_TABLE: dict[IPv4Network | IPv6Network, Reach] = {
    ipaddress.ip_network(text): reach
    for reach, texts in ((Reach.PRIVATE, _PRIVATE), (Reach.FORBIDDEN, _FORBIDDEN), (Reach.PUBLIC, _PUBLIC))
    for text in texts
}

# Where in an IPv6 address an IPv4 address is: the shift to the right, and what its bits are changed by.
_EMBEDDED: dict[IPv6Network, tuple[tuple[int, int], ...]] = {
    IPv6Network("::ffff:0:0/96"): ((0, 0),),  # mapped, RFC 4291
    IPv6Network("::ffff:0:0:0/96"): ((0, 0),),  # translated, RFC 2765
    IPv6Network("64:ff9b::/96"): ((0, 0),),  # NAT64, RFC 6052
    IPv6Network("2002::/16"): ((80, 0),),  # 6to4, RFC 3056
    IPv6Network("2001::/32"): ((64, 0), (0, 0xFFFFFFFF)),  # Teredo, RFC 4380: the server, and the client inverted
}


def reach_of(address: str) -> Reach:
    """Of an IPv4 or IPv6 address, as the resolver gives it. What is no address is forbidden."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return Reach.FORBIDDEN
    if isinstance(parsed, IPv6Address) and (carried := list(_carried(parsed))):
        # What is private is addressed as itself; in a disguise it is somebody's attempt.
        return Reach.PUBLIC if all(_listed(each) is Reach.PUBLIC for each in carried) else Reach.FORBIDDEN
    return _listed(parsed)


def is_allowed(address: str, *, private: bool) -> bool:
    """Whether to connect to an address, given whether private ones are allowed."""
    reach = reach_of(address)
    return reach is Reach.PUBLIC or (private and reach is Reach.PRIVATE)


def _listed(address: IPv4Address | IPv6Address) -> Reach:
    """What the longest prefix in the table says."""
    networks = [each for each in _TABLE if each.version == address.version and address in each]
    return _TABLE[max(networks, key=lambda each: each.prefixlen)]


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    for network, places in _EMBEDDED.items():
        if address in network:
            for shift, changed in places:
                yield IPv4Address(int(address) >> shift & 0xFFFFFFFF ^ changed)
