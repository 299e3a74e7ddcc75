from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from exporter.certcheck.certificate import Certificate, InvalidReason
from exporter.certcheck.events import REASON_WORDS, ROLE_WORDS, EventKind, ExpiryEvent
from exporter.certcheck.slot import Role, Slot
from exporter.certcheck.text import rfc3339
from tests.certcheck import DAY, MICROSECOND, certificate
from tests.fakes import NOON

HOUR = timedelta(hours=1)
NOW = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)
CERT_ID = "0123456789abcdef" * 4
BACKEND = Certificate(
    cert_id=CERT_ID,
    not_before=NOW - 355 * DAY,
    not_after=NOW + 10 * DAY,
    common_name="backend.example.com",
    issuer="CN=Orders CA,O=Example",
    serial_number="2a",
)
SLOT = Slot("demo-api-001", Role.UPSTREAM, "orders-client", "orders.internal", 8443)


def event(
    kind: EventKind,
    left: timedelta = 10 * DAY,
    *,
    role: Role = Role.UPSTREAM,
    reason: InvalidReason | None = None,
) -> ExpiryEvent:
    return ExpiryEvent(kind, "an-id", Slot("orders", role, "ref"), NOON, certificate(left), reason)


def test_the_payload_is_that_of_the_contract() -> None:
    warning = ExpiryEvent(EventKind.EXPIRING_SOON, "7f0c", SLOT, NOW, BACKEND)

    assert warning.payload() == {
        "event": "CertificateExpiringSoon",
        "event_id": "7f0c",
        "api_id": "demo-api-001",
        "cert_id": CERT_ID,
        "cert_role": "upstream",
        "cert_name": "backend.example.com",
        "cert_ref": "orders-client",
        "message": "Upstream certificate will expire in 10 days",
        "timestamp": "2026-01-27T10:30:00Z",
        "expires_at": "2026-02-06T10:30:00Z",
        "days_remaining": 10,
        "issuer": "CN=Orders CA,O=Example",
        "serial_number": "2a",
        "server_address": "orders.internal",
        "server_port": 8443,
    }


def test_an_expiry_adds_since_when() -> None:
    later = NOW + 12 * DAY + HOUR
    warning = ExpiryEvent(EventKind.EXPIRING_SOON, "7f0c", SLOT, later, BACKEND).payload()
    expiry = ExpiryEvent(EventKind.EXPIRED, "7f0c", SLOT, later, BACKEND).payload()

    assert dict(expiry.items() - warning.items()) == {
        "event": "CertificateExpired",
        "message": "Upstream certificate expired 2 days ago",
        "expired_at": "2026-02-06T10:30:00Z",
        "days_since_expiry": 2,
    }
    assert expiry["days_remaining"] == -3
    assert expiry["expires_at"] == expiry["expired_at"]


def test_a_renewal_adds_what_was_there_before() -> None:
    renewal = ExpiryEvent(EventKind.RENEWED, "7f0c", SLOT, NOW, BACKEND, previous_cert_id="ab" * 32).payload()

    assert renewal["previous_cert_id"] == "ab" * 32
    assert renewal["cert_id"] == CERT_ID
    assert "expired_at" not in renewal


def test_an_invalid_certificate_adds_the_reason() -> None:
    payload = ExpiryEvent(EventKind.INVALID, "7f0c", SLOT, NOW, BACKEND, InvalidReason.KEY_MISMATCH).payload()

    assert payload["reason"] == "key_mismatch"
    assert payload["expires_at"] == "2026-02-06T10:30:00Z"
    assert payload["days_remaining"] == 10


def test_what_is_unknown_is_absent() -> None:
    nothing = ExpiryEvent(EventKind.INVALID, "7f0c", Slot(None, Role.CA), NOW, None, InvalidReason.MISSING)

    assert nothing.payload() == {
        "event": "CertificateInvalid",
        "event_id": "7f0c",
        "cert_role": "ca",
        "message": "CA certificate is not usable: a file is missing",
        "timestamp": "2026-01-27T10:30:00Z",
        "reason": "missing",
    }


def test_a_certificate_of_which_only_the_dates_are_known_has_a_name_all_the_same() -> None:
    bare = Certificate(CERT_ID, NOW - DAY, NOW + DAY)
    payload = ExpiryEvent(EventKind.EXPIRING_SOON, "7f0c", Slot(None, Role.SERVER, "gateway"), NOW, bare).payload()

    assert payload["cert_name"] == CERT_ID[:16]
    assert payload.keys().isdisjoint({"api_id", "issuer", "serial_number", "server_address", "server_port", "reason"})


