"""The names a server's certificate is for (RFC 9525): SANs alone, never the common name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

from cryptography import x509

from exporter.certcheck.text import printable

Address: TypeAlias = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class ServerNames:
    """DNS names, lower-case and without a trailing dot, and IP addresses."""

    dns: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()

    def match(self, host: str) -> bool:
        """Whether they are for a host: a DNS name in A-labels, or an IP address, which matches only exactly."""
        address = _address(host)
        if address is not None:
            return address in self.addresses
        return any(_matches(pattern, _plain(host)) for pattern in self.dns)

    def missing(self, others: ServerNames) -> Iterator[str]:
        """Those of the others that these do not cover. A wildcard is covered only by itself."""
        yield from (
            each for each in others.dns if each not in self.dns and (each.startswith("*.") or not self.match(each))
        )
        yield from (str(each) for each in others.addresses if each not in self.addresses)

    def __len__(self) -> int:
        return len(self.dns) + len(self.addresses)

    def __str__(self) -> str:
        return printable(", ".join([*self.dns, *map(str, self.addresses)])) or "no name"


def server_names(certificate: x509.Certificate) -> ServerNames | None:
    """The names of a certificate; empty where it has none, None where they cannot be read."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(_plain(each) for each in names.get_values_for_type(x509.DNSName))
        addresses = names.get_values_for_type(x509.IPAddress)
    except x509.ExtensionNotFound:
        return ServerNames()
    except Exception:  # the library raises many kinds for extensions that it cannot read
        return None
    return ServerNames(dns, tuple(each for each in addresses if isinstance(each, IPv4Address | IPv6Address)))


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _matches(pattern: str, host: str) -> bool:
    """RFC 9525 section 6.3: a wildcard is the whole first label, and stands for one label.

    Like OpenSSL, which does the matching on connections, it needs two labels behind it.
    """
    if not pattern.startswith("*."):
        return pattern == host
    label, dot, rest = host.partition(".")
    return bool(label and dot) and rest == pattern[2:] and "." in rest
