"""What other exporters call the same: their names and labels, beside ours, for rules and boards that use them.

Sources: `docs/metrics.md` of enix/x509-certificate-exporter (3 and 4), the README of ribbybibby/ssl_exporter,
`prober/tls.go` of prometheus/blackbox_exporter, `documentation.md` of the collector's tlscheck receiver.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.expiry import State
from exporter.certcheck.inventory import Entry
from exporter.certcheck.slot import Role
from exporter.telemetry import foreign
from exporter.telemetry.family import Family, Labels
from exporter.telemetry.foreign import Attributes
from exporter.telemetry.names import Instrument, Kind


def _gauge(name: str, description: str, unit: str = "") -> Instrument:
    return Instrument(name, Kind.GAUGE, unit, description)


@dataclass(frozen=True, slots=True)
class _Sight:
    """A certificate at a place: the path of a file, or HOST:PORT of whoever presented it."""

    place: str
    entry: Entry

    @property
    def certificate(self) -> Certificate | None:
        return self.entry.reading.certificate


@dataclass(slots=True)
class Compat:
    """The families of the exporters that are `wanted`, of the same entries as ours.

    `file_of` gives the path of a certificate reference.
    """

    wanted: Callable[[], Collection[str]]
    file_of: Callable[[str], str]
    _labels: dict[tuple[str, str, str], Labels] = field(default_factory=dict)
    _kept: dict[tuple[str, str, str], Labels] = field(default_factory=dict)

    def families(self, entries: Iterable[Entry], now: datetime) -> list[Family]:
        """Those of each, in the order of the configuration. A certificate is there once for each place."""
        wanted = self.wanted()
        if not wanted:
            return []
        files, presented = self._sights(entries)
        made: Mapping[str, Callable[[], Iterator[Family]]] = {
            "x509": lambda: self._x509(files, now),
            "ssl": lambda: self._ssl(files, presented, now),
            "probe": lambda: self._probe(presented, now),
            "tlscheck": lambda: self._tlscheck([*presented, *files], now),
        }
        found = [family for name in wanted for family in made[name]()]
        # Those of what is still there.
        self._labels, self._kept = self._kept, {}
        return found

    def _sights(self, entries: Iterable[Entry]) -> tuple[list[_Sight], list[_Sight]]:
        files: dict[tuple[str, str | None], _Sight] = {}
        presented: dict[tuple[str, str | None], _Sight] = {}
        for entry in entries:
            slot = entry.slot
            if slot.cert_ref is not None:
                sight = _Sight(self.file_of(slot.cert_ref), entry)
                files.setdefault((sight.place, entry.cert_id), sight)
            elif slot.role is Role.UPSTREAM_SERVER:
                sight = _Sight(f"{slot.server_address}:{slot.server_port}", entry)
                presented.setdefault((sight.place, entry.cert_id), sight)
        return list(files.values()), list(presented.values())

    def _made(self, dialect: str, sight: _Sight, attributes: Callable[[str, Certificate], Attributes]) -> Labels:
        certificate = sight.certificate
        assert certificate is not None
        key = dialect, sight.place, certificate.cert_id
        labels = self._labels.get(key) or self._kept.get(key) or Labels(attributes(sight.place, certificate))
        self._kept[key] = labels
        return labels

    def _x509(self, files: list[_Sight], now: datetime) -> Iterator[Family]:
        after, before = Family(_X509_NOT_AFTER), Family(_X509_NOT_BEFORE)
        expired, left = Family(_X509_EXPIRED), Family(_X509_EXPIRES_IN)
        broken: dict[str, bool] = {}
        for sight in files:
            certificate = sight.certificate
            broken[sight.place] = broken.get(sight.place, False) or certificate is None
            if certificate is not None:
                labels = self._made("x509", sight, foreign.x509)
                after.add(labels, certificate.not_after.timestamp())
                before.add(labels, certificate.not_before.timestamp())
                expired.add(labels, int(now > certificate.not_after))
                left.add(labels, (certificate.not_after - now).total_seconds())
        error = Family(_X509_ERROR)
        for place, is_broken in broken.items():
            error.add(Labels(foreign.of_file(place)), int(is_broken))
        yield from (after, before, expired, left, error)
        yield Family(_X509_READ_ERRORS, [Labels({})], [sum(broken.values())])
        yield Family(_X509_SOURCE_UP, [Labels({"source_kind": "file", "source_name": "certgauge"})], [1])

    def _ssl(self, files: list[_Sight], presented: list[_Sight], now: datetime) -> Iterator[Family]:
        yield from self._dates("ssl", presented, foreign.ssl, _SSL_NOT_AFTER, _SSL_NOT_BEFORE)
        verified = [sight for sight in presented if _is_verified(sight, now)]
        yield from self._dates("chain", verified, foreign.ssl_verified, _SSL_CHAIN_NOT_AFTER, _SSL_CHAIN_NOT_BEFORE)
        yield from self._dates("file", files, foreign.ssl_file, _SSL_FILE_NOT_AFTER, _SSL_FILE_NOT_BEFORE)
        yield _success(_SSL_SUCCESS, presented, now)

    def _dates(
        self,
        dialect: str,
        sights: list[_Sight],
        attributes: Callable[[str, Certificate], Attributes],
        after: Instrument,
        before: Instrument,
    ) -> Iterator[Family]:
        ends, begins = Family(after), Family(before)
        for sight in sights:
            if sight.certificate is not None:
                labels = self._made(dialect, sight, attributes)
                ends.add(labels, sight.certificate.not_after.timestamp())
                begins.add(labels, sight.certificate.not_before.timestamp())
        yield from (ends, begins)

    def _probe(self, presented: list[_Sight], now: datetime) -> Iterator[Family]:
        yield _success(_PROBE_SUCCESS, presented, now)
        yield _earliest(_PROBE_EARLIEST, presented)
        yield _earliest(_PROBE_LAST, [sight for sight in presented if _is_verified(sight, now)])
        info = Family(_PROBE_INFO)
        for sight in presented:
            if sight.certificate is not None and sight.entry.slot.chain_index == 0:
                info.add(self._made("probe", sight, foreign.probe), 1)
        yield info

    def _tlscheck(self, sights: list[_Sight], now: datetime) -> Iterator[Family]:
        left = Family(_TLSCHECK_LEFT)
        for sight in sights:
            if sight.certificate is not None and sight.entry.slot.chain_index == 0:
                labels = self._made("tlscheck", sight, foreign.tlscheck)
                left.add(labels, int((sight.certificate.not_after - now).total_seconds()))
        yield left


_X509_NOT_AFTER = _gauge("x509_cert_not_after", "When the certificate in a file expires.")
_X509_NOT_BEFORE = _gauge("x509_cert_not_before", "When the certificate in a file becomes valid.")
_X509_EXPIRED = _gauge("x509_cert_expired", "Whether the certificate in a file has expired: 1 or 0.")
_X509_EXPIRES_IN = _gauge("x509_cert_expires_in_seconds", "Until the certificate in a file expires; negative after.")
_X509_ERROR = _gauge("x509_cert_error", "Whether a file holds what cannot be read: 1 or 0.")
_X509_READ_ERRORS = _gauge("x509_read_errors", "Files that hold what cannot be read.")
_X509_SOURCE_UP = _gauge("x509_source_up", "1: files are being read.")
_SSL_NOT_AFTER = _gauge("ssl_cert_not_after", "When a certificate that an upstream has presented expires.")
_SSL_NOT_BEFORE = _gauge("ssl_cert_not_before", "When a certificate that an upstream has presented becomes valid.")
_SSL_CHAIN_NOT_AFTER = _gauge("ssl_verified_cert_not_after", "When one of a chain that was verified expires.")
_SSL_CHAIN_NOT_BEFORE = _gauge("ssl_verified_cert_not_before", "When one of a verified chain becomes valid.")
_SSL_FILE_NOT_AFTER = _gauge("ssl_file_cert_not_after", "When a certificate in a file expires.")
_SSL_FILE_NOT_BEFORE = _gauge("ssl_file_cert_not_before", "When a certificate in a file becomes valid.")
_SSL_SUCCESS = _gauge("ssl_probe_success", "Whether what an upstream presented last was verified: 1 or 0.")
_PROBE_SUCCESS = _gauge("probe_success", "Whether what an upstream presented last was verified: 1 or 0.")
_PROBE_EARLIEST = _gauge("probe_ssl_earliest_cert_expiry", "When the first of what an upstream presented expires.")
_PROBE_LAST = _gauge(
    "probe_ssl_last_chain_expiry_timestamp_seconds", "The same of a chain that was verified; the anchor left out."
)
_PROBE_INFO = _gauge("probe_ssl_last_chain_info", "1; the leaf that an upstream has presented.")
_TLSCHECK_LEFT = _gauge("tlscheck.time_left", "Until the certificate expires; negative after.", "s")


def _is_verified(sight: _Sight, now: datetime) -> bool:
    return sight.entry.invalid is None and sight.entry.state(now) not in {State.EXPIRED, State.NOT_YET_VALID}


def _success(instrument: Instrument, presented: Iterable[_Sight], now: datetime) -> Family:
    by_target: dict[str, bool] = {}
    for sight in presented:
        by_target[sight.place] = by_target.get(sight.place, True) and _is_verified(sight, now)
    return Family(instrument, [Labels({"target": place}) for place in by_target], [int(v) for v in by_target.values()])


def _earliest(instrument: Instrument, presented: Iterable[_Sight]) -> Family:
    first: dict[str, float] = {}
    for sight in presented:
        if sight.certificate is not None:
            ends = sight.certificate.not_after.timestamp()
            first[sight.place] = min(ends, first.get(sight.place, ends))
    return Family(instrument, [Labels({"target": place}) for place in first], list(first.values()))
