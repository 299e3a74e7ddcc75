"""A board as a whole: its grid, its variables, its links."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.builder.panels import SOURCE, link
from dashboards.builder.words import Json

WIDTH = 24
RUNBOOKS = "https://github.com/certgauge/certgauge/blob/main/docs/runbooks"
SCHEMA_VERSION = 39
"""That of Grafana 11.0; newer ones bring it up to their own by themselves."""


def board(
    uid: str,
    title: str,
    description: str,
    sections: Sequence[tuple[str, Sequence[Json]]],
    variables: Sequence[Json],
    *links: Json,
) -> Json:
    """The document. Sections have a heading and panels, which flow from left to right, and on into the next line."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["certgauge", "certificates"],
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "timezone": "browser",
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "annotations": {"list": []},
        "links": [*links, link("Runbooks", "${runbooks:raw}", away=True)],
        "templating": {"list": list(variables)},
        "panels": _flow(sections),
    }


def _flow(sections: Sequence[tuple[str, Sequence[Json]]]) -> list[Json]:
    placed: list[Json] = []
    bottom = 0
    for heading, panels in sections:
        placed.append(_row(heading, bottom))
        bottom += 1
        x = top = height = 0
        top = bottom
        for panel in panels:
            if x + panel["gridPos"]["w"] > WIDTH:
                x, top = 0, bottom
            placed.append({**panel, "gridPos": {**panel["gridPos"], "x": x, "y": top}})
            x += panel["gridPos"]["w"]
            height = panel["gridPos"]["h"]
            bottom = max(bottom, top + height)
    return [{"id": number, **panel} for number, panel in enumerate(placed, 1)]


def _row(title: str, y: int) -> Json:
    return {
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"w": WIDTH, "h": 1, "x": 0, "y": y},
        "panels": [],
    }


def source() -> Json:
    """Which Prometheus is asked."""
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "regex": "",
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "options": [],
    }


def label(name: str, title: str, series: str, *, several: bool = True) -> Json:
    """The values of a label in some series. "All" is `.*`, which also matches where the label is absent."""
    variable = {
        "type": "query",
        "name": name,
        "label": title,
        "datasource": SOURCE,
        "query": {"qryType": 1, "query": f"label_values({series}, {name})", "refId": name},
        "regex": "",
        "refresh": 2,
        "sort": 1,
        "multi": several,
        "includeAll": several,
        "hide": 0,
        "options": [],
    }
    everything = {"allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}
    return variable | (everything if several else {})


def runbooks() -> Json:
    """Where the runbooks are: to be changed in the board's settings, in this one place."""
    return {
        "type": "constant",
        "name": "runbooks",
        "label": "Runbooks",
        "description": "Where docs/runbooks is served",
        "query": RUNBOOKS,
        "hide": 2,
        "skipUrlSync": True,
        "current": {"selected": True, "text": RUNBOOKS, "value": RUNBOOKS},
        "options": [{"selected": True, "text": RUNBOOKS, "value": RUNBOOKS}],
    }
