"""Panels on what passes through one API: calls to its upstream, and what the proxy answers."""

from __future__ import annotations

from dashboards.builder.charts import lines
from dashboards.builder.panels import Query, runbook, stat
from dashboards.builder.promql import API, WHERE, having, like, new, one, series
from dashboards.builder.tables import Column, ranking
from dashboards.builder.words import BLUE, ORANGE, PURPLE, SKY, VERMILLION, Json, span, values

CALLS = "http_client_request_duration_seconds"
ANSWERS = "http_server_request_duration_seconds"
CODES = 10
"""How many are shown at most."""

OUTCOMES = {
    "2xx": (like("http_response_status_code", "2.."), BLUE),
    "3xx and 1xx": (like("http_response_status_code", "[13].."), SKY),
    "4xx": (like("http_response_status_code", "4.."), ORANGE),
    "5xx": (like("http_response_status_code", "5.."), VERMILLION),
    "no answer": (one("http_response_status_code", ""), PURPLE),
}


def rate() -> Json:
    """How much depends on the certificates."""
    return stat(
        "Calls to the upstream",
        "Requests a second that went to its upstream, those without an answer included. To do: nothing; it is what "
        "depends on the certificates.",
        (4, 4),
        Query(f"sum(rate({_calls_of()}[$__rate_interval])) or vector(0)", "calls"),
        "reqps",
    )


def failing() -> Json:
    """Which part of it fails."""
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


def calls() -> Json:
    """How calls are answered, over time."""
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


def latency() -> Json:
    """How long they take, over time."""
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


def codes() -> Json:
    """Why calls fail."""
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


def answers() -> Json:
    """Why requests fail, also those that never became a call."""
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


def _calls_of(*more: str) -> str:
    return series(f"{CALLS}_count", API, *more)
