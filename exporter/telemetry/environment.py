"""Which signals leave by OTLP, and how: what the standard `OTEL_*` variables say (OpenTelemetry 1.50, environment)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from exporter.problems import ConfigError, Problem

Protocol = Literal["http/protobuf", "grpc"]
_SIGNALS = ("METRICS", "LOGS", "TRACES")


@dataclass(frozen=True, slots=True)
class Otlp:
    """The protocol of each signal; None: it is not exported."""

    metrics: Protocol | None = None
    logs: Protocol | None = None
    traces: Protocol | None = None
    metric_interval_seconds: float = 60.0


def read_otlp(environment: Mapping[str, str]) -> Otlp:
    """What is to be exported.

    An endpoint turns metrics and logs on; traces, which cost something on every request, only an endpoint of their own
    or `OTEL_TRACES_EXPORTER=otlp`. The exporters read the other variables themselves.

    Raises:
        ConfigError: a variable has a value that is not supported.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Otlp()
    problems: list[Problem] = []
    on = {signal: _is_on(environment, signal, problems) for signal in _SIGNALS}
    protocols = {signal: _protocol(environment, signal, problems) if on[signal] else None for signal in _SIGNALS}
    for signal, protocol in protocols.items():
        if protocol is not None:
            problems += _transport(environment, signal, protocol)
    interval = (_whole(environment, "OTEL_METRIC_EXPORT_INTERVAL", "milliseconds", problems) or 60_000) / 1000
    if problems:
        # A variable that serves several signals is wrong once.
        raise ConfigError(dict.fromkeys(problems))
    return Otlp(protocols["METRICS"], protocols["LOGS"], protocols["TRACES"], interval)


def unsupported(environment: Mapping[str, str]) -> Iterator[Problem]:
    """Variables that are set and have no effect."""
    preference = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    if (environment.get(preference) or "cumulative").lower() != "cumulative":
        yield Problem("environment", preference, "has no effect: metrics are cumulative")
    for variable in environment:
        if variable.startswith("OTEL_BLRP_"):
            yield Problem("environment", variable, "has no effect: events wait until they are taken, see `state`")


def _is_on(environment: Mapping[str, str], signal: str, problems: list[Problem]) -> bool:
    variable = f"OTEL_{signal}_EXPORTER"
    chosen = {name.strip() for name in environment.get(variable, "").split(",")} - {""}
    known = {"otlp", "none", "prometheus"} if signal == "METRICS" else {"otlp", "none"}
    if unknown := chosen - known:
        problems.append(Problem("environment", variable, f"must be otlp or none, not {', '.join(sorted(unknown))}"))
    if chosen:
        return "otlp" in chosen
    generic = signal != "TRACES" and environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return bool(generic or environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))


def _protocol(environment: Mapping[str, str], signal: str, problems: list[Problem]) -> Protocol | None:
    variable, value = _specific(environment, signal, "PROTOCOL")
    match value or "http/protobuf":
        case "http/protobuf":
            return "http/protobuf"
        case "grpc":
            return "grpc"
        case _:
            problems.append(Problem("environment", variable, "must be http/protobuf or grpc"))
            return None


def _transport(environment: Mapping[str, str], signal: str, protocol: Protocol) -> Iterator[Problem]:
    """What the exporters would not take, or not tell of."""
    variable, value = _specific(environment, signal, "COMPRESSION")
    known = ("gzip", "none") if protocol == "grpc" else ("gzip", "deflate", "none")
    if value and value.strip().lower() not in known:
        yield Problem("environment", variable, f"must be {' or '.join(known)}")
    variable, value = _specific(environment, signal, "TIMEOUT")
    if value and not _is_positive(value):
        yield Problem("environment", variable, "must be a number of seconds above 0")


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _specific(environment: Mapping[str, str], signal: str, name: str) -> tuple[str, str | None]:
    """The variable that counts, and its value: the signal's own before the one for all."""
    own, general = f"OTEL_EXPORTER_OTLP_{signal}_{name}", f"OTEL_EXPORTER_OTLP_{name}"
    return (own, environment[own]) if environment.get(own) else (general, environment.get(general))


def _whole(environment: Mapping[str, str], variable: str, unit: str, problems: list[Problem]) -> int | None:
    text = environment.get(variable)
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        problems.append(Problem("environment", variable, f"must be a whole number of {unit}, at least 1"))
        return None
    return int(text)
