"""The configuration file and API definitions: strict, frozen models that refuse what they do not understand."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from exporter.certcheck.expiry import ExpiryPolicy
from exporter.handler_entry import EventHandlers
from exporter.redis_url import SCHEMES, parse_redis_url
from exporter.strict import (
    Passphrase,
    Reference,
    Strict,
    Text,
    WarningDays,
    WarningFraction,
    check_passphrase,
    policy_of,
)
from exporter.target import Target, match_pattern, normalise_pattern, parse_target
from exporter.watch_entry import Watch


def _address(listen: str) -> str:
    host, colon, port = listen.rpartition(":")
    bracketed = re.fullmatch(r"\[(.*)\]", host)
    bare = bracketed[1] if bracketed else host
    try:
        ipaddress.ip_address(bare or "-")
    except ValueError:
        raise ValueError("must be ADDRESS:PORT with an IP address, like 127.0.0.1:8080 or [::1]:8080") from None
    if (":" in bare) != bool(bracketed):
        raise ValueError("must have brackets around an IPv6 address, and only there: [::1]:8080")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("must end in a port from 0 to 65535, like :8080")
    return listen


def _listen_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must begin with a slash")
    if len(path) > 1024:
        raise ValueError("must have at most 1024 characters")
    if not all("!" <= c <= "~" for c in path) or any(c in path for c in "?#"):
        raise ValueError("must be a path of visible ASCII characters, without ? and #; percent-encode the others")
    if {".", ".."} & set(path.split("/")):
        raise ValueError("must not have . or .. as a segment")
    return path


def _state(state: str) -> str:
    kind, colon, path = state.partition(":")
    if kind in SCHEMES:
        parse_redis_url(state)
        return state
    if state != "memory" and (kind != "sqlite" or not colon):
        raise ValueError("must be memory, sqlite:PATH, or a URL that begins with redis:// or rediss://")
    if path.startswith("//"):
        raise ValueError("must have a path behind sqlite:, not a URL: sqlite:/var/lib/certgauge/state.sqlite3")
    if colon and (path in {"", ":memory:"} or path.endswith(("/", "/.", "/.."))):
        raise ValueError("must name a file behind sqlite:")
    return state


def _target(url: str) -> str:
    parse_target(url)
    return url


def _patterns(patterns: dict[str, str]) -> dict[str, str]:
    normalised: dict[str, str] = {}
    for pattern, reference in patterns.items():
        try:
            key = normalise_pattern(pattern)
        except ValueError as exc:
            raise ValueError(f"key {pattern!r} {exc}") from None
        if key in normalised:
            raise ValueError(f"has the host {key!r} twice, in two spellings")
        normalised[key] = reference
    return normalised


Listen = Annotated[str, AfterValidator(_address)]
UpstreamCertificates = Annotated[dict[str, Reference], AfterValidator(_patterns)]
Seconds = Annotated[float, Field(ge=0, le=10 * 366 * 86400, allow_inf_nan=False)]


class ProxyTls(Strict):
    """TLS of the proxy's listener."""

    certificate: Reference
    client_ca: Reference | None = None


class AdminTls(Strict):
    """TLS of the admin listener."""

    certificate: Reference


class Proxy(Strict):
    """The listener that carries traffic."""

    listen: Listen = "127.0.0.1:8080"
    core: str = "httptools"
    tls: ProxyTls | None = None
    drain_timeout_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 30.0
    upstream_timeout_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 30.0


class Admin(Strict):
    """The listener for metrics, health and administration."""

    listen: Listen = "127.0.0.1:9464"
    token_file: str | None = None
    tls: AdminTls | None = None


class ApiMonitor(Strict):
    """What an API may say of its monitoring; what it does not say is the gateway's."""

    enabled: bool = True
    warning_threshold_days: WarningDays = 30.0
    warning_lifetime_fraction: WarningFraction | None = None
    check_cooldown_seconds: Seconds = 3600.0
    event_cooldown_seconds: Seconds = 86400.0
    flush_interval_seconds: Annotated[float, Field(ge=1, le=86400, allow_inf_nan=False)] = 30.0
    check_on_load: bool = True

    def policy(self) -> ExpiryPolicy:
        """The same as domain values."""
        return ExpiryPolicy(
            warning_threshold=timedelta(days=self.warning_threshold_days),
            warning_lifetime_fraction=self.warning_lifetime_fraction,
            check_cooldown=timedelta(seconds=self.check_cooldown_seconds),
            event_cooldown=timedelta(seconds=self.event_cooldown_seconds),
            flush_interval=timedelta(seconds=self.flush_interval_seconds),
            check_on_load=self.check_on_load,
        )


class GatewayMonitor(ApiMonitor):
    """The gateway's monitoring, and what an API inherits."""

    max_certificates: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000

    def with_overrides(self, api: ApiMonitor) -> ApiMonitor:
        """What holds for an API: its own word where it gave one."""
        return self.model_copy(update={name: getattr(api, name) for name in api.model_fields_set})


class CertificateEntry(Strict):
    """A named certificate."""

    cert_file: Text
    key_file: Text | None = None
    passphrase_file: Text | None = None
    passphrase: Passphrase | None = None
    warning_threshold_days: WarningDays | None = None
    warning_lifetime_fraction: WarningFraction | None = None

    @model_validator(mode="after")
    def _check_passphrase(self) -> Self:
        check_passphrase(self.passphrase_file, self.passphrase)
        return self

    def policy(self, owner: ExpiryPolicy) -> ExpiryPolicy | None:
        """What its certificates are judged by, given what their owner's are; None: by that."""
        return policy_of(self, owner)


class ApiDefinition(Strict):
    """One API."""

    api_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
    name: Annotated[str, Field(max_length=256)] | None = None
    listen_path: Annotated[str, AfterValidator(_listen_path)]
    target_url: Annotated[str, AfterValidator(_target)]
    strip_listen_path: bool = True
    preserve_host_header: bool = False
    upstream_certificates: UpstreamCertificates = Field(default_factory=dict)
    upstream_certificates_disabled: bool = False
    upstream_ca: Reference | None = None
    client_certificates: list[Reference] = Field(default_factory=list)
    certificate_expiry_monitor: ApiMonitor = Field(default_factory=ApiMonitor)
    event_handlers: EventHandlers = Field(default_factory=dict)

    @property
    def target(self) -> Target:
        """Where it forwards to."""
        return parse_target(self.target_url)

    def shown(self) -> dict[str, Any]:
        """As people may see it: URLs, header values and variables of webhooks redacted."""
        return self.model_dump(mode="json", exclude_unset=True)


def _kind_of_api(value: Any) -> str | None:
    return "file" if isinstance(value, str) else "definition" if isinstance(value, dict | ApiDefinition) else None


CompatMetrics: TypeAlias = Literal["x509", "ssl", "probe", "tlscheck"]
"""Whose metric names are printed as well: x509-certificate-exporter, ssl_exporter, blackbox_exporter, tlscheck."""


class Configuration(Strict):
    """The file that `certgauge run --config` takes."""

    proxy: Proxy = Field(default_factory=Proxy)
    admin: Admin = Field(default_factory=Admin)
    certificate_expiry_monitor: GatewayMonitor = Field(default_factory=GatewayMonitor)
    certificates: dict[Reference, CertificateEntry] = Field(default_factory=dict)
    watch: list[Watch] = Field(default_factory=list)
    upstream_certificates: UpstreamCertificates = Field(default_factory=dict)
    event_handlers: EventHandlers = Field(default_factory=dict)
    state: Annotated[str, AfterValidator(_state)] | None = None
    state_password_file: Text | None = None
    compat_metrics: list[CompatMetrics] = Field(default_factory=list)
    apis: list[
        Annotated[
            Annotated[str, Tag("file")] | Annotated[ApiDefinition, Tag("definition")], Discriminator(_kind_of_api)
        ]
    ] = Field(default_factory=list)

    def upstream_reference(self, api: ApiDefinition) -> str | None:
        """The certificate to present for an API: its own map before the gateway's. None: none is configured."""
        target = api.target
        if api.upstream_certificates_disabled or target.scheme != "https":
            return None
        return match_pattern(api.upstream_certificates, target) or match_pattern(self.upstream_certificates, target)
