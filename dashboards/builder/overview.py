"""The board of all certificates: what expires next, what breaks with it, is anybody told, can this be trusted."""

from __future__ import annotations

from dashboards.builder import board, promql
from dashboards.builder.deliveries import deliveries, events, told
from dashboards.builder.panels import Query, link, runbook, stat, to_api
from dashboards.builder.promql import API, KNOWN_BY, SLOT, WHERE, count, current, days, like, series
from dashboards.builder.tables import Column, ranking, table
from dashboards.builder.trust import errors, instances, trusted
from dashboards.builder.words import (
    ORANGE,
    PURPLE,
    STATES,
    VERMILLION,
    Json,
    empty,
    none_or_count,
    roles,
    states,
    values,
)

UID = "certgauge-overview"
SOONEST, LIMITED, BUSIEST = 50, 20, 10
"""How many rows are shown at most, of however many there are."""

AT_RISK = like("state", "expiring|expired|not_yet_valid|unreadable")
GATEWAY = [empty("(gateway)")]


def document() -> Json:
    """The board as Grafana takes it."""
    sections = [
        (
            "What expires, and what breaks with it",
            [*_numbers(), _soonest(), _by_role(), _paths(), _traffic(), _wrong()],
        ),
        ("Is anybody being told?", [events(12, 8), deliveries(12, 8)]),
        ("Can I trust this board?", [instances(), errors()]),
    ]
    present = "certificate_state"
    variables = [
        board.source(),
        board.label("job", "Job", "certgauge_config_last_reload_successful"),
        board.label("instance", "Instance", 'certgauge_config_last_reload_successful{job=~"$job"}'),
        board.label("api_id", "API", f"{present}{{{WHERE}}}"),
        board.label("cert_role", "Role", f"{present}{{{API}}}"),
        board.runbooks(),
    ]
    about = "Every certificate that certgauge sees: what expires next, on which API, what breaks, who is told."
    return board.board(
        UID,
        "certgauge / Overview",
        about,
        sections,
        variables,
        link("One API", "/d/certgauge-api", icon="dashboard", keep=True),
    )


def _numbers() -> list[Json]:
    return [_next(), _expired(), _expiring(), _unusable(), told(), trusted()]


def _next() -> Json:
    ends = f"min by (api_id,cert_name) ({current('certificate_not_after_timestamp_seconds')}) > time()"
    return stat(
        "Expires next",
        "Days until the next certificate expires, of those that have not yet, and its name. To do: renew it in time; "
        "the table below has what comes after it.",
        (4, 4),
        Query(f"bottomk(1, {days(f'({ends})')})", "{{cert_name}} {{api_id}}"),
        "suffix: days",
        links=[runbook("certificate-expiring", "a certificate expires")],
    )


def _expired() -> Json:
    return stat(
        "Expired now",
        "Certificates past their last day; one that several APIs use counts for each. What they carry fails, or will "
        "where connections still stand. To do: replace them now.",
        (4, 4),
        Query(count("expired"), "expired"),
        "prefix:✗ ",
        mappings=none_or_count(VERMILLION),
        links=[runbook("certificate-expired", "a certificate has expired")],
    )


def _expiring() -> Json:
    return stat(
        "Expiring",
        "Certificates that have less left than the threshold that is configured for them or their API. To do: renew "
        "them.",
        (4, 4),
        Query(count("expiring"), "expiring"),
        "prefix:▲ ",
        mappings=none_or_count(ORANGE),
        links=[
            runbook("certificate-expiring", "a certificate expires"),
            runbook("certificate-expiring-critical", "a certificate expires very soon"),
        ],
    )


def _unusable() -> Json:
    return stat(
        "Cannot be used",
        "Certificates that cannot be read, do not fit their key, failed verification, or are not valid yet. To do: "
        "see the table 'What else is wrong' for which.",
        (4, 4),
        Query(count("unreadable|not_yet_valid"), "unusable"),
        "prefix:! ",
        mappings=none_or_count(PURPLE),
        links=[
            runbook("certificate-invalid", "a certificate cannot be used"),
            runbook("certificate-not-yet-valid", "a certificate is not valid yet"),
        ],
    )


def _soonest() -> Json:
    ends = promql.not_after(KNOWN_BY)
    shown = f"bottomk({SOONEST}, {ends})"
    return table(
        f"What expires next (the first {SOONEST})",
        "The certificates that expire first, with what they are for and how many requests of the last hour depended "
        "on them. A state is judged by the threshold that is configured for the certificate or its API. To do: renew "
        "from the top; follow the API's name to see one API alone.",
        (24, 11),
        [
            Query(days(shown)),
            Query(f"{promql.state(KNOWN_BY)} and {shown}"),
            Query(f"{shown} * 1000"),
            Query(f"sum by ({KNOWN_BY}) ({series('certificate_requests')}) and {shown}"),
        ],
        [
            Column("Value #B", "State", "none", states(), 150, coloured=True),
            Column("Value #A", "Days left", "none", width=95),
            Column("cert_name", "Certificate", mappings=[empty("(unreadable)")]),
            Column("api_id", "API", mappings=GATEWAY, link=to_api()),
            Column("cert_role", "Whose", mappings=roles(), width=150),
            Column("cert_ref", "Configured as"),
            Column("server_address", "Server"),
            Column("Value #C", "Expires at", "dateTimeAsIso", width=165),
            Column("Value #D", "Requests/h", "locale", width=110),
        ],
        sort=("Days left", False),
        nothing="No certificate is seen",
        links=[
            runbook("certificate-expired", "a certificate has expired"),
            runbook("certificate-expiring", "a certificate expires"),
        ],
    )


