"""Panels on the monitor itself: whether what the boards show can be believed."""

from __future__ import annotations

from dashboards.builder import promql
from dashboards.builder.panels import Query, runbook, stat
from dashboards.builder.promql import RELOADED, WAS_CERTGAUGE, WHERE, one, series
from dashboards.builder.tables import Column, ranking, table
from dashboards.builder.words import BLUE, ORANGE, PURPLE, VERMILLION, Json, none_or_count, span, values

FULL = series("certificate_errors_total", WHERE, one("reason", "inventory_full"))
ANSWERS = [values((0, "✗ silent", VERMILLION), (1, "✓ yes", BLUE))]
TAKEN = [values((0, "✗ refused", VERMILLION), (1, "✓ taken", BLUE))]


def trusted() -> Json:
    """The verdict, in a word."""
    silent = f"(count(up{{{WHERE}}} == 0 and {WAS_CERTGAUGE}) or vector(0)) + (absent({RELOADED}) or vector(0))"
    refused = f"(min({RELOADED}) or vector(1)) == bool 0"
    hidden = f"({promql.total(FULL)}) > bool 0"
    return stat(
        "Can I trust this?",
        "Whether every certgauge answers, serves the last configuration, and has a series for every certificate. To "
        "do: see the last section, and its runbooks.",
        (4, 4),
        Query(f"4 * (({silent}) > bool 0) + 2 * ({refused}) + ({hidden})", "trust"),
        "none",
        mappings=[
            values((0, "✓ yes", BLUE), (1, "! series missing", PURPLE)),
            span(2, 3, ORANGE, "▲ old configuration"),
            span(4, None, VERMILLION, "✗ silent"),
        ],
        links=[runbook("monitor-silent", "the monitor is silent"), runbook("reload-failed", "a reload was refused")],
    )


def instances() -> Json:
    """Each process, in detail."""
    by = "job,instance"
    lost = f"max by ({by}) (up{{{WHERE}}} == 0 and {WAS_CERTGAUGE})"
    seen = f"max by ({by}) (max_over_time(timestamp({RELOADED})[1d:1m])) and {lost}"
    batchers = f"sum by ({by}) ({series('certificate_batchers', WHERE)})"
    pending = f"sum by ({by}) ({series('certificate_event_deliveries_pending', WHERE)})"
    return table(
        "Each certgauge",
        "Whether it answers, when it was last heard, what became of its last configuration, how many batchers judge "
        "(one for each API with certificates, one for the gateway), how many deliveries wait, and how many "
        "certificates have no series because max_certificates is reached. To do: see the runbooks.",
        (15, 8),
        [
            Query(f"max by ({by}) ({RELOADED} * 0 + 1) or {lost}"),
            Query(f"round(time() - (max by ({by}) (timestamp({RELOADED})) or {seen}))"),
            Query(f"min by ({by}) ({RELOADED})"),
            Query(f"round(time() - max by ({by}) ({series('certgauge_config_last_reload_timestamp_seconds', WHERE)}))"),
            Query(batchers),
            Query(f"{pending} or {batchers} * 0"),
            Query(f"sum by ({by}) ({FULL})"),
        ],
        [
            Column("instance", "Instance", width=150),
            Column("job", "Job"),
            Column("Value #A", "Answers", "none", ANSWERS, 90, coloured=True),
            Column("Value #B", "Heard, ago", "s", width=95),
            Column("Value #C", "Last reload", "none", TAKEN, 110, coloured=True),
            Column("Value #D", "Taken, ago", "s", width=95),
            Column("Value #E", "Batchers", "none", width=85),
            Column("Value #F", "Waiting", "none", width=80),
            Column("Value #G", "No series", "none", none_or_count(PURPLE), 90, coloured=True),
        ],
        sort=("Instance", False),
        nothing="✗ No certgauge is heard",
        links=[
            runbook("monitor-silent", "the monitor is silent"),
            runbook("reload-failed", "a reload was refused"),
            runbook("cardinality-overflow", "certificates have no series"),
        ],
    )


def errors() -> Json:
    """What went wrong inside."""
    increase = f"sum by (reason) (increase({series('certificate_errors_total', WHERE)}[$__range]))"
    none = 'label_replace(vector(0), "reason", "nothing is heard", "", "")'
    return ranking(
        "Errors by reason (the 8 most frequent)",
        "What went wrong in certgauge itself in the time that is shown; docs/metrics.md says what each reason means. "
        "otlp_export_failed: telemetry does not get out. To do: the log has a line for each.",
        (9, 8),
        Query(f"topk(8, round({increase})) or on () {none}"),
        [Column("reason", "Reason", width=230), Column("Value", "Errors", "locale")],
        links=[
            runbook("exporter-failing", "telemetry does not get out"),
            runbook("reload-failed", "a reload was refused"),
        ],
    )
