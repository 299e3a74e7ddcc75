"""What the files of an API's `client_certificates` allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.slot import Observation, Role
from exporter.certificates.files import Material
from exporter.certificates.issuers import Issuers
from exporter.certificates.tls import is_loadable
from exporter.proxy.clients import ClientPolicy, Listed


def role_of(material: Material) -> Role:
    """What a listed file holds: a client's own, with its chain or without, or issuers.

    The order does not count: a chain that is written from its root on must not let in all that the root has issued.
    """
    certificates = [each.certificate for each in material.chain if each.certificate is not None]
    first = material.chain[0].certificate
    issuers = {each.subject for each in certificates if each.is_ca}
    has_chain = any(not each.is_ca and each.issuer in issuers for each in certificates)
    return Role.CA if first is not None and first.is_ca and not has_chain else Role.CLIENT


@dataclass(slots=True)
class _Allowed:
    issuers: dict[bytes, None] = field(default_factory=dict)
    clients: dict[bytes, Listed] = field(default_factory=dict)

    def add(self, material: Material, observation: Observation | None) -> None:
        """Issuers count only in a file of issuers: who lists a client with its chain does not mean all of its kind."""
        role = role_of(material)
        own = observation if role is Role.CLIENT else None
        for der, certificate in _usable(material):
            if not certificate.is_ca:
                self.clients.setdefault(der, Listed(certificate, own))
                # The others of the file are listed, too; its slots tell when the first of them was used.
                own = None
            elif role is Role.CA:
                self.issuers[der] = None


def allow_list(api_id: str, entries: Iterable[tuple[Material, Observation]], *, observes: bool = True) -> ClientPolicy:
    """The policy of one generation of an API. What cannot be used allows nobody, and keeps nobody else out. Blocks."""
    allowed = _Allowed()
    for material, observation in entries:
        allowed.add(material, observation if observes else None)
    return ClientPolicy(
        api_id,
        frozenset([*allowed.issuers, *allowed.clients]),
        {listed.certificate.cert_id: listed for listed in allowed.clients.values()},
        Issuers(allowed.issuers).paths,
        observes=observes,
    )


def _usable(material: Material) -> Iterator[tuple[bytes, Certificate]]:
    for der, reading in material.blocks():
        # Where the file as a whole is fit for OpenSSL, each part is.
        if reading.certificate is not None and (material.problem is None or is_loadable(der)):
            yield der, reading.certificate
