"""The board of one API: each hop's certificates, what passes, what fails, what is judged and announced."""

from __future__ import annotations

from dashboards.builder import board, calls, promql
from dashboards.builder.charts import lines, timeline
from dashboards.builder.deliveries import deliveries, events
from dashboards.builder.panels import Query, link, runbook, stat
from dashboards.builder.promql import API, HOP, SLOT, WHERE, days, new, one, series
from dashboards.builder.tables import Column, table
from dashboards.builder.words import (
    BLUE,
    GREY,
    PURPLE,
    ROLE_COLOURS,
    ROLES,
    VERMILLION,
    Json,
    empty,
    roles,
    states,
    values,
)

UID = "certgauge-api"
SHOWN, DRAWN = 50, 20
"""Rows of the table, and of the timeline, at most."""


def document() -> Json:
    """The board as Grafana takes it."""
    sections = [
        ("The certificates of $api_id, hop by hop", [*_numbers(), _hops(), _timeline(), _days()]),
        ("What passes, and what fails", [calls.calls(), calls.latency(), calls.codes(), calls.answers()]),
        ("Is it judged, and is anybody told?", [_work(), events(7, 8), deliveries(9, 8)]),
    ]
    variables = [
        board.source(),
        board.label("job", "Job", "certgauge_config_last_reload_successful"),
        board.label("instance", "Instance", 'certgauge_config_last_reload_successful{job=~"$job"}'),
        board.label("api_id", "API", f"certificate_state{{{WHERE}}}", several=False),
        board.label("cert_role", "Role", f"certificate_state{{{API}}}"),
        board.label("http_route", "Listen path", f"{calls.ANSWERS}_count{{{WHERE}}}"),
        board.runbooks(),
    ]
    about = "One API: the certificates of each hop over time, its calls, errors, checks and events."
    return board.board(
        UID,
        "certgauge / API",
        about,
        sections,
        variables,
        link("Overview", "/d/certgauge-overview", icon="dashboard", keep=True),
    )


def _numbers() -> list[Json]:
    return [_limit(), _worst(), _judged(), _used(), calls.rate(), calls.failing()]


def _limit() -> Json:
    path = f"min by (cert_role,cert_name) ({series('certificate_path_days_remaining')})"
    return stat(
        "Works until, at most",
        "Days until the first certificate expires that this API uses, and which: its path is limited by that one. "
        "Below 0 it has. To do: renew that one first.",
        (4, 4),
        Query(f"bottomk(1, floor({path}))", "{{cert_name}} ({{cert_role}})"),
        "suffix: days",
        links=[runbook("certificate-expiring", "a certificate expires")],
    )


def _worst() -> Json:
    return stat(
        "Worst state",
        "The worst state of any of its certificates. To do: find it in the table below.",
        (4, 4),
        Query(f"max({promql.state('api_id')}) or vector(0)", "state"),
        "none",
        mappings=states(),
        links=[
            runbook("certificate-expired", "a certificate has expired"),
            runbook("certificate-invalid", "a certificate cannot be used"),
        ],
    )


def _judged() -> Json:
    checks = promql.total(new(series("certificate_checks_total", API), "2h"))
    return stat(
        "Is it judged?",
        "Whether its batcher has looked at a certificate in the last two hours. To do: where not, the API is "
        "unloaded, or monitoring is switched off for it, or the cooldown is longer.",
        (4, 4),
        Query(f"({checks}) > bool 0", "judged"),
        "none",
        mappings=[values((0, "✗ not for 2 h", VERMILLION), (1, "✓ yes", BLUE))],
        links=[runbook("monitor-silent", "the monitor is silent")],
    )


def _used() -> Json:
    last = f"round(time() - max({series('certificate_last_observed_timestamp_seconds')}))"
    return stat(
        "Last used, ago",
        "How long ago a request or a handshake last used one of its certificates. To do: nothing; an API that nobody "
        "uses can wait.",
        (4, 4),
        Query(last, "ago"),
        "s",
    )


