"""`/certs.csv`: a row for each slot, and nothing that a spreadsheet would work out."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.datastructures import QueryParams

from exporter.admin.certs import parse, row
from exporter.admin.spreadsheet import COLUMNS, lines
from exporter.certcheck.certificate import Certificate, InvalidReason, Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import Entry, entries_of
from exporter.certcheck.slot import Observation, Role
from tests.admin.page.worlds import few, many
from tests.authority import DAY
from tests.fakes import NOON


def entry(name: str, left: timedelta = 10 * DAY, **more: object) -> Entry:
    certificate = Certificate("0" * 64, NOON - DAY, NOON + left, common_name=name)
    return entries_of(Observation("orders", Role.CLIENT, (Reading(certificate),)), ExpiryPolicy())[0]


def read(entries: list[Entry], query: str = "") -> list[dict[str, str]]:
    text = "".join(lines(entries, parse(QueryParams(query)), NOON))
    assert text.replace("\r\n", "").isprintable()
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_it_is_a_file_with_a_header_and_a_row_for_each_slot(tmp_path: Path) -> None:
    async with few(tmp_path) as world, world.client.get(world.running.admin_url + "/certs.csv") as response:
        rows = list(csv.DictReader(io.StringIO(await response.text(), newline="")))
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert response.headers["Content-Disposition"] == 'attachment; filename="certs.csv"'
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        found = [(each["api_id"], each["cert_role"], each["state"]) for each in rows]
        assert found[:3] == [
            ("legacy", "upstream", "expired"),
            ("billing", "upstream", "expiring"),
            ("orders", "upstream", "valid"),
        ]
        assert len(found) == 6


async def test_it_takes_the_filters_of_certs_and_nothing_else(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        for query in ("api_id=billing", "role=ca", "state=expired", "expiring_within_days=30", "q=BILLING-c", "q=none"):
            _, text = await world.get(f"/certs.csv?{query}")
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
            _, answer = await world.get(f"/certs?{query}")
            assert [each["cert_id"] for each in rows] == [each["cert_id"] for each in answer["certs"]], query
        assert (await world.get("/certs.csv?limit=1"))[0] == 400


@pytest.mark.parametrize("start", [*"=+-@", "＝", "＋", "－", "＠"])  # noqa: RUF001 also those
def test_a_name_that_is_a_formula_has_an_apostrophe(start: str) -> None:
    assert read([entry(f"{start}1+1")])[0]["cert_name"] == f"'{start}1+1"


def test_a_number_below_zero_is_a_number() -> None:
    assert read([entry("orders", -5 * DAY)])[0]["days_remaining"] == "-5"


@pytest.mark.parametrize("name", ['say "hello"', "a,b", "a;b", "Ünïcødé", "'"])
def test_a_name_comes_back_as_it_is(name: str) -> None:
    assert read([entry(name)])[0]["cert_name"] == name


def test_what_is_unknown_is_empty_and_truth_is_a_word() -> None:
    broken = Observation("orders", Role.UPSTREAM, (Reading(None, InvalidReason.MISSING, "no file"),), "orders-client")
    found = read(entries_of(broken, ExpiryPolicy()))[0]
    assert (found["cert_id"], found["reason"], found["detail"]) == ("", "missing", "no file")
    assert found["file_in_use"] == "true"


def test_every_field_of_a_row_is_a_column() -> None:
    fields = {name for each in many(300, NOON) for name in row(each, NOON)}
    # Days since the expiry are the days left, below zero.
    assert fields - {"expired_at", "days_since_expiry"} <= set(COLUMNS)
