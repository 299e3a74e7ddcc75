"""Where a certificate is used, and the sight of one in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from exporter.certcheck.certificate import Certificate, Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.usage import Usage


class Role(StrEnum):
    """What a certificate is for, seen from this gateway (`cert_role`)."""

    UPSTREAM = "upstream"
    """Presented by us to an upstream: a client certificate."""
    UPSTREAM_SERVER = "upstream_server"
    """Presented by an upstream to us."""
    CLIENT = "client"
    """That a client of an API may present, or did."""
    SERVER = "server"
    """Served by our own listeners."""
    CA = "ca"
    """A configured trust anchor."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One place a certificate is used. A renewed certificate takes over its slot.

    `api_id` is None for the gateway's own. `cert_ref` is None for what was presented to us; the address is None where
    no server is involved. `chain_index` counts from 0 in the file or chain. `cert_name` is set only where there is
    neither reference nor address: nothing else tells apart what two clients present. `peer_address` is the IP address
    that was connected to: which of the nodes behind `server_address` it was.
    """

    api_id: str | None
    role: Role
    cert_ref: str | None = None
    server_address: str | None = None
    server_port: int | None = None
    chain_index: int = 0
    cert_name: str | None = None
    peer_address: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A chain in use: configured for an API, presented by us on a request, or presented to us in a handshake.

    Made once, when the file is loaded or the connection is made, and handed over as often as it is used. The chain is
    leaf first; a bundle of trust anchors is in the order of its file.
    """

    api_id: str | None
    role: Role
    chain: tuple[Reading, ...]
    cert_ref: str | None = None
    server_address: str | None = None
    server_port: int | None = None
    peer_address: str | None = None
    policy: ExpiryPolicy | None = None
    """What it is judged by, where that differs from its owner's."""
    usage: Usage = field(default_factory=Usage, repr=False)

    @property
    def address(self) -> tuple[str | None, int | None]:
        """Of the server that is involved."""
        return self.server_address, self.server_port

    @property
    def is_named(self) -> bool:
        """Whether its slots are told apart by the names of the certificates: a client presented them."""
        return self.cert_ref is None and self.server_address is None

    @property
    def first_is_leaf(self) -> bool:
        """Whether the first certificate is what one end presents to the other; else it is one of a bundle."""
        return self.role in _PRESENTED or (self.role is Role.CLIENT and self.is_named)

    @property
    def first_slot(self) -> Slot:
        """The slot of the leaf, or of the first anchor."""
        return self._slot(0, self.chain[0].certificate)

    def slots(self) -> tuple[Slot, ...]:
        """The slot of each certificate of the chain, in its order."""
        return tuple(self._slot(index, reading.certificate) for index, reading in enumerate(self.chain))

    def _slot(self, index: int, certificate: Certificate | None) -> Slot:
        name = certificate.cert_name if self.is_named and certificate else None
        place = (self.api_id, self.role, self.cert_ref, self.server_address, self.server_port)
        return Slot(*place, index, name, self.peer_address)


_PRESENTED = frozenset({Role.UPSTREAM, Role.UPSTREAM_SERVER, Role.SERVER})
