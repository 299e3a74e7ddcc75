"""`/certs.ics`: a calendar that others can read, whatever certificates are called."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from exporter.admin.certs import parse
from exporter.admin.ics import lines
from exporter.certcheck.certificate import Certificate, Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import Entry, entries_of
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.text import one_line
from tests.admin.page.worlds import few
from tests.authority import DAY
from tests.fakes import NOON

URL = "http://gauge.internal:9464/"
LINE = re.compile(r"([A-Z-]+)((?:;[A-Z]+=[A-Z]+)*):(.*)")


def entry(name: str, left: timedelta = 10 * DAY, api_id: str | None = "orders", role: Role = Role.UPSTREAM) -> Entry:
    certificate = Certificate(f"{len(name):064}", NOON - DAY, NOON + left, name, issuer=f"CN={name}", serial_number="1")
    observation = Observation(api_id, role, (Reading(certificate),), f"{name}-ref")
    return entries_of(observation, ExpiryPolicy())[0]


def written(*entries: Entry, query: str = "") -> str:
    return "".join(lines(entries, parse(QueryParams(query)), NOON, URL))


def unfolded(text: str) -> list[tuple[str, str]]:
    """Names and values, by RFC 5545 section 3.1."""
    assert text.endswith("\r\n")
    whole = text.replace("\r\n ", "").removesuffix("\r\n").split("\r\n")
    found = [LINE.fullmatch(line) for line in whole]
    assert all(found), whole
    return [(match[1], match[3]) for match in found if match]


def events(text: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for name, value in unfolded(text):
        if (name, value) == ("BEGIN", "VEVENT"):
            found.append({})
        elif found:
            found[-1].setdefault(name, value)
    return found


def plain(value: str) -> str:
    """RFC 5545 section 3.3.11, backwards."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] in "nN" else match[1], value)


async def test_each_certificate_is_an_event_in_a_calendar_that_is_fetched_again(tmp_path: Path) -> None:
    async with few(tmp_path) as world, world.client.get(world.running.admin_url + "/certs.ics") as response:
        text = (await response.read()).decode()
        assert response.headers["Content-Type"] == "text/calendar; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert unfolded(text)[0] == ("BEGIN", "VCALENDAR")
        assert {("VERSION", "2.0"), ("REFRESH-INTERVAL", "PT6H"), ("X-PUBLISHED-TTL", "PT6H")} <= {*unfolded(text)}
        found = [plain(event["SUMMARY"]) for event in events(text)]
        assert found == [
            "Upstream certificate legacy-client expires (legacy)",
            "Upstream certificate billing-client expires (billing)",
            "Upstream certificate orders-client expires (orders)",
            "CA certificate Example CA expires (billing and 2 more)",
        ]
        url = events(text)[0]["URL"]
        assert url.startswith(f"{world.running.admin_url}/ui/certs/")
        assert (await world.get(url.removeprefix(world.running.admin_url)))[0] == 200


async def test_it_takes_the_filters_of_certs_and_nothing_else(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        for query, count in (("api_id=billing", 2), ("state=expired", 1), ("role=ca", 1), ("q=none", 0)):
            assert len(events((await world.get(f"/certs.ics?{query}"))[1])) == count
        assert (await world.get("/certs.ics?limit=1"))[0] == 400


def test_an_event_is_at_the_instant_of_the_expiry_and_keeps_its_identity() -> None:
    event = events(written(entry("orders")))[0]
    assert event["DTSTART"] == "20260206T120000Z"
    assert event["DTSTAMP"] == "20260127T120000Z"
    assert event["UID"] == f"{6:064}@certgauge"
    assert event["UID"] == events(written(entry("orders", api_id="billing")))[0]["UID"]


def test_it_says_what_the_certificate_is_for() -> None:
    event = events(written(entry("orders"), entry("orders", api_id="billing"), entry("orders", api_id=None)))[0]
    assert plain(event["SUMMARY"]) == "Upstream certificate orders expires (gateway and 2 more)"
    assert plain(event["DESCRIPTION"]).split("\n") == [
        "Role: Upstream",
        "Used by: gateway, billing, orders",
        "Reference: orders-ref",
        "Issuer: CN=orders",
        "Serial number: 1",
        f"SHA-256: {6:064}",
    ]


def test_what_a_newer_one_stands_in_for_is_there_only_if_asked_for() -> None:
    old, new = entry("old"), entry("newer", 100 * DAY)
    old.superseded_at = NOON - DAY
    assert [event["UID"][63] for event in events(written(old, new))] == ["5"]
    assert [event["UID"][63] for event in events(written(old, new, query="state=superseded"))] == ["3"]


@given(st.text(min_size=1, max_size=300))
def test_no_name_breaks_a_line_a_value_or_a_character(name: str) -> None:
    text = written(entry(name))
    for line in text.encode().removesuffix(b"\r\n").split(b"\r\n"):
        assert len(line) <= 75
        line.decode()
        assert b"\r" not in line
        assert b"\n" not in line
    (event,) = events(text)
    assert plain(event["SUMMARY"]) == one_line(f"Upstream certificate {name} expires (orders)")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a,b", r"a\,b"),
        ("a;b", r"a\;b"),
        (r"a\n", r"a\\n"),
        ("a:b", "a:b"),
        ("a\r\nEND:VEVENT", "a\ufffd\ufffdEND:VEVENT"),
    ],
)
def test_what_would_end_a_value_is_escaped(name: str, value: str) -> None:
    (event,) = events(written(entry(name)))
    assert event["SUMMARY"] == f"Upstream certificate {value} expires (orders)"
