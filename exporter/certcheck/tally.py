"""What happened, counted in plain attributes. Exported by whoever renders metrics; nothing here is slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from enum import StrEnum

from exporter.certcheck.events import EventKind
from exporter.certcheck.expiry import State
from exporter.certcheck.slot import Role

COOLDOWN = "cooldown"
"""The outcome of a check that was not made, for one was made a short while ago."""

_MOST_UNLOADED = 100


class Outcome(StrEnum):
    """What became of an observation."""

    ACCEPTED = "accepted"
    AFTER_UNLOAD = "after_unload"
    DROPPED = "dropped"


class ErrorReason(StrEnum):
    """`certificate.errors` by `reason`: a fixed set, each at 0 from the start."""

    NIL_CERTIFICATE = "nil_certificate"
    NO_LEAF = "no_leaf"
    UNREADABLE_CERTIFICATE = "unreadable_certificate"
    CERTIFICATE_UNUSABLE = "certificate_unusable"
    INVENTORY_FULL = "inventory_full"
    COOLDOWN_STORE_FAILED = "cooldown_store_failed"
    STATE_FAILED = "state_failed"
    EVENT_HELD_BACK = "event_held_back"
    EVENT_NOT_DELIVERED = "event_not_delivered"
    FLUSH_FAILED = "flush_failed"
    FLUSH_TIMEOUT = "flush_timeout"
    RELOAD_FAILED = "reload_failed"
    DRAIN_TIMEOUT = "drain_timeout"
    CLIENT_HANDSHAKE_FAILED = "client_handshake_failed"
    OTLP_EXPORT_FAILED = "otlp_export_failed"


class Tally:
    """Counters. Those of an unloaded API are forgotten: loading and unloading for ever leaves nothing behind."""

    def __init__(self) -> None:
        self.observations: Counter[tuple[str | None, Role, Outcome]] = Counter()
        self.checks: Counter[tuple[str | None, State | str]] = Counter()
        self.events: Counter[tuple[str | None, Role, EventKind]] = Counter()
        self.deliveries: Counter[tuple[str | None, str, str]] = Counter()
        self._late: dict[tuple[str | None, Role, Outcome], None] = {}
        self.errors: Counter[ErrorReason] = Counter(dict.fromkeys(ErrorReason, 0))

    def error(self, reason: ErrorReason) -> None:
        """Count one."""
        self.errors[reason] += 1

    def after_unload(self, api_id: str | None, role: Role) -> None:
        """Count an observation that came too late. These outlive their API; only the last 100 series are kept."""
        key = (api_id, role, Outcome.AFTER_UNLOAD)
        self.observations[key] += 1
        # Put back last: a dict keeps its order, so the first is the one that was quiet for longest.
        self._late.pop(key, None)
        self._late[key] = None
        if len(self._late) > _MOST_UNLOADED:
            oldest = next(iter(self._late))
            del self._late[oldest], self.observations[oldest]

    def forget(self, api_ids: Collection[str]) -> None:
        """Drop these APIs' series; but what was counted after their unload stays to be seen."""
        for counter in (self.observations, self.checks, self.events, self.deliveries):
            for key in [k for k in counter if k[0] in api_ids and Outcome.AFTER_UNLOAD not in k]:
                del counter[key]
