"""`/certs.csv`: a row for each slot, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from exporter.admin.certs import Query, in_order, is_chosen, row
from exporter.certcheck.inventory import Entry

HEADERS = {
    "cache-control": "no-store",
    "content-disposition": 'attachment; filename="certs.csv"',
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

COLUMNS = (
    "api_id",
    "cert_role",
    "cert_ref",
    "cert_name",
    "state",
    "days_remaining",
    "expires_at",
    "not_before",
    "last_observed_at",
    "requests_last_hour",
    "server_address",
    "server_port",
    "network_peer_address",
    "chain_position",
    "chain_index",
    "file_in_use",
    "reason",
    "detail",
    "issuer",
    "serial_number",
    "sans",
    "cert_id",
)
"""Fields of a row of `/certs`: what a person looks at first."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 spreadsheets take them as well


def lines(entries: Iterable[Entry], query: Query, now: datetime) -> Iterator[str]:
    """RFC 4180, with a header; soonest to expire first."""
    yield _line(COLUMNS)
    for _, entry in in_order(entry for entry in entries if is_chosen(entry, query, now)):
        fields = row(entry, now)
        yield _line(_cell(fields.get(column)) for column in COLUMNS)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list():
            return _text(" ".join(value))
        case _:
            return _text(value)


def _text(text: str) -> str:
    """A name that a spreadsheet would work out as a formula is text after an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: Iterable[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()
