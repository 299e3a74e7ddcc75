"""Would this certificate work, and until when? The answer for each place, before anything is deployed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.expiry import days_remaining
from exporter.certcheck.slot import Role
from exporter.certcheck.suitability import Check, Status, is_expiring, works
from exporter.certcheck.text import rfc3339
from exporter.certificates.candidate import Candidate, read_candidate
from exporter.findings import Finder, Findings
from exporter.places import Place, Question, could_serve
from exporter.rehearsal import Rehearsals

Read: TypeAlias = Callable[[], Candidate]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was found, of a certificate and of each place."""

    candidate: Candidate
    rows: list[dict[str, Any]]
    now: datetime

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"certificate": _certificate(self.candidate, self.now), "places": self.rows}


class Preflight:
    """Checks one certificate after the other; rehearsals go on beside them."""

    def __init__(self) -> None:
        self._checking = asyncio.Lock()
        self._rehearsals = Rehearsals()

    async def answer(self, read: Read, every: Sequence[Place], question: Question, now: datetime) -> Answer:
        """What is to be said of the certificate that `read` reads, in those of the places that it is meant for.

        Raises:
            UnusableError: it cannot be read.
        """
        async with self._checking:
            candidate, found = await asyncio.to_thread(_examine, read, every, question, now)
        upstreams = [place for place, _ in found if place.role is Role.UPSTREAM and question.rehearse]
        rehearsed = await self._rehearsals.all(candidate, upstreams)
        rows = await asyncio.to_thread(lambda: [_row(*each, rehearsed, now) for each in found])
        return Answer(candidate, rows, now)


def reading(data: bytes, key: bytes | None = None, passphrase: bytes = b"") -> Read:
    """What reads a candidate from bytes; it blocks."""
    return lambda: read_candidate(data, key=key, passphrase=passphrase)


def _examine(
    read: Read, every: Sequence[Place], question: Question, now: datetime
) -> tuple[Candidate, list[tuple[Place, Findings]]]:
    candidate = read()
    finder = Finder(candidate, now)
    return candidate, [(place, finder.find(place)) for place in could_serve(candidate, every, question)]


def _row(place: Place, findings: Findings, rehearsed: Mapping[Place, Check], now: datetime) -> dict[str, Any]:
    address, port = place.address
    rehearsal = rehearsed.get(place)
    until = min(each.not_after for each in findings.path)
    row = {
        "api_id": place.api_id,
        "cert_role": place.role.value,
        "cert_ref": place.in_use.cert_ref if place.role in {Role.UPSTREAM, Role.SERVER} else None,
        "server_address": address,
        "server_port": port,
        "works": works(place.role, findings.checks, rehearsal),
        "until": rfc3339(until),
        "days_remaining": days_remaining(until, now),
        "expiring": is_expiring(findings.path, place.in_use.policy, now),
        "checks": {name: _shown(check) for name, check in findings.checks.items()},
    }
    return row | ({"rehearsal": _shown(rehearsal)} if rehearsal is not None else {})


def _shown(check: Check) -> dict[str, str]:
    return {"status": check.status.value, "detail": check.detail}


def _certificate(candidate: Candidate, now: datetime) -> dict[str, Any]:
    leaf: Certificate = candidate.chain[0].certificate
    return {
        "cert_id": leaf.cert_id,
        "cert_name": leaf.cert_name,
        "subject": leaf.subject,
        "issuer": leaf.issuer,
        "serial_number": leaf.serial_number,
        "sans": list(leaf.sans),
        "not_before": rfc3339(leaf.not_before),
        "expires_at": rfc3339(leaf.not_after),
        "days_remaining": days_remaining(leaf.not_after, now),
        "key_type": leaf.key_type,
        "signature_algorithm": leaf.signature_algorithm,
        "chain_length": len(candidate.chain),
        "has_key": candidate.key.status is not Status.UNKNOWN,
    }
