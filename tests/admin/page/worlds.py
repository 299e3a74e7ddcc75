"""Certificates to look at: a few from files, with events that are delivered and not, and thousands that are made up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from exporter.app import utc_now
from exporter.certcheck.certificate import Certificate, InvalidReason, Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import Entry, entries_of
from exporter.certcheck.ports import Clock
from exporter.certcheck.slot import Observation, Role
from tests.admin.test_events import receiver
from tests.authority import DAY, Authority
from tests.served import Served, configuration, definition, served, write

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
"""What a browser asks for."""

AGES = {"orders": 400, "billing": 10, "legacy": -5}
"""The APIs, and how many days their client certificates have left."""

_REQUESTS = {"orders": 52_340, "billing": 4_711, "legacy": 27}


@asynccontextmanager
async def few(directory: Path, clock: Clock = utc_now, *, all_hear: bool = False, **more: Any) -> AsyncIterator[Served]:
    """Three APIs with certificates of three ages, in use; one of two receivers has heard of it, or all have."""
    authority = Authority("Example CA", now=clock())
    (directory / "ca.pem").write_bytes(authority.root.pem)
    certificates: dict[str, Any] = {"example-ca": {"cert_file": "ca.pem"}}
    async with receiver() as ops:
        for api_id, left in AGES.items():
            issued = authority.issue(f"{api_id}-client", left * DAY + timedelta(hours=1), f"{api_id}.example")
            certificate, key = issued.write(directory, api_id)
            certificates[f"{api_id}-client"] = {"cert_file": certificate, "key_file": key}
            write(
                directory,
                f"api-{api_id}.yaml",
                _definition(api_id, ops.url, ops.url if all_hear else "http://127.0.0.1:9/"),
            )
        async with served(directory, configuration(certificates=certificates, **more), clock=clock) as world:
            _use(world.inventory.entries(), clock())
            token = more.get("admin", {}).get("token_file")
            headers = {"Authorization": f"Bearer {(directory / token).read_text().strip()}"} if token else {}
            await _told(world, headers)
            yield world


def _definition(api_id: str, ops: str, pager: str) -> dict[str, Any]:
    urls = {"ops": ops, "pager": pager}
    handlers = [{"name": name, "webhook": {"url": url, "allow_private": True}} for name, url in urls.items()]
    return definition(
        api_id,
        f"https://{api_id}.internal:8443/",
        upstream_certificates={"*.internal": f"{api_id}-client"},
        upstream_ca="example-ca",
        event_handlers={"CertificateExpired": handlers, "CertificateExpiringSoon": handlers},
    )


def _use(entries: list[Entry], now: datetime) -> None:
    for entry in entries:
        if entry.slot.role is Role.UPSTREAM:
            entry.usage.requests = _REQUESTS[entry.slot.api_id or ""]
            entry.usage.last_observed_at = now - timedelta(minutes=2)
            entry.usage.mark(now - timedelta(minutes=2))


async def _told(world: Served, headers: dict[str, str]) -> None:
    """Wait until each event has reached one receiver, and has been tried at the other."""
    async with asyncio.timeout(15):
        while True:
            _, answer = await world.get("/events", headers=headers)
            deliveries = [each for event in answer["events"] for each in event["deliveries"]]
            if len(deliveries) == 4 and all(each["attempts"] for each in deliveries):
                return
            await asyncio.sleep(0.02)


def many(number: int, now: datetime) -> list[Entry]:
    """So many certificates in a world that was never there; the same ones every time."""
    chance = random.Random(2026)
    return [entry for at in range(number) for entry in made_up(at, chance, now)]


def made_up(at: int, chance: random.Random, now: datetime) -> Iterator[Entry]:
    api_id = f"{chance.choice(_TEAMS)}-{at % 97:02}"
    role = chance.choices([*_PLACES], [5, 4, 2])[0]
    left = timedelta(days=chance.triangular(-4, 700, 120), hours=1)
    name = f"{api_id}-{at}.{_PLACES[role]}.example" if role is Role.CLIENT else f"{api_id}.{_PLACES[role]}.example"
    certificate = Certificate(
        sha256(b"%d" % at).hexdigest(),
        min(now - 30 * DAY, now + left - 398 * DAY),
        now + left,
        common_name=name,
        sans=(name,),
        subject=f"CN={name}",
        issuer="CN=Example Issuing CA 3",
        serial_number=f"{at:x}",
        key_type="ec-secp256r1",
    )
    broken = chance.random() < 0.002
    reading = Reading(certificate, InvalidReason.HOSTNAME_MISMATCH if broken else None)
    given = role is not Role.CLIENT
    observation = Observation(
        api_id,
        role,
        (reading,),
        f"{api_id}-{at}" if role is Role.UPSTREAM else None,
        f"{api_id}.internal" if given else None,
        8443 if given else None,
        f"192.0.2.{at % 250}" if role is Role.UPSTREAM_SERVER else None,
    )
    yield from entries_of(observation, ExpiryPolicy())
    observation.usage.requests = int(chance.expovariate(1 / 900))
    observation.usage.last_observed_at = now - timedelta(minutes=chance.randrange(600))


_TEAMS = ("orders", "billing", "ledger", "search", "identity", "catalog", "shipping", "payments", "returns", "reports")
_PLACES = {Role.UPSTREAM: "clients", Role.UPSTREAM_SERVER: "servers", Role.CLIENT: "partners"}