def _hops() -> Json:
    ends = promql.not_after(HOP)
    used = f"max by ({HOP}) ({series('certificate_last_observed_timestamp_seconds')})"
    shown = f"bottomk({SHOWN}, {ends})"
    return table(
        f"Each hop's certificates (the first {SHOWN} to expire)",
        "Every certificate that this API uses or is shown, by hop: whose it is, what it is in its chain, which node "
        "presented it, its state by the configured threshold. To do: renew what is not valid, from the top.",
        (24, 9),
        [
            Query(days(shown)),
            Query(f"{promql.state(HOP)} and {shown}"),
            Query(f"{shown} * 1000"),
            Query(f"sum by ({HOP}) ({series('certificate_requests')}) and {shown}"),
            Query(f"round(time() - ({used} and {shown}))"),
        ],
        [
            Column("Value #B", "State", "none", states(), 150, coloured=True),
            Column("Value #A", "Days left", "none", width=95),
            Column("cert_role", "Whose", mappings=roles(), width=150),
            Column("cert_name", "Certificate", mappings=[empty("(unreadable)")]),
            Column("chain_position", "In its chain", width=110),
            Column("cert_ref", "Configured as"),
            Column("server_address", "Server"),
            Column("network_peer_address", "Node"),
            Column("Value #C", "Expires at", "dateTimeAsIso", width=165),
            Column("Value #D", "Requests/h", "locale", width=110),
            Column("Value #E", "Used, ago", "s", width=90),
        ],
        sort=("Days left", False),
        nothing="No certificate is seen",
        links=[
            runbook("certificate-expired", "a certificate has expired"),
            runbook("certificate-expiring", "a certificate expires"),
            runbook("certificate-file-not-in-use", "a file is not in use"),
        ],
    )


def _timeline() -> Json:
    by = "cert_role,cert_name,network_peer_address"
    worst = f"topk({DRAWN}, {promql.state(by, ' @ end()')})"
    return timeline(
        f"State over time (the {DRAWN} worst)",
        "The state of each certificate over the time that is shown: when it began to expire, when it expired, when it "
        "was renewed. To do: widen the time to see a renewal coming or gone.",
        (24, 9),
        Query(f"{promql.state(by)} and {worst}", "{{cert_role}} {{cert_name}} {{network_peer_address}}"),
        mappings=states(),
        links=[runbook("certificate-expiring", "a certificate expires")],
    )


def _days() -> Json:
    path = "certificate_path_days_remaining"
    return lines(
        "Days left, by whose certificate",
        "Of each owner the certificate that expires first, of those that are used. A step up is a renewal; 0 is the "
        "end. To do: see that each line steps up before it reaches 0.",
        (24, 8),
        [
            Query(f"min({series(path, SLOT, one('cert_role', role))})", ROLES[role], colour)
            for role, colour in ROLE_COLOURS.items()
        ],
        "suffix: days",
        wide=True,
    )


def _work() -> Json:
    checks = series("certificate_checks_total", API, 'outcome!="cooldown"')
    skipped = series("certificate_checks_total", API, one("outcome", "cooldown"))
    seen = series("certificate_observations_total", SLOT, one("outcome", "accepted"))
    lost = series("certificate_observations_total", SLOT, one("outcome", "dropped"))
    every = [
        ("seen in use", seen, BLUE),
        ("judged", checks, PURPLE),
        ("judged a while ago", skipped, GREY),
        ("✗ not noted", lost, VERMILLION),
    ]
    return lines(
        "What its batcher does",
        "A second: certificates seen in use, judged, not judged again because that was done a while ago, and not "
        "noted because there were too many. To do: where something is not noted, see the runbook; where nothing is "
        "seen, nobody uses the API.",
        (8, 8),
        [Query(f"sum(rate({each}[$__rate_interval])) or vector(0)", words, colour) for words, each, colour in every],
        "ops",
        links=[runbook("cardinality-overflow", "there are too many certificates")],
    )
