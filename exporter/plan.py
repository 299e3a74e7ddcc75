"""What the gateway loads: everything needed to serve one generation of an API, with nothing left to look up."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.slot import Observation
from exporter.problems import Problem
from exporter.proxy.clients import ClientPolicy
from exporter.proxy.core import Upstream


@dataclass(frozen=True, slots=True, eq=False)
class MonitorPlan:
    """What is monitored for one owner, and how."""

    policy: ExpiryPolicy
    observations: tuple[Observation, ...]
    """One for each configured certificate or bundle. Their `chain` is never empty."""


@dataclass(frozen=True, slots=True, eq=False)
class InUse:
    """What holds in one place now, for another certificate to be held against. Kept also where nothing is monitored."""

    policy: ExpiryPolicy
    cert_ref: str | None = None
    """Of the certificate that is presented there; None: none is configured."""
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    """That certificate and those behind it, DER; empty where none can be read."""
    anchors: bytes | None = field(default=None, repr=False)
    """What the upstream is verified by, PEM; None: the system's trust store."""
    address: str | None = None
    """Where a listener of ours listens."""
    port: int | None = None


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
    unfit: Mapping[str, str]
    """The references whose files cannot be used, with why, for a person: our own, anchors, and listed clients."""
    clients: ClientPolicy | None
    """Which clients are served; None: all."""
    fingerprint: object = field(repr=False)
    """Equal for two plans if nothing that they were made of has changed, files included. May hold secrets."""
    definition: dict[str, Any]
    """As shown to people: header values and secrets redacted."""
    in_use: InUse | None = None
    """Towards the upstream; None: nothing is known, so nothing can be checked."""


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
    """Equal for two plans if nothing that they were made of has changed, clients aside. May hold secrets."""
    problems: tuple[Problem, ...] = ()
    """Why it cannot be served with; there are no contexts then."""
    make_proxy: Callable[[frozenset[bytes]], ssl.SSLContext] | None = field(default=None, repr=False)
    """Makes the proxy's context for clients that present these certificates (DER), or such as they issued. Blocks."""
    clients: frozenset[bytes] = field(default=frozenset(), repr=False)
    """Those that `proxy` was made for."""
    in_use: tuple[InUse, ...] = ()
    """For each listener with TLS."""

    def letting_in(self, clients: frozenset[bytes]) -> ListenerPlan:
        """The same for other clients; this one where they are the same. Blocks."""
        if self.make_proxy is None or clients == self.clients:
            return self
        return replace(self, proxy=self.make_proxy(clients), clients=clients)
