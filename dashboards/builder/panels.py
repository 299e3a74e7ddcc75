"""The kinds of panel that the boards are made of, with what they all have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dashboards.builder.words import BLUE, GREY, ORANGE, Json, span, values

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Query:
    """An expression; `legend` names its series, `colour` is that of all of them."""

    expression: str
    legend: str = ""
    colour: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table: the field, its title, and how its values are shown."""

    field: str
    title: str
    unit: str = "string"
    mappings: Sequence[Json] = ()
    width: int = 0
    """In pixels; 0: what is left."""
    coloured: bool = False
    bar: bool = False
    absent: str = ""
    """What is shown where there is no value."""
    link: Json | None = None


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


def table(
    title: str,
    description: str,
    size: tuple[int, int],
    queries: Sequence[Query],
    columns: Sequence[Column],
    *,
    sort: tuple[str, bool],
    nothing: str,
    transformations: Sequence[Json] = (),
    links: Sequence[Json] = (),
) -> Json:
    """Rows of the queries' labels and values, in the columns' order. `sort`: a title, and whether it descends."""
    config = field_config("none", align="auto", cellOptions={"type": "auto"}, filterable=True, inspect=False)
    config["defaults"]["noValue"] = nothing
    config["overrides"] = [_shown(column) for column in columns]
    order = {
        "id": "organize",
        "options": {
            "excludeByName": {"Time": True},
            "includeByName": {},
            "indexByName": {column.field: index for index, column in enumerate(columns)},
            "renameByName": {},
        },
    }
    return panel(
        "table",
        title,
        description,
        size,
        queries,
        fieldConfig=config,
        links=list(links),
        transformations=[*(transformations or [{"id": "merge", "options": {}}]), order],
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "frameIndex": 0,
            "sortBy": [{"displayName": sort[0], "desc": sort[1]}],
        },
    )


def _shown(column: Column) -> Json:
    cell = {"type": "color-background", "mode": "basic"} if column.coloured else {"type": "auto"}
    if column.bar:
        cell = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
    properties: dict[str, object] = {
        "displayName": column.title,
        "unit": column.unit,
        "mappings": list(column.mappings),
        "custom.cellOptions": cell,
        "custom.align": "center" if column.coloured else "auto",
        "noValue": column.absent,
    }
    if column.width:
        properties["custom.width"] = column.width
    if column.link:
        properties["links"] = [column.link]
    return _override("byName", column.field, properties)


def _override(matcher: str, options: str, properties: dict[str, object]) -> Json:
    return {
        "matcher": {"id": matcher, "options": options},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def ranking(
    title: str,
    description: str,
    size: tuple[int, int],
    query: Query,
    columns: Sequence[Column],
    *,
    links: Sequence[Json] = (),
) -> Json:
    """A table whose last column is a bar; the longest is on top. 0 is good, more is not."""
    *others, counted = columns
    bar = replace(counted, mappings=[values((0, "✓ 0", BLUE)), span(1e-9, None, ORANGE)], bar=True)
    made = table(
        title,
        description,
        size,
        [query],
        [*others, bar],
        sort=(bar.title, True),
        nothing="Nothing is heard",
        links=links,
    )
    made["fieldConfig"]["defaults"]["min"] = 0
    return made


def lines(
    title: str,
    description: str,
    size: tuple[int, int],
    queries: Sequence[Query],
    unit: str,
    *,
    stacked: bool = False,
    drawn: str = "line",
    wide: bool = False,
    step: str = "",
    links: Sequence[Json] = (),
) -> Json:
    """Lines or bars over time; each query's series in its own colour and, for lines, its own dashes.

    `wide`: a scale that shows 10 and 4,000, and what is below 0. `step`: points are at least as far apart.
    """
    config = field_config(
        unit,
        drawStyle=drawn,
        lineWidth=2 if drawn == "line" else 1,
        fillOpacity=80 if drawn == "bars" else 0,
        showPoints="never" if drawn == "bars" else "auto",
        pointSize=4,
        spanNulls=False,
        axisSoftMin=0,
        **({"axisSoftMax": 1} if drawn == "bars" else {}),
        scaleDistribution={"type": "symlog", "log": 10, "linearThreshold": 1} if wide else {"type": "linear"},
        stacking={"mode": "normal" if stacked else "none", "group": "A"},
    )
    config["overrides"] = [
        _override("byFrameRefID", chr(ord("A") + number), _drawn(query.colour, number, drawn))
        for number, query in enumerate(queries)
    ]
    return panel(
        "timeseries",
        title,
        description,
        size,
        queries,
        **({"interval": step} if step else {}),
        fieldConfig=config,
        links=list(links),
        options={
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


_DASHES: tuple[Json, ...] = (
    {"fill": "solid"},
    {"fill": "dash", "dash": [10, 6]},
    {"fill": "dot", "dash": [0, 6]},
    {"fill": "dash", "dash": [20, 6]},
    {"fill": "dash", "dash": [20, 6, 2, 6]},
)


def _drawn(colour: str, number: int, drawn: str) -> dict[str, object]:
    fixed = {"color": {"mode": "fixed", "fixedColor": colour}}
    return fixed | ({"custom.lineStyle": _DASHES[number]} if drawn == "line" else {})


def timeline(
    title: str,
    description: str,
    size: tuple[int, int],
    query: Query,
    *,
    mappings: Sequence[Json],
    links: Sequence[Json] = (),
) -> Json:
    """A row for each series, and in it the words and colours of its values over time."""
    return panel(
        "state-timeline",
        title,
        description,
        size,
        [query],
        fieldConfig=field_config("none", mappings, fillOpacity=90, lineWidth=0),
        links=list(links),
        options={
            "mergeValues": True,
            "showValue": "auto",
            "alignValue": "left",
            "rowHeight": 0.85,
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
    )
