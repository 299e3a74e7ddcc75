"""The names of every metric: one table, in the order in which they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What Prometheus calls the type."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """A metric's OpenTelemetry name and unit, and its help."""

    name: str
    kind: Kind
    unit: str
    description: str

    @property
    def family(self) -> str:
        """Its name in Prometheus, without a counter's `_total`: seconds are named, units in braces are not."""
        return self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")


DAYS_REMAINING = Instrument(
    "certificate.days_remaining", Kind.GAUGE, "{day}", "Days until the certificate expires; negative after."
)
NOT_AFTER = Instrument(
    "certificate.not_after.timestamp", Kind.GAUGE, "s", "The last instant at which the certificate is valid."
)
NOT_BEFORE = Instrument(
    "certificate.not_before.timestamp", Kind.GAUGE, "s", "The first instant at which the certificate is valid."
)
PATH = Instrument(
    "certificate.path.days_remaining",
    Kind.GAUGE,
    "{day}",
    "Days until the first certificate of a path expires; cert_name is its name.",
)
STATE = Instrument("certificate.state", Kind.GAUGE, "{certificate}", "1 for the present state of the slot.")
INFO = Instrument("certificate.info", Kind.GAUGE, "{certificate}", "1; which certificate is in the slot.")
FILE_IN_USE = Instrument(
    "certificate.file.in_use",
    Kind.GAUGE,
    "{certificate}",
    "Whether the certificate in use is the one in the file: 1 or 0.",
)
LAST_OBSERVED = Instrument(
    "certificate.last_observed.timestamp", Kind.GAUGE, "s", "When the certificate was last used by traffic."
)
REQUESTS = Instrument(
    "certificate.requests", Kind.GAUGE, "{request}", "Requests that depended on the certificate in the last hour."
)
OBSERVATIONS = Instrument(
    "certificate.observations", Kind.COUNTER, "{observation}", "Certificates seen in use, by what became of it."
)
CHECKS = Instrument("certificate.checks", Kind.COUNTER, "{check}", "Judgements of certificates, by verdict.")
EVENTS = Instrument("certificate.events", Kind.COUNTER, "{event}", "Events announced.")
DELIVERIES = Instrument(
    "certificate.event.deliveries", Kind.COUNTER, "{delivery}", "Deliveries of events to handlers, by outcome."
)
PENDING = Instrument(
    "certificate.event.deliveries.pending",
    Kind.GAUGE,
    "{delivery}",
    "Deliveries of events that wait to be made, by handler.",
)
ERRORS = Instrument("certificate.errors", Kind.COUNTER, "{error}", "What went wrong in monitoring, by reason.")
BATCHERS = Instrument("certificate.batchers", Kind.GAUGE, "{batcher}", "Batchers that are running.")
RELOAD_SUCCESSFUL = Instrument(
    "certgauge.config.last_reload.successful", Kind.GAUGE, "", "Whether the last configuration read was taken: 1 or 0."
)
RELOAD_TIMESTAMP = Instrument(
    "certgauge.config.last_reload.timestamp", Kind.GAUGE, "s", "When a configuration was last taken."
)
SERVER_DURATION = Instrument("http.server.request.duration", Kind.HISTOGRAM, "s", "Duration of requests to the proxy.")
CLIENT_DURATION = Instrument("http.client.request.duration", Kind.HISTOGRAM, "s", "Duration of requests to upstreams.")
