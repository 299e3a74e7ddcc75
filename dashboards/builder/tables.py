"""Tables, and rankings, which are tables with a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dashboards.builder.panels import Query, field_config, override, panel
from dashboards.builder.words import BLUE, ORANGE, Json, span, values


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
    return override("byName", column.field, properties)


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
