"""Alerts on the monitor itself: whether it reports, whether anybody is told, whether it can be trusted."""

from __future__ import annotations

from dashboards.alerts.alert import ORIGIN, WHOLE, Alert, Group, Labels, text_of, told, value
from dashboards.alerts.promql import RELOADED, by, grew, indented, without

JOBS = 'job=~".*certgauge.*"'
"""Scrape jobs that are of certgauge by their name. One that has another name is known by what it reported before."""

ERRORS = (
    "nil_certificate",
    "no_leaf",
    "cooldown_store_failed",
    "state_failed",
    "event_not_delivered",
    "flush_failed",
    "flush_timeout",
)
"""Reasons after which something may have been missed, or told twice. The others have an alert, or are of traffic."""

_BY_HANDLER: Labels = (*ORIGIN, "api_id", "handler")
_JOB, _API, _INSTANCE, _HANDLER = (text_of(label) for label in ("job", "api_id", "instance", "handler"))
_GATEWAY = "certgauge" + told("job", f" (job {_JOB})")
_FOR = told("api_id", f" for API {_API}")

_silent = without(
    by("group", ORIGIN, f"last_over_time({RELOADED}[1d])"),
    by("group", ORIGIN, RELOADED),
)
_replica_down = f"up{{{JOBS}}} == 0\nor\nup == 0 and on (job, instance) last_over_time({RELOADED}[1d])"


_down = (
    f"{by('count', (*ORIGIN, 'instance'), _replica_down)}\nunless on ({', '.join(ORIGIN)}) (\n{indented(_silent)}\n)"
)


def _errors(reasons: str) -> str:
    return f'certificate_errors_total{{reason=~"{reasons}"}}'


_full = by("sum", ORIGIN, grew('certificate_errors_total{reason="inventory_full"}', "1d"))
_dropped = by("sum", (*ORIGIN, "api_id", "cert_role"), grew('certificate_observations_total{outcome="dropped"}', "1h"))

MONITOR = Group(
    "certgauge-monitor",
    (
        Alert(
            name="CertgaugeSilent",
            severity="critical",
            when="A gateway that reported within a day does not report, or none ever has",
            expr=f"{_silent}\nor\nabsent_over_time({RELOADED}[1d])",
            runbook="monitor-silent",
            summary=f"{_GATEWAY} does not report.",
            description="No certificate is watched, and no other alert of certgauge can fire. "
            "What it proxies may be down as well.",
            wait="5m",
        ),
        Alert(
            name="CertgaugeDown",
            severity="warning",
            when="A replica does not answer the scrape (`up` is 0), while others do",
            expr=_down,
            runbook="monitor-silent",
            summary=f"{_GATEWAY} does not answer at {_INSTANCE}.",
            description="This replica's certificates, and what it alone sees in handshakes, are not watched.",
            wait="5m",
        ),
        Alert(
            name="CertgaugeCardinalityOverflow",
            severity="warning",
            when="Within a day, a slot had no series, as `max_certificates` is reached; "
            "or within an hour, an observation was dropped",
            expr=f"{_full}\nor\n{_dropped}",
            runbook="cardinality-overflow",
            summary=f"{_GATEWAY} has more certificates than it keeps{_FOR}.",
            description=told(
                "cert_role",
                f"Observations in the role {text_of('cert_role')} that were dropped in the last hour: {value(WHOLE)}.",
                f"Slots that were refused a series in the last day: {value(WHOLE)}. "
                "They are judged and announced; boards and the other alerts do not see them.",
            ),
        ),
        Alert(
            name="CertgaugeDeliveriesFailing",
            severity="warning",
            when="Within an hour, an event was given up for a handler (`failed`), or dropped for want of room",
            expr=by("sum", _BY_HANDLER, grew('certificate_event_deliveries_total{outcome=~"failed|dropped"}', "1h")),
            runbook="deliveries-failing",
            summary=f"{_GATEWAY} could not tell {_HANDLER} of an event{_FOR}.",
            description=f"Deliveries that were given up in the last hour: {value(WHOLE)}. They are not tried again.",
        ),
        Alert(
            name="CertgaugeDeliveriesPending",
            severity="warning",
            when="For half an hour, a handler has always had events to take",
            expr=f"{by('sum', _BY_HANDLER, 'certificate_event_deliveries_pending')} > 0",
            runbook="deliveries-failing",
            summary=f"{_GATEWAY} has been unable to tell {_HANDLER} of its events{_FOR}.",
            description=f"Deliveries that wait: {value(WHOLE)}. Each is tried for a day, and then given up.",
            wait="30m",
        ),
        Alert(
            name="CertgaugeReloadFailed",
            severity="warning",
            when="The last configuration that was read was refused, whole or for some APIs",
            expr=by("count", ORIGIN, f"{RELOADED} == 0"),
            runbook="reload-failed",
            summary=f"{_GATEWAY} has refused its configuration, and goes on with the one before.",
            description=f"Replicas that have refused it: {value(WHOLE)}. A restart with it may fail.",
            wait="5m",
        ),
        Alert(
            name="CertgaugeExporterFailing",
            severity="warning",
            when="For a quarter of an hour, exports over OTLP have failed",
            expr=by("sum", ORIGIN, grew('certificate_errors_total{reason="otlp_export_failed"}', "5m")),
            runbook="exporter-failing",
            summary=f"{_GATEWAY} cannot export over OTLP.",
            description=f"Exports that failed in the last five minutes: {value(WHOLE)}. "
            "The scrape of /metrics goes on without them.",
            wait="15m",
        ),
        Alert(
            name="CertgaugeMonitoringErrors",
            severity="warning",
            when="Within a quarter of an hour, judging, announcing or keeping state has failed",
            expr=by("sum", (*ORIGIN, "reason"), grew(_errors("|".join(ERRORS)), "15m")),
            runbook="monitoring-errors",
            summary=f"{_GATEWAY} has errors in its monitoring: {text_of('reason')}.",
            description=f"Errors in the last quarter of an hour: {value(WHOLE)}.",
        ),
    ),
)
