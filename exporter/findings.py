"""What a certificate would meet with in each kind of place. All of this blocks."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.issuing import Link, links_of
from exporter.certcheck.san import ServerNames, server_names
from exporter.certcheck.slot import Role
from exporter.certcheck.succession import check_chain_of_listener, check_chain_to_upstream
from exporter.certcheck.suitability import (
    Check,
    Status,
    check_dates,
    check_host,
    check_key_usage,
    check_names_kept,
    fails,
    passes,
)
from exporter.certificates.candidate import Candidate
from exporter.certificates.verification import Anchors
from exporter.places import Place
from exporter.proxy.clients import ClientPolicy


class Findings(NamedTuple):
    """Of one place."""

    checks: dict[str, Check]
    """By name, in the order in which they are shown."""
    path: tuple[Certificate, ...]
    """What has to stay valid for the certificate to work; never empty."""


class Finder:
    """Holds one certificate against places, at one instant."""

    def __init__(self, candidate: Candidate, now: datetime) -> None:
        self._candidate = candidate
        self._now = now
        self._anchors: dict[bytes | None, Anchors] = {}
        self._names = server_names(candidate.chain[0].parsed)

    def find(self, place: Place) -> Findings:
        """Everything that is to be said of one place."""
        match place.role:
            case Role.UPSTREAM_SERVER:
                return self._as_upstream(place)
            case Role.CLIENT if place.clients is not None:
                return self._as_client(place, place.clients)
            case Role.SERVER:
                return self._as_listener(place)
            case _:
                return self._to_upstream(place)

    def _to_upstream(self, place: Place) -> Findings:
        present, known = links_of(place.in_use.chain), self._trusted(place.in_use.anchors).links()
        chain = check_chain_to_upstream(self._candidate.linked, present, known)
        return self._findings(place, chain, self._sent, self._candidate.linked.path)

    def _as_upstream(self, place: Place) -> Findings:
        host = place.target.host if place.target else ""
        chain, path = self._verified(place.in_use.anchors)
        used = path or self._candidate.linked.path
        return self._findings(place, chain, _certificates(used), used, check_host(self._names, host))

    def _as_client(self, place: Place, clients: ClientPolicy) -> Findings:
        linked, paths = self._candidate.linked.path, clients.paths(self._candidate.ders)
        if not paths:
            chain = fails("it is neither on the API's allow-list nor issued by an issuer that is")
            return self._findings(place, chain, _certificates(linked), linked)
        # Where there are several ways, one that is open is enough.
        path = max(paths, key=self._lasts)
        by = f"by {path[-1].cert_name}, which is listed" if len(path) > 1 else "by being listed itself"
        return self._findings(place, passes(f"the API lets it in {by}"), path, linked)

    def _as_listener(self, place: Place) -> Findings:
        present = links_of(place.in_use.chain)
        chain = check_chain_of_listener(self._candidate.linked, present)
        if chain.status is Status.UNKNOWN:
            public, path = self._verified(None)
            chain = public if path else chain
        names = server_names(present[0].parsed) if present else ServerNames()
        return self._findings(
            place, chain, self._sent, self._candidate.linked.path, check_names_kept(self._names, names)
        )

    def _findings(
        self,
        place: Place,
        chain: Check,
        path: tuple[Certificate, ...],
        links: tuple[Link, ...],
        name: Check | None = None,
    ) -> Findings:
        checks = {
            "dates": check_dates(path, self._now),
            "key": self._candidate.key,
            "chain": chain,
            "key_usage": check_key_usage(links, place.role),
        }
        return Findings(checks | ({"name": name} if name is not None else {}), path)

    @property
    def _sent(self) -> tuple[Certificate, ...]:
        """All that would be presented: who verifies it may look at any."""
        return _certificates(self._candidate.chain)

    def _verified(self, anchors: bytes | None) -> tuple[Check, tuple[Link, ...]]:
        verified = self._trusted(anchors).verify(self._candidate.chain, self._now)
        what = "the system's trust store" if anchors is None else "the API's upstream_ca"
        if not verified.path:
            return fails(f"{what} does not verify it: {verified.why}"), ()
        return passes(f"{what} verifies it, by {verified.path[-1].certificate.cert_name}"), verified.path

    def _trusted(self, anchors: bytes | None) -> Anchors:
        # The system's store takes tens of milliseconds to load.
        return self._anchors.setdefault(anchors, Anchors(anchors))

    def _lasts(self, path: tuple[Certificate, ...]) -> tuple[bool, datetime]:
        begins, ends = max(each.not_before for each in path), min(each.not_after for each in path)
        return begins <= self._now, ends


def _certificates(links: tuple[Link, ...]) -> tuple[Certificate, ...]:
    return tuple(each.certificate for each in links)