def _by_role() -> Json:
    each = f"count by (cert_role,state) (count by ({KNOWN_BY},state) ({series('certificate_state')}))"
    heading = "cert_role\\state"
    columns = [Column(name, words, "none", width=8 * len(words) + 16) for name, (_, words, _) in STATES.items()]
    return table(
        "By role and state",
        "How many certificates there are of each role, and in which state. To do: pick a role above to see its own "
        "alone.",
        (12, 8),
        [Query(each)],
        [
            Column(heading, "Whose", mappings=roles(), width=145),
            *columns,
            Column("superseded", "superseded", "none", width=95),
        ],
        sort=("Whose", False),
        nothing="No certificate is seen",
        transformations=[
            {
                "id": "groupingToMatrix",
                "options": {
                    "rowField": "cert_role",
                    "columnField": "state",
                    "valueField": "Value",
                    "emptyValue": "null",
                },
            }
        ],
    )


def _paths() -> Json:
    by = "api_id,cert_role,cert_name"
    path = f"min by ({by}) ({series('certificate_path_days_remaining')})"
    shown = f"bottomk({LIMITED}, bottomk by (api_id) (1, {path}))"
    return table(
        f"What limits each API (the first {LIMITED})",
        "For each API the certificate of its paths that expires first, of those that are used: until then it works. "
        "To do: renew that one; any other renewal does not help this API.",
        (12, 8),
        [Query(f"floor({shown})"), Query(f"{promql.state(by)} and {shown}")],
        [
            Column("api_id", "API", mappings=GATEWAY, link=to_api()),
            Column("Value #B", "State", "none", states(), 150, coloured=True),
            Column("Value #A", "Days left", "none", width=95),
            Column("cert_name", "Limited by"),
            Column("cert_role", "Whose", mappings=roles(), width=150),
        ],
        sort=("Days left", False),
        nothing="No API has a certificate",
    )


def _traffic() -> Json:
    risk = f"{series('certificate_requests')} and ignoring (state) {series('certificate_state', SLOT, AT_RISK)}"
    none = 'label_replace(vector(0), "cert_name", "none", "", "")'
    return ranking(
        f"Traffic at risk (the {BUSIEST} busiest)",
        "Requests of the last hour that depended on a certificate that is expiring, expired or cannot be used: what "
        "breaks with it. To do: renew from the top.",
        (12, 8),
        Query(f"topk({BUSIEST}, sum by (api_id,cert_role,cert_name) ({risk}) > 0) or on () {none}"),
        [
            Column("cert_name", "Certificate"),
            Column("api_id", "API", mappings=GATEWAY, link=to_api()),
            Column("cert_role", "Whose", mappings=roles(), width=150),
            Column("Value", "Requests/h", "locale", width=220),
        ],
        links=[runbook("certificate-expired", "a certificate has expired")],
    )


def _wrong() -> Json:
    selected = series("certificate_state", SLOT, like("state", "unreadable|not_yet_valid"))
    unused = f"count by ({KNOWN_BY}) ({series('certificate_file_in_use')} == 0)"
    words = {name: {"text": text, "color": colour} for name, (_, text, colour) in STATES.items()}
    words["file_not_in_use"] = {"text": "! file not in use", "color": ORANGE}
    cases = [(name, result["text"], result["color"]) for name, result in words.items()]
    return table(
        "What else is wrong",
        "Certificates that cannot be used or are not valid yet, and files that hold something else than what is in "
        "use, because it was refused. To do: correct the file; certgauge says why at /certs and in its log.",
        (12, 8),
        [
            Query(
                f"topk({SOONEST}, (count by ({KNOWN_BY},state) ({selected})) "
                f'or label_replace({unused}, "state", "file_not_in_use", "", ""))'
            )
        ],
        [
            Column("state", "What", mappings=[values(*cases)], width=150, coloured=True),
            Column("cert_ref", "Configured as"),
            Column("cert_name", "Certificate", mappings=[empty("(unreadable)")]),
            Column("api_id", "API", mappings=GATEWAY, link=to_api()),
            Column("cert_role", "Whose", mappings=roles(), width=150),
            Column("server_address", "Server"),
            Column("Value", "Places", "none", width=80),
        ],
        sort=("What", False),
        nothing="✓ Nothing else is wrong",
        links=[
            runbook("certificate-invalid", "a certificate cannot be used"),
            runbook("certificate-not-yet-valid", "a certificate is not valid yet"),
            runbook("certificate-file-not-in-use", "a file is not in use"),
        ],
    )
