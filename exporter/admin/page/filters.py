"""The filters of the page, in its URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from exporter.admin.certs import FILTERS, Query, parse
from exporter.admin.page.words import ROLES, STATES
from exporter.certcheck.expiry import State
from exporter.certcheck.slot import Role
from exporter.certcheck.text import one_line

_ROWS = 200
_KNOWN = FILTERS | {"limit", "cursor"}


class Active(NamedTuple):
    """A filter that is set: what it says, and the page without it."""

    text: str
    without: str


@dataclass(frozen=True, slots=True)
class Filters:
    """What the page shows."""

    query: Query
    values: dict[str, str]
    """Those that are set, as they came."""

    def get(self, name: str) -> str:
        """The value for its field of the form. A form cannot be sent with what cannot be shown."""
        return one_line(self.values.get(name, ""))

    def url(self, **more: str) -> str:
        """Of the page with another part of the same choice."""
        return _url("/", {**self.values, **more})

    def download(self, path: str) -> str:
        """Of the same choice in another form."""
        return _url(path, {name: value for name, value in self.values.items() if name in FILTERS})

    def active(self) -> list[Active]:
        """All that are set."""
        return [Active(_said(name, self.get(name)), self._without(name)) for name in self.values if name in FILTERS]

    def _without(self, name: str) -> str:
        return Filters(self.query, {key: value for key, value in self.values.items() if key != name}).url()


def filters(parameters: QueryParams) -> Filters:
    """Those of a request. A form sends all of its fields, so what is empty is not set.

    Raises:
        QueryError: a parameter is unknown, repeated, or has a wrong value.
    """
    given = QueryParams([(name, value) for name, value in parameters.multi_items() if value])
    query = parse(QueryParams([("limit", str(_ROWS)), *given.multi_items()][("limit" in given) :]), _KNOWN)
    return Filters(query, {name: value for name, value in given.items() if name != "cursor"})


def _url(path: str, values: dict[str, str]) -> str:
    text = urlencode(values, errors="replace")
    return f"{path}?{text}" if text else path


def _said(name: str, value: str) -> str:
    match name:
        case "api_id":
            return f"API {value}"
        case "role":
            return f"role {ROLES[Role(value)]}"
        case "state":
            return STATES[State(value)].text
        case "expiring_within_days":
            return f"expired, or within {value} days"
        case _:
            return f"“{value}”"
