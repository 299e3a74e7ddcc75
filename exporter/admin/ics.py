"""`/certs.ics`: the expiries as a calendar (RFC 5545) that a person can subscribe to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from urllib.parse import quote

from exporter import __version__
from exporter.admin.certs import Query, in_order, is_chosen
from exporter.certcheck.certificate import Certificate
from exporter.certcheck.events import ROLE_WORDS
from exporter.certcheck.expiry import State
from exporter.certcheck.inventory import Entry
from exporter.certcheck.text import one_line, rfc3339

HEADERS = {
    "cache-control": "no-store",
    "content-disposition": 'inline; filename="certs.ics"',
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

_REFRESHED = "PT6H"
_MOST_OCTETS = 75
_MOST_NAMES = 20
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%-._~"


def lines(entries: Iterable[Entry], query: Query, now: datetime, url: str) -> Iterator[str]:
    """The calendar: an event for each certificate, at the instant in which it expires.

    `url` leads to this listener. What a newer certificate stands in for does no harm when it expires: it is there only
    if it is asked for.
    """
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:-//certgauge//certgauge {__version__}//EN", "CALSCALE:GREGORIAN"]
    yield from map(_folded, [*head, "METHOD:PUBLISH", "NAME:Certificates", "X-WR-CALNAME:Certificates"])
    yield from map(_folded, [f"REFRESH-INTERVAL;VALUE=DURATION:{_REFRESHED}", f"X-PUBLISHED-TTL:{_REFRESHED}"])
    for found in _by_certificate(entries, query, now):
        yield from map(_folded, _event(found, now, url))
    yield _folded("END:VCALENDAR")


def _by_certificate(entries: Iterable[Entry], query: Query, now: datetime) -> Iterable[list[Entry]]:
    asked = (entry for entry in entries if is_chosen(entry, query, now))
    found: dict[str, list[Entry]] = {}
    for _, entry in in_order(entry for entry in asked if entry.cert_id is not None):
        if entry.state(now) is not State.SUPERSEDED or query.state is State.SUPERSEDED:
            found.setdefault(entry.cert_id or "", []).append(entry)
    return found.values()


def _event(entries: list[Entry], now: datetime, url: str) -> Iterator[str]:
    certificate = entries[0].reading.certificate
    assert certificate is not None
    yield "BEGIN:VEVENT"
    yield f"UID:{certificate.cert_id}@certgauge"
    yield f"DTSTAMP:{_instant(now)}"
    # An instant, not a day: whoever looks at it elsewhere sees it when it happens, not a day late.
    yield f"DTSTART:{_instant(certificate.not_after)}"
    yield f"SUMMARY:{_text(_summary(certificate, entries))}"
    yield f"DESCRIPTION:{_text(*_description(certificate, entries))}"
    yield f"URL:{quote(f'{url}ui/certs/{certificate.cert_id}', safe=_URL_CHARACTERS)}"
    yield "CATEGORIES:Certificates"
    yield "TRANSP:TRANSPARENT"
    yield "END:VEVENT"


def _summary(certificate: Certificate, entries: Iterable[Entry]) -> str:
    words = _roles(entries)
    owners = _owners(entries)
    more = f" and {len(owners) - 1} more" if len(owners) > 1 else ""
    return f"{words} certificate {certificate.cert_name} expires ({owners[0]}{more})"


def _description(certificate: Certificate, entries: Iterable[Entry]) -> Iterator[str]:
    owners = _owners(entries)
    more = [f"and {len(owners) - _MOST_NAMES} more"] if len(owners) > _MOST_NAMES else []
    yield f"Role: {_roles(entries)}"
    yield f"Used by: {', '.join([*owners[:_MOST_NAMES], *more])}"
    references = [*dict.fromkeys(entry.slot.cert_ref for entry in entries if entry.slot.cert_ref)]
    if references:
        yield f"Reference: {', '.join(references[:_MOST_NAMES])}"
    for name, value in (("Issuer", certificate.issuer), ("Serial number", certificate.serial_number)):
        if value:
            yield f"{name}: {value}"
    yield f"SHA-256: {certificate.cert_id}"


def _roles(entries: Iterable[Entry]) -> str:
    return ", ".join(dict.fromkeys(ROLE_WORDS[entry.slot.role] for entry in entries))


def _owners(entries: Iterable[Entry]) -> list[str]:
    return [*dict.fromkeys(entry.slot.api_id or "gateway" for entry in entries)]


def _instant(instant: datetime) -> str:
    return rfc3339(instant).replace("-", "").replace(":", "")


def _text(*said: str) -> str:
    """RFC 5545 section 3.3.11: what would end a value or a line is escaped, and control characters are not there."""
    return r"\n".join(one_line(line).replace("\\", r"\\").replace(";", r"\;").replace(",", r"\,") for line in said)


def _folded(line: str) -> str:
    """RFC 5545 section 3.1: 75 octets at most, and a character whole."""
    if len(line.encode()) <= _MOST_OCTETS:
        return f"{line}\r\n"
    parts, octets = [], 0
    for character in line:
        size = len(character.encode())
        if octets + size > _MOST_OCTETS:
            parts.append("\r\n ")
            octets = 1
        parts.append(character)
        octets += size
    return "".join(parts) + "\r\n"
