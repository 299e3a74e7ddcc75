"""What is announced about a certificate, and its payload."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from exporter.certcheck.certificate import Certificate, InvalidReason
from exporter.certcheck.expiry import days_remaining, days_since_expiry
from exporter.certcheck.slot import Role, Slot
from exporter.certcheck.text import rfc3339
from exporter.certcheck.users import Users


class EventKind(StrEnum):
    """The events, by the name in the payload."""

    EXPIRING_SOON = "CertificateExpiringSoon"
    EXPIRED = "CertificateExpired"
    RENEWED = "CertificateRenewed"
    INVALID = "CertificateInvalid"


_MOST_SLOTS = 100

# Which end of the connection the certificate belongs to, in the words of the semantic conventions.
_ENDS = {
    Role.UPSTREAM: "client",
    Role.CLIENT: "client",
    Role.UPSTREAM_SERVER: "server",
    Role.SERVER: "server",
}

ROLE_WORDS = {
    Role.UPSTREAM: "Upstream",
    Role.UPSTREAM_SERVER: "Upstream server",
    Role.CLIENT: "Client",
    Role.SERVER: "Server",
    Role.CA: "CA",
}

REASON_WORDS = {
    InvalidReason.MISSING: "a file is missing",
    InvalidReason.UNREADABLE: "it cannot be read",
    InvalidReason.BAD_TIME: "its dates cannot be read",
    InvalidReason.KEY_MISMATCH: "the private key does not belong to it",
    InvalidReason.BAD_PASSPHRASE: "the passphrase does not open the private key",
    InvalidReason.NOT_YET_VALID: "it is not valid yet",
    InvalidReason.HOSTNAME_MISMATCH: "it is for another name",
    InvalidReason.UNKNOWN_ISSUER: "its issuer is not trusted",
    InvalidReason.SELF_SIGNED: "it is self-signed and not trusted",
    InvalidReason.REVOKED: "it is revoked",
    InvalidReason.REFUSED_BY_UPSTREAM: "the upstream refused it",
    InvalidReason.OTHER: "it failed verification",
}


@dataclass(frozen=True, slots=True)
class ExpiryEvent:
    """One announcement about the certificate in one slot.

    `event_id` is the same for every attempt to deliver it. `certificate` is None where nothing could be read.
    """

    kind: EventKind
    event_id: str
    slot: Slot
    timestamp: datetime
    certificate: Certificate | None = None
    reason: InvalidReason | None = None
    previous_cert_id: str | None = None
    used_by: Users | None = None
    """Who uses the certificate, where one could be read."""
    slots: tuple[Slot, ...] = ()
    """All of the API's slots, in this role, that hold the certificate; the first is `slot`."""
    identity: str = ""
    """What its cooldown knows the certificate by."""
    cooldown: timedelta = timedelta(0)
    """How long it is not repeated when everybody has been told."""

    @property
    def message(self) -> str:
        """One sentence for a person."""
        subject = f"{ROLE_WORDS[self.slot.role]} certificate"
        if self.kind is EventKind.INVALID or self.certificate is None:
            return f"{subject} is not usable: {REASON_WORDS[self.reason or InvalidReason.OTHER]}"
        not_after = self.certificate.not_after
        match self.kind:
            case EventKind.EXPIRED:
                return f"{subject} expired {_ago(days_since_expiry(not_after, self.timestamp))}"
            case EventKind.RENEWED:
                return f"{subject} was renewed and is valid for {_duration(not_after - self.timestamp)}"
            case _:
                return f"{subject} will expire in {_duration(not_after - self.timestamp)}"

    def payload(self) -> dict[str, Any]:
        """The attributes of the log record and the body of a webhook. What is unknown is absent."""
        slot, certificate, used_by = self.slot, self.certificate, self.used_by
        fields: dict[str, Any] = {
            "event": self.kind.value,
            "event_id": self.event_id,
            "api_id": slot.api_id,
            "cert_id": certificate.cert_id if certificate else None,
            "cert_role": slot.role.value,
            "cert_name": certificate.cert_name if certificate else None,
            "cert_ref": slot.cert_ref,
            "message": self.message,
            "timestamp": rfc3339(self.timestamp),
            **(self._dates(certificate) if certificate else {}),
            "issuer": certificate.issuer if certificate else None,
            "serial_number": certificate.serial_number if certificate else None,
            "server_address": slot.server_address,
            "server_port": slot.server_port,
            "network_peer_address": slot.peer_address,
            "reason": self.reason.value if self.reason else None,
            "previous_cert_id": self.previous_cert_id,
            "slots": [_place(each) for each in self.slots[:_MOST_SLOTS]] if len(self.slots) > 1 else None,
            "requests_last_hour": used_by.requests_last_hour if used_by and used_by.busiest else None,
            "used_by": [user.shown() for user in used_by.busiest] or None if used_by else None,
        }
        return {key: value for key, value in fields.items() if value is not None}

    def semantic(self) -> dict[str, str | int]:
        """What a log record has besides, of the semantic conventions: `tls.*` and `server.*`."""
        slot, end = self.slot, _ENDS.get(self.slot.role)
        fields = {"server.address": slot.server_address, "server.port": slot.server_port}
        if end is not None and self.certificate is not None:
            fields |= _tls(f"tls.{end}", self.certificate)
        return {key: value for key, value in fields.items() if value is not None}

    def _dates(self, certificate: Certificate) -> dict[str, str | int]:
        expires_at = rfc3339(certificate.not_after)
        dates: dict[str, str | int] = {
            "expires_at": expires_at,
            "days_remaining": days_remaining(certificate.not_after, self.timestamp),
        }
        if self.kind is EventKind.EXPIRED:
            dates["expired_at"] = expires_at
            dates["days_since_expiry"] = days_since_expiry(certificate.not_after, self.timestamp)
        return dates


def _place(slot: Slot) -> dict[str, str | int]:
    fields = {
        "cert_ref": slot.cert_ref,
        "server_address": slot.server_address,
        "server_port": slot.server_port,
        "network_peer_address": slot.peer_address,
        "chain_index": slot.chain_index,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _tls(prefix: str, certificate: Certificate) -> dict[str, str | int | None]:
    return {
        f"{prefix}.subject": certificate.subject,
        f"{prefix}.issuer": certificate.issuer,
        f"{prefix}.hash.sha256": certificate.cert_id.upper(),
        f"{prefix}.not_after": rfc3339(certificate.not_after),
        f"{prefix}.not_before": rfc3339(certificate.not_before),
    }


def _duration(left: timedelta) -> str:
    for unit, name in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour")):
        count = left // unit
        if count >= 1:
            return f"{count} {name}" + ("s" if count > 1 else "")
    return "less than an hour"


def _ago(days: int) -> str:
    return "today" if days <= 0 else "1 day ago" if days == 1 else f"{days} days ago"
