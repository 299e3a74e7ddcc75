"""All metrics at one instant, read from what the rest of the process keeps anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.expiry import State, exact_days_remaining
from exporter.certcheck.inventory import Entry, Inventory
from exporter.certcheck.ports import Clock
from exporter.certcheck.slot import Role
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.durations import ClientKey, Durations, Histogram, ServerKey
from exporter.telemetry import names
from exporter.telemetry.family import Family, Labels, Value
from exporter.telemetry.names import Instrument

K = TypeVar("K")
Attributes: TypeAlias = Callable[[K], Mapping[str, str | int | None]]

# Semantic conventions, HTTP: a 4xx is a failure for whoever sent the request, not for whoever answered it.
SERVER_FAILURE, CLIENT_FAILURE = 500, 400


@dataclass(frozen=True, slots=True)
class Sources:
    """What is read at each collection. Everything here may be read from any thread."""

    inventory: Inventory
    tally: Tally
    durations: Durations
    clock: Clock
    batchers: Callable[[], int]
    export_failures: Callable[[], int]
    last_reload: Callable[[], tuple[bool, datetime | None]]
    pending: Callable[[], Mapping[str, int]]
    """Deliveries that wait, by handler: `NAME`, `/NAME` for one of the gateway's, `API_ID/NAME`."""
    foreign: Callable[[Sequence[Entry], datetime], Sequence[Family]] = lambda _entries, _now: ()
    """What other exporters would tell of the same certificates."""


