"""Which `OTEL_*` variables turn what on, and which of their values are refused."""

from __future__ import annotations

from typing import Final

import pytest

from exporter.problems import ConfigError
from exporter.telemetry.environment import Otlp, read_otlp, unsupported
from exporter.telemetry.otlp import Exporters

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
URL = "http://collector:4318"


@pytest.mark.parametrize(
    ("environment", "otlp"),
    [
        ({}, Otlp()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, Otlp()),
        ({"OTEL_SERVICE_NAME": "edge"}, Otlp()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL}, Otlp(metrics=HTTP, logs=HTTP)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": URL}, Otlp(metrics=HTTP)),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": URL}, Otlp(logs=HTTP)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL}, Otlp(traces=HTTP)),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, Otlp(metrics=HTTP)),
        ({"OTEL_LOGS_EXPORTER": "otlp"}, Otlp(logs=HTTP)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, Otlp(traces=HTTP)),
        ({"OTEL_METRICS_EXPORTER": " otlp , prometheus"}, Otlp(metrics=HTTP)),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, Otlp()),
        ({"OTEL_METRICS_EXPORTER": ""}, Otlp()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_METRICS_EXPORTER": "none"}, Otlp(logs=HTTP)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_METRICS_EXPORTER": "prometheus"}, Otlp(logs=HTTP)),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_EXPORTER": "otlp"},
            Otlp(metrics=HTTP, logs=HTTP, traces=HTTP),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SDK_DISABLED": "true"}, Otlp()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SDK_DISABLED": " TRUE "}, Otlp()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SDK_DISABLED": "1"}, Otlp(metrics=HTTP, logs=HTTP)),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            Otlp(metrics=GRPC, logs=GRPC),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc"},
            Otlp(metrics=HTTP, logs=GRPC),
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": URL,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
            },
            Otlp(metrics=HTTP, logs=GRPC),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": ""}, Otlp(metrics=HTTP, logs=HTTP)),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "1500"}, Otlp(metric_interval_seconds=1.5)),
        ({"OTEL_METRIC_EXPORT_INTERVAL": ""}, Otlp(metric_interval_seconds=60.0)),
        ({"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5"}, Otlp(logs=HTTP)),
        ({"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP"}, Otlp(logs=HTTP)),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "of no use while nothing is exported"}, Otlp()),
        ({"OTEL_EXPORTER_PROMETHEUS_PORT": "9999", "OTEL_EXPORTER_PROMETHEUS_HOST": "0.0.0.0"}, Otlp()),
    ],
)
def test_the_environment_says_what_is_exported_and_how(environment: dict[str, str], otlp: Otlp) -> None:
    assert read_otlp(environment) == otlp


ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OTEL_METRICS_EXPORTER": "console"}, "OTEL_METRICS_EXPORTER: must be otlp or none, not console"),
        ({"OTEL_LOGS_EXPORTER": "otlp,jaeger,b3"}, "OTEL_LOGS_EXPORTER: must be otlp or none, not b3, jaeger"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: must be otlp or none, not zipkin"),
        ({"OTEL_TRACES_EXPORTER": "prometheus"}, "OTEL_TRACES_EXPORTER: must be otlp or none, not prometheus"),
        (
            ON | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf or grpc",
        ),
        (
            ON | {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "GRPC"},
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: must be http/protobuf or grpc",
        ),
        (
            ON | {"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"},
            "OTEL_EXPORTER_OTLP_COMPRESSION: must be gzip or deflate or none",
        ),
        (
            ON | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "deflate"},
            "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION: must be gzip or none",
        ),
        (ON | {"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "OTEL_EXPORTER_OTLP_TIMEOUT: must be a number of seconds above 0"),
        (ON | {"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}, "OTEL_EXPORTER_OTLP_TIMEOUT: must be a number of seconds above 0"),
        (
            ON | {"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "nan"},
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: must be a number of seconds above 0",
        ),
        *(
            (
                {"OTEL_METRIC_EXPORT_INTERVAL": text},
                "OTEL_METRIC_EXPORT_INTERVAL: must be a whole number of milliseconds, at least 1",
            )
            for text in ("0", "-1", "1.5", "1s", "٣")
        ),
    ],
)
def test_a_value_that_is_not_supported_is_refused_with_its_name(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_otlp(environment)
    assert [str(problem) for problem in caught.value.problems] == [f"environment: {message}"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    environment = ON | {"OTEL_EXPORTER_OTLP_PROTOCOL": "x", "OTEL_METRIC_EXPORT_INTERVAL": "y"}
    with pytest.raises(ConfigError) as caught:
        read_otlp(environment)
    paths = [problem.path for problem in caught.value.problems]
    assert paths == ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_METRIC_EXPORT_INTERVAL"]


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ("", []),
        ("cumulative", []),
        ("Cumulative", []),
        ("delta", ["has no effect: metrics are cumulative"]),
        ("lowmemory", ["has no effect: metrics are cumulative"]),
    ],
)
def test_a_temporality_that_is_not_honoured_is_told(value: str, problems: list[str]) -> None:
    environment = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": value}
    assert [problem.message for problem in unsupported(environment)] == problems
    assert list(unsupported({})) == []


def test_a_queue_of_log_records_that_there_is_not_is_told() -> None:
    [problem] = unsupported({"OTEL_BLRP_MAX_QUEUE_SIZE": "10"})
    assert str(problem).endswith(
        "OTEL_BLRP_MAX_QUEUE_SIZE: has no effect: events wait until they are taken, see `state`"
    )


@pytest.mark.parametrize("compression", ["none", "gzip", ""])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
async def test_every_compression_of_the_specification_starts(
    protocol: str, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = ON | {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_COMPRESSION": compression}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    exporters = Exporters()
    exporters.start(read_otlp(environment), list)
    await exporters.close()


def test_what_only_the_library_refuses_is_a_configuration_error_without_its_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:canary℀@collector")
    with pytest.raises(ConfigError) as caught:
        Exporters().start(Otlp(metrics="grpc"), list)
    assert str(caught.value) == "environment: OTEL_*: a value is not supported by the exporter (ValueError)"
    assert caught.value.__cause__ is None
