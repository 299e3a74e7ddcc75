"""What is drawn over time."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.builder.panels import Query, field_config, override, panel
from dashboards.builder.words import Json


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
        override("byFrameRefID", chr(ord("A") + number), _drawn(query.colour, number, drawn))
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
