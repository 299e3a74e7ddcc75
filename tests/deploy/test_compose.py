"""`docker compose up`, as far as that goes without an engine: the real Compose and promtool read what it is made of."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collector.collector import validate
from tests.foreground import require
from tests.prometheus import program

ROOT = Path(__file__).parents[2]
BESIDE = ROOT / "deploy" / "compose"
COLLECTOR = ROOT / "tests" / "collector"
RULES = ROOT / "dashboards" / "alerts" / "certgauge.rules.yaml"
# What is mounted where, as the file says it.
MOUNTS = re.compile(r"^ +- \./(?P<source>[^:\s]+):(?P<target>[^:\s]+):ro$", re.MULTILINE)
TEXT = (ROOT / "compose.yaml").read_text("utf-8")


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


def configured(network: str | None = None) -> dict[str, dict[str, Any]]:
    """The services as Compose understands them."""
    compose = require("docker-compose", "docker-compose")
    environment = {"PATH": "/usr/bin:/bin"} | ({"CERTGAUGE_NETWORK": network} if network else {})
    command = [compose, "-f", str(ROOT / "compose.yaml"), "config"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    services: dict[str, dict[str, Any]] = yaml.safe_load(printed)["services"]
    return services


def test_compose_takes_the_file() -> None:
    assert set(configured()) == {"certgauge", "otel-collector", "prometheus", "loki", "grafana"}


@pytest.mark.parametrize(("network", "mode"), [(None, "host"), ("service:otel-collector", "service:otel-collector")])
def test_the_network_of_the_demo_can_be_chosen(network: str | None, mode: str) -> None:
    assert configured(network)["certgauge"]["network_mode"] == mode


@pytest.mark.parametrize("source", sorted({source for source, _ in MOUNTS.findall(TEXT)}))
def test_what_is_mounted_is_there(source: str) -> None:
    assert (ROOT / source).exists()


def test_every_file_is_mounted_read_only() -> None:
    assert len(MOUNTS.findall(TEXT)) == TEXT.count("- ./")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "user"} & set(service)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"certgauge"}))
def test_an_image_has_a_whole_version(name: str) -> None:
    assert re.fullmatch(r"[a-z]+/[a-z-]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_there_is_no_secret() -> None:
    variables = {key for service in SERVICES.values() for key in service.get("environment", {})}
    assert not [key for key in variables if re.search("PASSWORD|TOKEN|SECRET|KEY|HEADERS", key)]


def test_the_demo_runs_from_this_repository() -> None:
    assert SERVICES["certgauge"]["build"] == "."
    assert SERVICES["certgauge"]["command"] == ["demo"]


def test_who_waits_for_health_waits_for_a_service_that_has_a_check() -> None:
    waits = [
        other
        for service in SERVICES.values()
        for other, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    ]
    assert waits == ["prometheus"]
    assert all("healthcheck" in SERVICES[name] for name in waits)


def test_prometheus_takes_its_configuration_with_the_rules(tmp_path: Path) -> None:
    promtool = program("promtool")
    config = shutil.copy(BESIDE / "prometheus.yaml", tmp_path)
    (tmp_path / "rules").mkdir()
    shutil.copy(RULES, tmp_path / "rules")
    checked = subprocess.run([promtool, "check", "config", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_certgauge_is_scraped_once_and_through_the_collector() -> None:
    jobs = {job["job_name"]: job for job in document(BESIDE / "prometheus.yaml")["scrape_configs"]}
    port = SERVICES["otel-collector"]["environment"]["PROMETHEUS_ENDPOINT"].rpartition(":")[2]
    assert jobs["certgauge"]["static_configs"] == [{"targets": [f"otel-collector:{port}"]}]
    assert jobs["certgauge"]["honor_labels"] is True
    assert set(jobs) == {"certgauge", "otel-collector"}


def test_the_collector_reads_every_variable_that_is_set() -> None:
    read = set(re.findall(r"\$\{env:(\w+)", (ROOT / "otel-collector.yaml").read_text("utf-8")))
    assert set(SERVICES["otel-collector"]["environment"]) <= read


def test_events_go_to_exporters_that_there_are() -> None:
    exporters = yaml.safe_load(SERVICES["otel-collector"]["environment"]["LOGS_EXPORTERS"])
    assert set(exporters) <= set(document(ROOT / "otel-collector.yaml")["exporters"])
    assert "otlp_http/loki" in exporters


def test_the_collector_takes_what_is_set() -> None:
    checked = validate(SERVICES["otel-collector"]["environment"])
    assert checked.returncode == 0, checked.stderr


def test_the_collector_is_of_the_version_that_is_tried() -> None:
    version = SERVICES["otel-collector"]["image"].rpartition(":")[2]
    assert f"exporter/prometheusexporter v{version}\n" in (COLLECTOR / "builder.yaml").read_text("utf-8")


def test_series_end_later_than_they_are_sent_twice() -> None:
    interval = int(SERVICES["certgauge"]["environment"]["OTEL_METRIC_EXPORT_INTERVAL"])
    expiration = SERVICES["otel-collector"]["environment"]["METRIC_EXPIRATION"].removesuffix("s")
    assert int(expiration) * 1000 > 2 * interval


def test_loki_keeps_what_otlp_brings() -> None:
    loki = document(BESIDE / "loki.yaml")
    assert loki["schema_config"]["configs"][-1]["schema"] == "v13"
    assert loki["limits_config"]["allow_structured_metadata"] is True
    assert SERVICES["otel-collector"]["environment"]["LOKI_ENDPOINT"] == "http://loki:3100/otlp"
    assert loki["server"]["http_listen_port"] == 3100


def test_grafana_knows_both_sources_by_the_uids_of_the_boards() -> None:
    sources = document(BESIDE / "grafana" / "datasources" / "datasources.yaml")["datasources"]
    assert {each["uid"]: each["url"] for each in sources} == {
        "prometheus": "http://prometheus:9090",
        "loki": "http://loki:3100",
    }


def test_grafana_finds_the_boards_where_they_are_mounted() -> None:
    [provider] = document(BESIDE / "grafana" / "dashboards" / "dashboards.yaml")["providers"]
    boards = {target for source, target in MOUNTS.findall(TEXT) if source.endswith(".json")}
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert {str(Path(board).parent) for board in boards} == {provider["options"]["path"]}
    assert home in boards