def test_zero_is_a_value_and_not_absent() -> None:
    last_day = ExpiryEvent(EventKind.EXPIRED, "7f0c", SLOT, BACKEND.not_after + MICROSECOND, BACKEND).payload()
    soon = ExpiryEvent(EventKind.EXPIRING_SOON, "7f0c", SLOT, BACKEND.not_after, BACKEND).payload()

    assert (last_day["days_since_expiry"], last_day["days_remaining"]) == (0, -1)
    assert soon["days_remaining"] == 0


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (10 * DAY, "10 days"),
        (10 * DAY - MICROSECOND, "9 days"),
        (2 * DAY, "2 days"),
        (2 * DAY - MICROSECOND, "1 day"),
        (DAY, "1 day"),
        (DAY - MICROSECOND, "23 hours"),
        (7 * HOUR, "7 hours"),
        (2 * HOUR, "2 hours"),
        (2 * HOUR - MICROSECOND, "1 hour"),
        (HOUR, "1 hour"),
        (HOUR - MICROSECOND, "less than an hour"),
        (timedelta(0), "less than an hour"),
    ],
)
def test_a_warning_says_how_long_is_left(left: timedelta, words: str) -> None:
    assert event(EventKind.EXPIRING_SOON, left).message == f"Upstream certificate will expire in {words}"


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (MICROSECOND, "today"),
        (DAY - MICROSECOND, "today"),
        (DAY, "1 day ago"),
        (2 * DAY - MICROSECOND, "1 day ago"),
        (2 * DAY, "2 days ago"),
        (400 * DAY, "400 days ago"),
    ],
)
def test_an_expiry_says_how_long_ago(past: timedelta, words: str) -> None:
    assert event(EventKind.EXPIRED, -past).message == f"Upstream certificate expired {words}"


@pytest.mark.parametrize(
    ("left", "words"), [(364 * DAY, "364 days"), (365 * DAY - MICROSECOND, "364 days"), (DAY, "1 day")]
)
def test_a_renewal_says_for_how_long(left: timedelta, words: str) -> None:
    message = event(EventKind.RENEWED, left).message

    assert message == f"Upstream certificate was renewed and is valid for {words}"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (InvalidReason.MISSING, "a file is missing"),
        (InvalidReason.UNREADABLE, "it cannot be read"),
        (InvalidReason.BAD_TIME, "its dates cannot be read"),
        (InvalidReason.KEY_MISMATCH, "the private key does not belong to it"),
        (InvalidReason.BAD_PASSPHRASE, "the passphrase does not open the private key"),
        (InvalidReason.NOT_YET_VALID, "it is not valid yet"),
        (InvalidReason.HOSTNAME_MISMATCH, "it is for another name"),
        (InvalidReason.UNKNOWN_ISSUER, "its issuer is not trusted"),
        (InvalidReason.SELF_SIGNED, "it is self-signed and not trusted"),
        (InvalidReason.REVOKED, "it is revoked"),
        (InvalidReason.REFUSED_BY_UPSTREAM, "the upstream refused it"),
        (InvalidReason.OTHER, "it failed verification"),
        (None, "it failed verification"),
    ],
)
def test_an_invalid_certificate_is_told_with_the_reason_in_words(reason: InvalidReason | None, words: str) -> None:
    assert event(EventKind.INVALID, reason=reason).message == f"Upstream certificate is not usable: {words}"


@pytest.mark.parametrize(
    ("role", "word"),
    [
        (Role.UPSTREAM, "Upstream"),
        (Role.UPSTREAM_SERVER, "Upstream server"),
        (Role.CLIENT, "Client"),
        (Role.SERVER, "Server"),
        (Role.CA, "CA"),
    ],
)
def test_every_message_begins_with_the_role(role: Role, word: str) -> None:
    assert event(EventKind.EXPIRED, -DAY, role=role).message == f"{word} certificate expired 1 day ago"
    assert event(EventKind.EXPIRED, -DAY, role=role).payload()["cert_role"] == role.value


def test_every_role_and_every_reason_has_words() -> None:
    assert set(ROLE_WORDS) == set(Role)
    assert set(REASON_WORDS) == set(InvalidReason)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2026, 1, 27, 10, 30, tzinfo=UTC), "2026-01-27T10:30:00Z"),
        (datetime(2026, 1, 27, 10, 30, 59, 999_999, tzinfo=UTC), "2026-01-27T10:30:59Z"),
        (datetime(2026, 1, 27, 10, 30, tzinfo=timezone(timedelta(hours=-8))), "2026-01-27T18:30:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9999-12-31T23:59:59Z"),
    ],
)
def test_instants_are_written_in_utc_to_the_second(instant: datetime, text: str) -> None:
    assert rfc3339(instant) == text
