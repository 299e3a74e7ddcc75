"""When a certificate is expired, when it is soon, and until when that verdict holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from exporter.certcheck.certificate import Certificate, InvalidReason, Reading

_DAY = timedelta(days=1)


class State(StrEnum):
    """The present state of a slot, as `certificate.state` shows it."""

    VALID = "valid"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNREADABLE = "unreadable"
    """It cannot be used, for a reason of the published set."""
    SUPERSEDED = "superseded"
    """A newer one in the same file or chain stands in for it."""


@dataclass(frozen=True, slots=True)
class ExpiryPolicy:
    """When to warn, and how often to look and to say so. Zero is zero: a cooldown of zero is none."""

    warning_threshold: timedelta = timedelta(days=30)
    warning_lifetime_fraction: float | None = None
    """0 to 1 of the validity period; the smaller of the two thresholds counts."""
    check_cooldown: timedelta = timedelta(hours=1)
    event_cooldown: timedelta = timedelta(days=1)
    flush_interval: timedelta = timedelta(seconds=30)
    check_on_load: bool = True

    def threshold(self, certificate: Certificate) -> timedelta:
        """How long before `not_after` the certificate counts as expiring."""
        if self.warning_lifetime_fraction is None:
            return self.warning_threshold
        lifetime = certificate.not_after - certificate.not_before
        return min(self.warning_threshold, lifetime * self.warning_lifetime_fraction)


def judge(reading: Reading, policy: ExpiryPolicy, now: datetime) -> State:
    """The state at `now` (aware), on exact durations.

    Expired is `now > not_after`: RFC 5280 section 4.1.2.5 makes the period inclusive. Expired beats everything else,
    for it is what the other end will see first.
    """
    certificate = reading.certificate
    if certificate is not None and now > certificate.not_after:
        return State.EXPIRED
    if certificate is None:
        return State.UNREADABLE
    early = now < certificate.not_before
    # That it is not valid yet may be the other end's verdict on an issuer.
    if reading.invalid is not None and not (early and reading.invalid is InvalidReason.NOT_YET_VALID):
        return State.UNREADABLE
    if early:
        return State.NOT_YET_VALID
    if certificate.not_after - now <= policy.threshold(certificate):
        return State.EXPIRING
    return State.VALID


def time_to_change(reading: Reading, policy: ExpiryPolicy, now: datetime) -> timedelta | None:
    """How long the verdict of `judge` holds if nothing but time passes; None: for ever. Always positive."""
    certificate = reading.certificate
    if certificate is None:
        return None
    left = certificate.not_after - now
    changes = (
        certificate.not_before - now,
        left - policy.threshold(certificate),
        # The last instant is still valid, the next one is not.
        left + timedelta.resolution,
    )
    return min((change for change in changes if change > timedelta(0)), default=None)


def days_remaining(not_after: datetime, now: datetime) -> int:
    """Whole days left, rounded down: 0 on the last day, -1 from the first moment past it."""
    return (not_after - now) // _DAY


def exact_days_remaining(not_after: datetime, now: datetime) -> float:
    """Days left, with the part of a day; negative after `not_after`."""
    return (not_after - now) / _DAY


def days_since_expiry(not_after: datetime, now: datetime) -> int:
    """Whole days elapsed since `not_after`, rounded down: 0 on the first day past it."""
    return (now - not_after) // _DAY
