"""What all panels have in common, links, and the simplest kind: one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.builder.words import GREY, Json

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Query:
    """An expression; `legend` names its series, `colour` is that of all of them."""

    expression: str
    legend: str = ""
    colour: str = ""


def link(title: str, url: str, *, icon: str = "doc", keep: bool = False, away: bool = False) -> Json:
    """A link of a board or a panel, to the other board, or `away`. `keep`: with the time and what was picked."""
    return {
        "type": "link",
        "title": title,
        "url": url,
        "icon": icon,
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "targetBlank": away,
        "keepTime": keep,
        "includeVars": keep,
    }


def runbook(alert: str, title: str) -> Json:
    """A link to what to do, in order."""
    return link(f"What to do: {title}", f"${{runbooks:raw}}/{alert}.md", away=True)


def to_api(title: str = "Open this API") -> Json:
    """A link of a cell that shows an API, to its board."""
    keep = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"
    url = "/d/certgauge-api?" + keep + "&var-api_id=${__value.raw}"
    return {"title": title, "url": url}


def panel(
    kind: str, title: str, description: str, size: tuple[int, int], queries: Sequence[Query], **more: object
) -> Json:
    """What every panel has; `size` is width and height in the grid's units, of which a row has 24."""
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "gridPos": {"w": size[0], "h": size[1], "x": 0, "y": 0},
        "targets": [_target(number, query, instant=kind in _INSTANT) for number, query in enumerate(queries)],
        "transformations": [],
        "links": [],
        **more,
    }


_INSTANT = ("stat", "table")


def _target(number: int, query: Query, *, instant: bool) -> Json:
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "expr": query.expression,
        "legendFormat": query.legend,
        "instant": instant,
        "range": not instant,
        "format": "time_series" if query.legend else "table",
        "editorMode": "code",
    }


def field_config(unit: str, mappings: Sequence[Json] = (), **custom: object) -> Json:
    """Defaults of a panel's fields. The one threshold colours what no mapping does; it is neutral."""
    return {
        "defaults": {
            "unit": unit,
            "mappings": list(mappings),
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": [{"color": GREY, "value": None}]},
            "custom": custom,
        },
        "overrides": [],
    }


def stat(
    title: str,
    description: str,
    size: tuple[int, int],
    query: Query,
    unit: str,
    *,
    mappings: Sequence[Json] = (),
    links: Sequence[Json] = (),
) -> Json:
    """One value, large; coloured by its mapping, if that has a colour."""
    coloured = any("color" in str(mapping) for mapping in mappings)
    return panel(
        "stat",
        title,
        description,
        size,
        [query],
        fieldConfig=field_config(unit, mappings),
        links=list(links),
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background_solid" if coloured else "none",
            "graphMode": "none",
            "justifyMode": "center",
            "orientation": "auto",
            "textMode": "value_and_name" if "{{" in query.legend else "value",
            "wideLayout": False,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
        },
    )


def override(matcher: str, options: str, properties: dict[str, object]) -> Json:
    """What some of the fields have differently."""
    return {
        "matcher": {"id": matcher, "options": options},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }
