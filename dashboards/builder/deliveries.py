"""Panels that both boards have: what was announced, and who was told."""

from __future__ import annotations

from dashboards.builder.charts import lines
from dashboards.builder.panels import Query, runbook, stat
from dashboards.builder.promql import API, SLOT, like, new, one, series, total
from dashboards.builder.tables import Column, table
from dashboards.builder.words import BLUE, EVENTS, ORANGE, PURPLE, VERMILLION, Json, span, values

COUNTED = "certificate_event_deliveries_total"
PENDING = series("certificate_event_deliveries_pending", API)

SAMPLED = "2m"
"""A bar counts what is new between its samples, of which there have to be two: this is for a scrape each minute."""


def events(width: int, height: int) -> Json:
    """Announcements over time, by kind."""
    counted = {event: series("certificate_events_total", SLOT, one("event", event)) for event in EVENTS}
    queries = [
        Query(total(new(counted[event], "$__interval")), words, colour) for event, (words, colour) in EVENTS.items()
    ]
    return lines(
        "Announced",
        "How many events were announced, by kind. One that holds is repeated once a day. To do: see the certificate "
        "in the table of what expires next; a renewal ends the repetition.",
        (width, height),
        queries,
        "suffix: events",
        drawn="bars",
        stacked=True,
        step=SAMPLED,
        links=[runbook("certificate-expiring", "a certificate expires")],
    )


def deliveries(width: int, height: int) -> Json:
    """What became of them, by receiver; of thousands of APIs they are few."""
    by = "handler"
    outcomes = ("delivered", "retried", "failed|dropped")
    counted = (new(series(COUNTED, API, like("outcome", outcome))) for outcome in outcomes)
    queries = [Query(f"round(sum by ({by}) ({each}))") for each in counted]
    return table(
        "Who was told",
        "For each receiver, in the time that is shown: events delivered, attempts that will be repeated, events given "
        "up (refused, too late, or no room), and events that wait now. To do: where something waits or was given up, "
        "look at the receiver, and at /events of certgauge for what it answered.",
        (width, height),
        [*queries, Query(f"sum by ({by}) ({PENDING}) or sum by ({by}) ({series(COUNTED, API)}) * 0")],
        [
            Column("handler", "Receiver"),
            Column("Value #A", "Delivered", "none", width=95, absent="0"),
            Column("Value #D", "✗ Waiting", "none", width=100, absent="0"),
            Column("Value #B", "Repeated", "none", width=95, absent="0"),
            Column("Value #C", "✗ Given up", "none", width=105, absent="0"),
        ],
        sort=("✗ Given up", True),
        nothing="Nobody has been told of anything yet",
        links=[runbook("deliveries-failing", "deliveries fail")],
    )


def told() -> Json:
    """The verdict, in a word."""
    failed = total(new(series(COUNTED, API, like("outcome", "failed|dropped"))))
    waits, told = (f"sum({each}) or vector(0)" for each in (PENDING, series(COUNTED, API)))
    announced = f"sum({series('certificate_events_total')}) or vector(0)"
    return stat(
        "Is anybody told?",
        "Whether events reach their receivers: none waits, none was given up in the time that is shown, and there is "
        "somebody to tell at all. To do: see 'Who was told' for the receiver; configure a handler where nobody is "
        "told.",
        (4, 4),
        Query(
            f"4 * (({failed}) > bool 0) + 2 * (({waits}) > bool 0) + (({announced}) > bool 0) * (({told}) == bool 0)",
            "told",
        ),
        "none",
        mappings=[
            values((0, "✓ all told", BLUE), (1, "! nobody is", PURPLE)),
            span(2, 3, ORANGE, "▲ some wait"),
            span(4, None, VERMILLION, "✗ some given up"),
        ],
        links=[runbook("deliveries-failing", "deliveries fail")],
    )
