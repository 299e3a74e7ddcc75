"""Alerts on certificates: one for each slot of a gateway, whatever its replicas."""

from __future__ import annotations

from dashboards.alerts.alert import CERTIFICATE, DATE, DURATION, PLACE, WHOLE, Alert, Fact, Group, value
from dashboards.alerts.promql import NOT_AFTER, NOT_BEFORE, STATE, by_slot, in_state, without

LAST_PART = 0.05
"""The part of its validity period from which on an expiring certificate is critical."""
LAST_DAYS = 7
"""It is at most this long: a twentieth of ten years would be half a year."""

# A scrape that failed, or a restart, is no renewal.
KEPT = "5m"

LEFT = Fact(
    "left", f"min {{by}}({NOT_AFTER}{{where}}) - time()", DURATION, "It has {} left.", "How long it has is not known."
)
EXPIRES = Fact(
    "expires", f"min {{by}}({NOT_AFTER}{{where}})", DATE, "It expires at {}.", "When it expires is not known."
)
EXPIRED = Fact("expired", f"min {{by}}({NOT_AFTER}{{where}})", DATE, "That was at {}.")
REQUESTS = Fact(
    "requests",
    "sum {by}(certificate_requests{where})",
    WHOLE,
    "Requests that depended on it in the last hour: {}.",
    "How many requests depend on it is not counted.",
)

_expired = by_slot("max", in_state(f"time() - {NOT_AFTER}", "expired"))
_last_part = f"clamp_max({LAST_PART} * ({NOT_AFTER} - {NOT_BEFORE}), {LAST_DAYS * 86400})"
_critical = by_slot("min", in_state(f"{NOT_AFTER}\nand {NOT_AFTER} - time() < {_last_part}", "expiring"))
_expiring = by_slot("min", in_state(NOT_AFTER, "expiring"))


CERTIFICATES = Group(
    "certgauge-certificates",
    (
        Alert(
            name="CertificateExpiring",
            severity="warning",
            when="No more is left than the configured threshold. Not where one of the next two fires",
            expr=without(_expiring, _critical, _expired),
            runbook="certificate-expiring",
            summary=f"{CERTIFICATE} expires at {value(DATE)}.",
            description=f"{PLACE} {LEFT.token} {REQUESTS.token}",
            keep=KEPT,
            facts=(LEFT, REQUESTS),
        ),
        Alert(
            name="CertificateExpiringCritical",
            severity="critical",
            when=f"It is expiring, and less than {LAST_PART:.0%} of its validity period is left, "
            f"and less than {LAST_DAYS} days",
            expr=without(_critical, _expired),
            runbook="certificate-expiring-critical",
            summary=f"{CERTIFICATE} expires at {value(DATE)}, and has not been renewed.",
            description=f"{PLACE} {LEFT.token} {REQUESTS.token}",
            keep=KEPT,
            facts=(LEFT, REQUESTS),
        ),
        Alert(
            name="CertificateExpired",
            severity="critical",
            when="It is past its `not_after`",
            expr=_expired,
            runbook="certificate-expired",
            summary=f"{CERTIFICATE} expired {value(DURATION)} ago.",
            description=f"{EXPIRED.token} {PLACE} {REQUESTS.token}",
            keep=KEPT,
            facts=(EXPIRED, REQUESTS),
        ),
        Alert(
            name="CertificateInvalid",
            severity="critical",
            when="It cannot be used: its file, its key, or what a handshake has shown",
            expr=by_slot("count", f'{STATE}{{state="unreadable"}}'),
            runbook="certificate-invalid",
            summary=f"{CERTIFICATE} cannot be used.",
            description=f"{PLACE} The reason is in /certs?state=unreadable. {EXPIRES.token} {REQUESTS.token}",
            wait="1m",
            keep=KEPT,
            facts=(EXPIRES, REQUESTS),
        ),
        Alert(
            name="CertificateNotYetValid",
            severity="critical",
            when="It is used before its `not_before`",
            expr=by_slot("max", in_state(NOT_BEFORE, "not_yet_valid")),
            runbook="certificate-not-yet-valid",
            summary=f"{CERTIFICATE} is not valid before {value(DATE)}.",
            description=f"{PLACE} {EXPIRES.token} {REQUESTS.token}",
            wait="5m",
            keep=KEPT,
            facts=(EXPIRES, REQUESTS),
        ),
        Alert(
            name="CertificateFileNotInUse",
            severity="warning",
            when="Its file holds something else than what is used: a renewal that was not taken",
            expr=by_slot("count", "certificate_file_in_use == 0"),
            runbook="certificate-file-not-in-use",
            summary=f"{CERTIFICATE} is not the one in its file.",
            description=f"{PLACE} What the file holds was not taken; the one before is still used. "
            f"{EXPIRES.token} {REQUESTS.token}",
            wait="10m",
            keep=KEPT,
            facts=(EXPIRES, REQUESTS),
        ),
    ),
)
