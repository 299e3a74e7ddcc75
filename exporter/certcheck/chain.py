"""What each certificate is in its chain or bundle, whatever the order they are in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from exporter.certcheck.certificate import Certificate, Reading
from exporter.certcheck.slot import Role


class ChainPosition(StrEnum):
    """What a certificate is in its chain."""

    LEAF = "leaf"
    INTERMEDIATE = "intermediate"
    ROOT = "root"


class Link(NamedTuple):
    """One certificate's part in a chain or bundle."""

    position: ChainPosition | None
    """None: it could not be read."""
    superseded_at: datetime | None = None
    """From when on a newer certificate stands in for it: the same name and use, and a later end. None: never."""


def links(role: Role, chain: Sequence[Reading], *, first_is_leaf: bool) -> list[Link]:
    """The part of each, in the order given.

    `first_is_leaf`: the first is what is presented, be it what it may. It is never superseded: the other end sees it.
    """
    certificates = [reading.certificate for reading in chain]
    if len(chain) == 1:
        # Most are alone, and there may be tens of thousands.
        return [Link(_position(role, certificates[0], frozenset(), is_first=first_is_leaf))]
    issuers = frozenset(each.issuer for each in certificates if each and each.issuer and not each.self_issued)
    superseded_at = _superseded_at(chain)
    return [
        Link(
            _position(role, certificate, issuers, is_first=first_is_leaf and index == 0),
            None if first_is_leaf and index == 0 else superseded_at.get(index),
        )
        for index, certificate in enumerate(certificates)
    ]


def _position(
    role: Role, certificate: Certificate | None, issuers: frozenset[str], *, is_first: bool
) -> ChainPosition | None:
    if is_first:
        return ChainPosition.LEAF
    if certificate is None:
        return None
    issues = certificate.is_ca or certificate.subject in issuers
    if certificate.self_issued and (issues or role is Role.CA):
        return ChainPosition.ROOT
    return ChainPosition.INTERMEDIATE if issues else ChainPosition.LEAF


def _superseded_at(chain: Sequence[Reading]) -> dict[int, datetime]:
    """From when on, by their index, those are superseded that are. A bundle may have thousands: each is taken once."""
    places: dict[tuple[object, ...], list[tuple[Certificate, int]]] = {}
    for index, reading in enumerate(chain):
        if reading.certificate is not None and reading.certificate.subject is not None:
            places.setdefault(_place(reading.certificate), []).append((reading.certificate, index))
    return {index: at for each in places.values() if len(each) > 1 for index, at in _of_one_place(each, chain)}


def _of_one_place(members: list[tuple[Certificate, int]], chain: Sequence[Reading]) -> Iterator[tuple[int, datetime]]:
    begins: datetime | None = None
    newest_first = sorted(members, key=lambda each: each[0].not_after, reverse=True)
    for _, together in groupby(newest_first, key=lambda each: each[0].not_after):
        ends_then = list(together)
        if begins is not None:
            yield from ((index, begins) for _, index in ends_then)
        usable = [certificate.not_before for certificate, index in ends_then if chain[index].invalid is None]
        begins = min(filter(None, (begins, *usable)), default=None)


def _place(certificate: Certificate) -> tuple[object, ...]:
    """The same for two certificates of which either could do what the other does."""
    return (
        certificate.subject,
        frozenset(certificate.sans),
        certificate.is_ca,
        certificate.key_usages,
        certificate.extended_key_usages and frozenset(certificate.extended_key_usages),
    )
