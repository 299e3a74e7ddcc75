"""All metrics at one instant, read from what the rest of the process keeps anyway."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from exporter.certcheck.expiry import State, exact_days_remaining, judge
from exporter.certcheck.inventory import Entry, Inventory
from exporter.certcheck.ports import Clock
from exporter.certcheck.tally import Tally
from exporter.requests import ClientKey, Durations, Histogram
from exporter.telemetry import names
from exporter.telemetry.names import Instrument

Value: TypeAlias = float | int | Histogram

_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n"}


class Labels:
    """The attributes of one series, and the text they are in an exposition. Made once, used at every collection."""

    __slots__ = ("attributes", "text")

    def __init__(self, attributes: Mapping[str, str | int | None]) -> None:
        self.attributes = {key: value for key, value in attributes.items() if value is not None}
        """What is unknown is absent."""
        self.text = ",".join(f'{key.replace(".", "_")}="{_escape(str(v))}"' for key, v in self.attributes.items())

    def with_(self, **more: str | None) -> Labels:
        """These and others."""
        return Labels({**self.attributes, **more})


def _escape(text: str) -> str:
    return re.sub(r'[\\"\n]', lambda match: _ESCAPES[match[0]], text)


@dataclass(slots=True)
class Family:
    """One metric with its series."""

    instrument: Instrument
    points: list[tuple[Labels, Value]] = field(default_factory=list)


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


class Sampler:
    """Takes samples: exact at that instant, nothing kept but the labels of what is still there."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._labels: dict[Entry, _EntryLabels] = {}

    def sample(self) -> list[Family]:
        """Every metric of the contract, in its order; those without series, too."""
        return [*self._certificates(), *self._counters(), *self._process(), *self._requests()]

    def _certificates(self) -> list[Family]:
        days, after, before = Family(names.DAYS_REMAINING), Family(names.NOT_AFTER), Family(names.NOT_BEFORE)
        state, info, observed = Family(names.STATE), Family(names.INFO), Family(names.LAST_OBSERVED)
        now = self._sources.clock()
        known, kept = self._labels, {}
        for entry in self._sources.inventory.entries():
            labels = kept[entry] = known.get(entry) or _EntryLabels(entry)
            certificate = entry.reading.certificate
            state.points.append((labels.states[judge(entry.reading, entry.policy, now)], 1))
            if certificate is not None:
                days.points.append((labels.base, exact_days_remaining(certificate.not_after, now)))
                after.points.append((labels.base, labels.not_after))
                before.points.append((labels.base, labels.not_before))
                info.points.append((labels.info, 1))
            if entry.usage.last_observed_at is not None:
                observed.points.append((labels.base, entry.usage.last_observed_at.timestamp()))
        self._labels = kept
        return [days, after, before, state, info, observed]

    def _counters(self) -> list[Family]:
        tally = self._sources.tally
        return [
            _counted(names.OBSERVATIONS, ("api_id", "cert_role", "outcome"), tally.observations.copy().items()),
            _counted(names.CHECKS, ("api_id", "outcome"), tally.checks.copy().items()),
            _counted(names.EVENTS, ("api_id", "cert_role", "event"), tally.events.copy().items()),
            Family(names.DELIVERIES),
            _counted(names.ERRORS, ("reason",), (((reason,), count) for reason, count in self._errors())),
        ]

    def _errors(self) -> Iterator[tuple[str, int]]:
        for reason, count in self._sources.tally.errors.copy().items():
            yield reason, count + (self._sources.export_failures() if reason == "otlp_export_failed" else 0)

    def _process(self) -> list[Family]:
        successful, at = self._sources.last_reload()
        none = Labels({})
        return [
            Family(names.BATCHERS, [(none, self._sources.batchers())]),
            Family(names.RELOAD_SUCCESSFUL, [(none, int(successful))]),
            Family(names.RELOAD_TIMESTAMP, [(none, at.timestamp())] if at else []),
        ]

    def _requests(self) -> list[Family]:
        durations = self._sources.durations
        server: list[tuple[Labels, Value]] = [
            (
                _request_labels(key.method, key.status, key.error, {"http.route": key.route, "url.scheme": key.scheme}),
                value,
            )
            for key, value in durations.server.copy().items()
        ]
        client: list[tuple[Labels, Value]] = [
            (_request_labels(key.method, key.status, key.error, _peer(key)), value)
            for key, value in durations.client.copy().items()
        ]
        return [Family(names.SERVER_DURATION, server), Family(names.CLIENT_DURATION, client)]


class _EntryLabels:
    """What of an entry never changes."""

    __slots__ = ("base", "info", "not_after", "not_before", "states")

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
                "chain_position": entry.position,
                "chain_index": slot.chain_index if entry.chain_length > 1 else None,
            }
        )
        self.states = {state: self.base.with_(state=state) for state in State}
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


def _counted(
    instrument: Instrument, keys: tuple[str, ...], counts: Iterable[tuple[tuple[str | None, ...], int]]
) -> Family:
    points: list[tuple[Labels, Value]] = [
        (Labels(dict(zip(keys, values, strict=True))), count) for values, count in counts
    ]
    return Family(instrument, points)


def _request_labels(method: str, status: int | None, error: str | None, more: Mapping[str, str | int | None]) -> Labels:
    # Semantic conventions: `error.type` is the code of a failure, or the status where it is one.
    error_type = error or (str(status) if status is not None and status >= 500 else None)
    return Labels(
        {"http.request.method": method, "http.response.status_code": status, "error.type": error_type, **more}
    )


def _peer(key: ClientKey) -> dict[str, str | int]:
    return {"api_id": key.api_id, "server.address": key.server_address, "server.port": key.server_port}
