"""What the gateway loads: everything needed to serve one generation of an API, with nothing left to look up."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.slot import Observation
from exporter.proxy.core import Upstream


@dataclass(frozen=True, slots=True, eq=False)
class MonitorPlan:
    """What is monitored for one owner, and how."""

    policy: ExpiryPolicy
    observations: tuple[Observation, ...]
    """One for each configured certificate or bundle. Their `chain` is never empty."""


@dataclass(frozen=True, slots=True, eq=False)
class ApiPlan:
    """One generation of an API, resolved: certificates read, contexts ready to be made."""

    api_id: str
    listen_path: bytes
    strip_listen_path: bool
    preserve_host_header: bool
    upstream: Upstream
    monitor: MonitorPlan | None
    """None: monitoring is disabled for this API, or there is nothing to monitor."""
    unusable: str | None
    """Why its requests cannot be sent as configured, for a person; None: they can."""
    client_certificates: bool
    """Whether clients must present a certificate."""
    fingerprint: object = field(repr=False)
    """Equal for two plans if nothing that they were made of has changed, files included. May hold secrets."""
    definition: dict[str, Any]
    """As shown to people: header values and secrets redacted."""


@dataclass(frozen=True, slots=True, eq=False)
class ListenerPlan:
    """TLS of the gateway's own listeners, and what is monitored of it."""

    proxy: ssl.SSLContext | None
    """None: plain HTTP."""
    admin: ssl.SSLContext | None
    proxy_observation: Observation | None
    """Reported for every handshake; None where nothing is monitored."""
    admin_observation: Observation | None
    monitor: MonitorPlan | None
    fingerprint: object
