"""The places of a gateway that a certificate could be used in, and what it would find there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from exporter.certcheck.issuing import links_of
from exporter.certcheck.san import server_names
from exporter.certcheck.slot import Role
from exporter.certcheck.suitability import is_meant_for
from exporter.certificates.candidate import Candidate
from exporter.plan import ApiPlan, InUse, ListenerPlan
from exporter.proxy.clients import ClientPolicy
from exporter.target import Target

ROLES = (Role.UPSTREAM, Role.UPSTREAM_SERVER, Role.CLIENT, Role.SERVER)
"""Those that are asked about. What a CA is good for shows in what it issues."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a certificate."""

    api_id: str | None = None
    """None: every API, and the gateway's own listeners."""
    role: Role | None = None
    """None: every role that the certificate is meant for."""
    rehearse: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One use that a certificate could be put to."""

    role: Role
    in_use: InUse
    api_id: str | None = None
    target: Target | None = None
    """The upstream; None: no upstream is involved."""
    timeout_seconds: float = 30.0
    """For connecting to the upstream."""
    clients: ClientPolicy | None = field(default=None, repr=False)

    @property
    def address(self) -> tuple[str | None, int | None]:
        """Of the server that is involved."""
        if self.target is not None:
            return self.target.host, self.target.port
        return self.in_use.address, self.in_use.port


def places(plans: Mapping[str, ApiPlan], listeners: ListenerPlan | None, question: Question) -> Iterator[Place]:
    """Those that are asked about, APIs by their ids, whatever the certificate."""
    for api_id, plan in sorted(plans.items()):
        if question.api_id in {None, api_id}:
            yield from (each for each in _of_api(plan) if question.role in {None, each.role})
    if question.api_id is None and question.role in {None, Role.SERVER} and listeners is not None:
        yield from (Place(Role.SERVER, each) for each in listeners.in_use)


def could_serve(candidate: Candidate, every: Iterable[Place], question: Question) -> Iterator[Place]:
    """Those that the certificate is meant for, by its key usage and names; all, where their role is asked for."""
    yield from (each for each in every if question.role is not None or _is_meant_for(candidate, each))


def _of_api(plan: ApiPlan) -> Iterator[Place]:
    in_use, target, seconds = plan.in_use, plan.upstream.target, plan.upstream.timeout_seconds
    if in_use is None:
        return
    if target.scheme == "https":
        if in_use.cert_ref is not None:
            yield Place(Role.UPSTREAM, in_use, plan.api_id, target, seconds)
        yield Place(Role.UPSTREAM_SERVER, in_use, plan.api_id, target, seconds)
    if plan.clients is not None:
        yield Place(Role.CLIENT, in_use, plan.api_id, clients=plan.clients)


def _is_meant_for(candidate: Candidate, place: Place) -> bool:
    leaf = candidate.chain[0]
    if not is_meant_for(leaf.certificate, place.role):
        return False
    names = server_names(leaf.parsed)
    if place.role is Role.UPSTREAM_SERVER and place.target is not None:
        return names is not None and names.match(place.target.host)
    if place.role is Role.SERVER and names is not None:
        present = next((server_names(each.parsed) for each in links_of(place.in_use.chain[:1])), None)
        return not present or len([*names.missing(present)]) < len(present)
    return True
