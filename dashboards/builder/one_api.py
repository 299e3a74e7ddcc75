"""The board of one API: each hop's certificates, what passes, what fails, what is judged and announced."""

from __future__ import annotations

from dashboards.builder import board, promql
from dashboards.builder.deliveries import deliveries, events
from dashboards.builder.panels import Column, Query, lines, link, ranking, runbook, stat, table, timeline
from dashboards.builder.promql import API, HOP, SLOT, WHERE, days, having, like, new, one, series
from dashboards.builder.words import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    ROLE_COLOURS,
    ROLES,
    SKY,
    VERMILLION,
    Json,
    empty,
    roles,
    span,
    states,
    values,
)

UID = "certgauge-api"
SHOWN, DRAWN, CODES = 50, 20, 10
"""Rows of the table, rows of the timeline, codes of errors; at most."""

CALLS = "http_client_request_duration_seconds"
ANSWERS = "http_server_request_duration_seconds"
OUTCOMES = {
    "2xx": (like("http_response_status_code", "2.."), BLUE),
    "3xx and 1xx": (like("http_response_status_code", "[13].."), SKY),
    "4xx": (like("http_response_status_code", "4.."), ORANGE),
    "5xx": (like("http_response_status_code", "5.."), VERMILLION),
    "no answer": (one("http_response_status_code", ""), PURPLE),
}


def document() -> Json:
    """The board as Grafana takes it."""
    sections = [
        ("The certificates of $api_id, hop by hop", [*_numbers(), _hops(), _timeline(), _days()]),
        ("What passes, and what fails", [_calls(), _latency(), _codes(), _answers()]),
        ("Is it judged, and is anybody told?", [_work(), events(7, 8), deliveries(9, 8)]),
    ]
    variables = [
        board.source(),
        board.label("job", "Job", "certgauge_config_last_reload_successful"),
        board.label("instance", "Instance", 'certgauge_config_last_reload_successful{job=~"$job"}'),
        board.label("api_id", "API", f"certificate_state{{{WHERE}}}", several=False),
        board.label("cert_role", "Role", f"certificate_state{{{API}}}"),
        board.label("http_route", "Listen path", f"{ANSWERS}_count{{{WHERE}}}"),
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
    return [_limit(), _worst(), _judged(), _used(), _rate(), _failing()]


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


def _rate() -> Json:
    return stat(
        "Calls to the upstream",
        "Requests a second that went to its upstream, those without an answer included. To do: nothing; it is what "
        "depends on the certificates.",
        (4, 4),
        Query(f"sum(rate({_calls_of()}[$__rate_interval])) or vector(0)", "calls"),
        "reqps",
    )


def _failing() -> Json:
    failed = f"sum(rate({_calls_of(having('error_type'))}[$__rate_interval])) or vector(0)"
    every = f"sum(rate({_calls_of()}[$__rate_interval])) > 0 or vector(1)"
    return stat(
        "Calls that failed",
        "The share of calls to the upstream that had no answer, or one of 400 and more. To do: see 'Failed calls by "
        "code'.",
        (4, 4),
        Query(f"({failed}) / ({every})", "share"),
        "percentunit",
        mappings=[values((0, "✓ none", BLUE)), span(1e-9, None, ORANGE)],
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
        "Days left, by whose",
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


def _calls_of(*more: str) -> str:
    return series(f"{CALLS}_count", API, *more)


def _calls() -> Json:
    return lines(
        "Calls to the upstream, by answer",
        "Requests a second that went to its upstream, by the class of the answer; no answer: the connection, the "
        "handshake or the time limit failed. To do: see 'Failed calls by code'.",
        (12, 8),
        [
            Query(f"sum(rate({_calls_of(selected)}[$__rate_interval])) or vector(0)", words, colour)
            for words, (selected, colour) in OUTCOMES.items()
        ],
        "reqps",
        drawn="bars",
        stacked=True,
    )


def _latency() -> Json:
    each = f"sum by (le) (rate({series(f'{CALLS}_bucket', API)}[$__rate_interval]))"
    parts = (("0.5", "half are faster", BLUE), ("0.95", "19 of 20 are faster", ORANGE), ("0.99", "99 of 100", PURPLE))
    return lines(
        "How long calls take",
        "Within what time the upstream's answer began: for half of the calls, 19 of 20, 99 of 100. To do: where they "
        "rise together the upstream is slow; where only the last does, some handshakes or nodes are.",
        (12, 8),
        [Query(f"histogram_quantile({part}, {each})", words, colour) for part, words, colour in parts],
        "s",
    )


def _codes() -> Json:
    failed = new(_calls_of(having("error_type")))
    return ranking(
        f"Failed calls by code (the {CODES} most frequent)",
        "Calls to the upstream that failed in the time that is shown, by code; docs/configuration.md says what each "
        "means. A number is the upstream's own status. To do: upstream_certificate_… is about a certificate, all "
        "others are not.",
        (12, 7),
        Query(_most_frequent(failed, "error_type")),
        [Column("error_type", "Code", width=300), Column("Value", "Calls", "locale")],
        links=[runbook("certificate-expired", "a certificate has expired")],
    )


def _answers() -> Json:
    failed = new(series(f"{ANSWERS}_count", WHERE, like("http_route", "$http_route"), having("error_type")))
    return ranking(
        f"Failed answers by listen path (the {CODES} most frequent)",
        "Requests that the proxy itself answered with 500 and more in the time that is shown, also those that never "
        "became a call, as with certificate_unusable. They are known by listen path, not by API. To do: pick the "
        "API's listen path above.",
        (12, 7),
        Query(_most_frequent(failed, "http_route", "error_type")),
        [
            Column("http_route", "Listen path", width=180),
            Column("error_type", "Code", width=250),
            Column("Value", "Answers", "locale"),
        ],
        links=[runbook("certificate-invalid", "a certificate cannot be used")],
    )


def _most_frequent(counted: str, *by: str) -> str:
    none = f'label_replace(vector(0), "{by[-1]}", "none", "", "")'
    return f"topk({CODES}, round(sum by ({','.join(by)}) ({counted})) > 0) or on () {none}"


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