class Sampler:
    """Takes samples: exact at that instant, nothing kept but the labels of what is still there."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._labels: dict[Entry, _EntryLabels] = {}
        self._counted_labels: dict[str, dict[Any, Labels]] = {}

    def sample(self) -> list[Family]:
        """Every metric of the contract, in its order; those without series, too."""
        return [*self._certificates(), *self._counters(), *self._process(), *self._requests()]

    def _certificates(self) -> list[Family]:
        days, after, before = Family(names.DAYS_REMAINING), Family(names.NOT_AFTER), Family(names.NOT_BEFORE)
        state, info, observed = Family(names.STATE), Family(names.INFO), Family(names.LAST_OBSERVED)
        in_use, requests = Family(names.FILE_IN_USE), Family(names.REQUESTS)
        now = self._sources.clock()
        known, kept = self._labels, {}
        paths = _Paths()
        entries = self._sources.inventory.entries()
        for entry in entries:
            labels = kept[entry] = known.get(entry) or _EntryLabels(entry)
            certificate = entry.reading.certificate
            its_state = entry.state(now)
            state.add(labels.in_state(its_state), 1)
            if its_state is not State.SUPERSEDED and not entry.is_only_watched:
                paths.add(entry)
            if entry.file_in_use is not None:
                in_use.add(labels.base, int(entry.file_in_use))
            if (count := entry.requests(now)) is not None:
                requests.add(labels.base, count)
            if certificate is not None:
                days.add(labels.base, exact_days_remaining(certificate.not_after, now))
                after.add(labels.base, labels.not_after)
                before.add(labels.base, labels.not_before)
                info.add(labels.info, 1)
            if entry.usage.last_observed_at is not None:
                observed.add(labels.base, entry.usage.last_observed_at.timestamp())
        self._labels = kept
        path = self._family(names.PATH, paths.days_remaining(now), _named("api_id", "cert_role", "cert_name"))
        foreign = self._sources.foreign(entries, now)
        return [days, after, before, path, state, info, in_use, observed, requests, *foreign]

    def _counters(self) -> list[Family]:
        tally = self._sources.tally
        return [
            self._family(names.OBSERVATIONS, tally.observations.copy(), _named("api_id", "cert_role", "outcome")),
            self._family(names.CHECKS, tally.checks.copy(), _named("api_id", "outcome")),
            self._family(names.EVENTS, tally.events.copy(), _named("api_id", "cert_role", "event")),
            self._family(names.DELIVERIES, tally.deliveries.copy(), _named("api_id", "handler", "outcome")),
            self._family(names.PENDING, _by_handler(self._sources.pending()), _named("api_id", "handler")),
            self._family(names.ERRORS, dict(self._errors()), lambda reason: {"reason": reason}),
        ]

    def _family(self, instrument: Instrument, values: Mapping[K, Value], attributes: Attributes[K]) -> Family:
        """One metric of values by key; the labels of a key are made once, and kept for as long as it is there."""
        known, kept = self._counted_labels.get(instrument.name, {}), {}
        family = Family(instrument)
        for key, value in values.items():
            labels = kept[key] = known.get(key) or Labels(attributes(key))
            family.add(labels, value)
        self._counted_labels[instrument.name] = kept
        return family

    def _errors(self) -> Iterator[tuple[str, int]]:
        for reason, count in self._sources.tally.errors.copy().items():
            yield reason, count + (self._sources.export_failures() if reason is ErrorReason.OTLP_EXPORT_FAILED else 0)

    def _process(self) -> list[Family]:
        successful, at = self._sources.last_reload()
        none = Labels({})
        return [
            Family(names.BATCHERS, [none], [self._sources.batchers()]),
            Family(names.RELOAD_SUCCESSFUL, [none], [int(successful)]),
            Family(names.RELOAD_TIMESTAMP, [none], [at.timestamp()]) if at else Family(names.RELOAD_TIMESTAMP),
        ]

    def _requests(self) -> list[Family]:
        durations = self._sources.durations
        return [
            self._family(names.SERVER_DURATION, _by_route(durations.server.copy()), _server_attributes),
            self._family(names.CLIENT_DURATION, durations.client.copy(), _client_attributes),
        ]


class _Paths:
    """Of each API and role, the certificate that expires first."""

    def __init__(self) -> None:
        self._first: dict[tuple[str | None, Role], Certificate] = {}

    def add(self, entry: Entry) -> None:
        certificate, key = entry.reading.certificate, (entry.slot.api_id, entry.slot.role)
        if certificate is not None:
            first = self._first.get(key)
            if first is None or certificate.not_after < first.not_after:
                self._first[key] = certificate

    def days_remaining(self, now: datetime) -> dict[tuple[str | None, Role, str], float]:
        return {
            (*key, certificate.cert_name): exact_days_remaining(certificate.not_after, now)
            for key, certificate in self._first.items()
        }


class _EntryLabels:
    """What of an entry never changes."""

    __slots__ = ("_states", "base", "info", "not_after", "not_before")

    def __init__(self, entry: Entry) -> None:
        slot, certificate = entry.slot, entry.reading.certificate
        self.base = Labels(
            {
                "api_id": slot.api_id,
                "cert_role": slot.role,
                "cert_ref": slot.cert_ref,
                "cert_name": certificate.cert_name if certificate else None,
                "server_address": slot.server_address,
                "server_port": slot.server_port,
                "network_peer_address": slot.peer_address,
                "chain_position": entry.position,
                "chain_index": slot.chain_index if entry.chain_length > 1 else None,
            }
        )
        self._states: dict[State, Labels] = {}
        if certificate is not None:
            self.not_after = certificate.not_after.timestamp()
            self.not_before = certificate.not_before.timestamp()
            self.info = self.base.with_(
                cert_id=certificate.cert_id,
                serial_number=certificate.serial_number,
                issuer=certificate.issuer,
                key_type=certificate.key_type,
                signature_algorithm=certificate.signature_algorithm,
            )

    def in_state(self, state: State) -> Labels:
        """Those of the slot in this state; made when it first is."""
        if state not in self._states:
            self._states[state] = self.base.with_(state=state)
        return self._states[state]


def _named(*names: str) -> Attributes[tuple[str | None, ...]]:
    return lambda values: dict(zip(names, values, strict=True))


def _by_handler(pending: Mapping[str, int]) -> Counter[tuple[str | None, str]]:
    """By whose handler it is, and its name."""
    found: Counter[tuple[str | None, str]] = Counter()
    for key, count in pending.items():
        api_id, _, name = key.rpartition("/")
        found[api_id or None, name] += count
    return found


def _by_route(durations: Mapping[ServerKey, Histogram]) -> dict[ServerKey, Histogram]:
    """One series for a listen path. It passes from one API to another while requests to the first are finished."""
    merged: dict[ServerKey, Histogram] = {}
    for key, histogram in durations.items():
        same = key._replace(api_id=None)
        merged[same] = _sum(merged[same], histogram) if same in merged else histogram
    return merged


def _sum(one: Histogram, other: Histogram) -> Histogram:
    both = Histogram()
    both.counts = [a + b for a, b in zip(one.counts, other.counts, strict=True)]
    both.total = one.total + other.total
    return both


def _server_attributes(key: ServerKey) -> dict[str, str | int | None]:
    where: dict[str, str | int | None] = {"http.route": key.route, "url.scheme": key.scheme}
    return {**_outcome(key.method, key.status, key.error, failure=SERVER_FAILURE), **where}


def _client_attributes(key: ClientKey) -> dict[str, str | int | None]:
    where: dict[str, str | int | None] = {
        "api_id": key.api_id,
        "server.address": key.server_address,
        "server.port": key.server_port,
    }
    return {**_outcome(key.method, key.status, key.error, failure=CLIENT_FAILURE), **where}


def _outcome(method: str, status: int | None, error: str | None, failure: int) -> dict[str, str | int | None]:
    # Semantic conventions: `error.type` is the code of a failure, or the status where it is one.
    error_type = error or (str(status) if status is not None and status >= failure else None)
    return {"http.request.method": method, "http.response.status_code": status, "error.type": error_type}
