"""The manifests build, hold what they promise, and the configuration in them works."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from exporter.admin.openapi import document
from exporter.app import utc_now
from exporter.check import examine
from exporter.settings import Settings, read_settings
from tests.authority import Authority
from tests.foreground import require
from tests.prometheus import program

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
# docs/limits.md and docs/events.md: the last flush, deliveries that are due, the last metrics and spans.
LAST_SECONDS = 5 + 3 + 5


@functools.cache
def built(directory: Path = KUBERNETES) -> tuple[dict[str, Any], ...]:
    """What `kubectl apply --kustomize` would send."""
    kubectl = require("kubectl", "kubernetes-client")
    built = subprocess.run([kubectl, "kustomize", str(directory)], capture_output=True, text=True, check=True)
    return tuple(yaml.safe_load_all(built.stdout))


def one(kind: str, name: str = "certgauge") -> dict[str, Any]:
    [found] = [each for each in built() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = one("Deployment")["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    [found] = pod()["containers"]
    assert isinstance(found, dict)
    return found


def settings(directory: Path) -> Settings:
    """The configuration of the ConfigMap, with Secrets made up for it under `directory`."""
    authority = Authority()
    for name in ("gateway", "orders-client"):
        secret = directory / "secrets" / name
        secret.mkdir(parents=True)
        issued = authority.issue(name)
        (secret / "tls.crt").write_bytes(issued.pem)
        (secret / "tls.key").write_bytes(issued.key_pem())
    for name, key, content in (("internal-ca", "ca.crt", authority.root.pem), ("admin", "token", b"not-guessed\n")):
        (directory / "secrets" / name).mkdir()
        (directory / "secrets" / name / key).write_bytes(content)
    text = one("ConfigMap")["data"]["certgauge.yaml"].replace("/secrets/", f"{directory}/secrets/")
    (directory / "certgauge.yaml").write_text(text)
    return read_settings(directory / "certgauge.yaml", {}, ["httptools"])


def test_without_the_operator_there_is_a_base_of_its_own() -> None:
    kinds = {each["kind"] for each in built(KUBERNETES / "base")}
    assert kinds == {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"}


def test_the_whole_adds_what_the_operator_and_grafana_take() -> None:
    added = {each["kind"] for each in built()} - {each["kind"] for each in built(KUBERNETES / "base")}
    assert added == {"PrometheusRule", "ServiceMonitor"}


def test_no_secret_and_no_namespace_is_made() -> None:
    assert "Secret" not in {each["kind"] for each in built()}
    assert not [each for each in built() if "namespace" in each["metadata"]]


def test_the_pod_meets_the_restricted_standard() -> None:
    context = pod()["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 10001)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod())


def test_the_user_is_that_of_the_image() -> None:
    context = pod()["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in (ROOT / "Dockerfile").read_text("utf-8")


def test_the_pod_gets_no_token_of_the_cluster() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert one("ServiceAccount")["automountServiceAccountToken"] is False


def test_the_image_has_the_version_of_this_repository() -> None:
    assert container()["image"] == f"certgauge:{__version__}"


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_a_probe_asks_for_what_needs_no_token(probe: str) -> None:
    asked = container()[probe]["httpGet"]
    call = document()["paths"][asked["path"]]["get"]
    assert (asked["port"], call["security"]) == ("admin", [])


def test_the_ports_are_those_of_the_configuration(tmp_path: Path) -> None:
    configuration = settings(tmp_path).configuration
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert {f"0.0.0.0:{ports['proxy']}", f"0.0.0.0:{ports['admin']}"} == {
        configuration.proxy.listen,
        configuration.admin.listen,
    }


@pytest.mark.parametrize(("service", "port"), [("certgauge", "proxy"), ("certgauge-admin", "admin")])
def test_a_service_leads_to_one_listener(service: str, port: str) -> None:
    spec = one("Service", service)["spec"]
    assert [each["targetPort"] for each in spec["ports"]] == [port]
    assert spec["selector"].items() <= one("Deployment")["spec"]["template"]["metadata"]["labels"].items()


def test_the_configuration_is_fine_with_its_secrets(tmp_path: Path) -> None:
    report = examine(settings(tmp_path), utc_now())
    assert (report.exit_status, [*report.problems, *report.warnings]) == (0, [])


def test_every_file_of_the_configuration_is_mounted_as_a_directory() -> None:
    text = one("ConfigMap")["data"]["certgauge.yaml"]
    files = [word.rstrip("},") for word in text.split() if word.startswith("/secrets/")]
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    assert {str(Path(file).parent) for file in files} == {path for path in mounts if path.startswith("/secrets/")}
    # A file that is mounted by `subPath` is never renewed.
    assert not [mount for mount in mounts.values() if "subPath" in mount]


def test_secrets_are_readable_by_the_group_alone() -> None:
    modes = [volume["secret"]["defaultMode"] for volume in pod()["volumes"] if "secret" in volume]
    assert modes == [0o440] * 4


def test_what_is_written_goes_to_volumes() -> None:
    directory = (ROOT / "Dockerfile").read_text("utf-8").split("STATE_DIRECTORY=", 1)[1].split()[0]
    written = {mount["mountPath"] for mount in container()["volumeMounts"] if not mount.get("readOnly")}
    assert written == {directory, "/tmp"}


def test_there_is_time_to_drain_before_the_end(tmp_path: Path) -> None:
    [*_, pause] = container()["lifecycle"]["preStop"]["exec"]["command"]
    drain = settings(tmp_path).configuration.proxy.drain_timeout_seconds
    assert pod()["terminationGracePeriodSeconds"] >= int(pause) + drain + LAST_SECONDS


def test_the_admin_listener_is_reached_from_the_monitoring_alone() -> None:
    policy = one("NetworkPolicy")["spec"]
    allowed = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    monitoring = {"kubernetes.io/metadata.name": "monitoring"}
    assert allowed["admin"] == [{"namespaceSelector": {"matchLabels": monitoring}}]
    # A selector that is empty, without one for namespaces: the pods of this namespace.
    assert allowed["proxy"] == [{"podSelector": {}}]
    assert policy["podSelector"] == one("Deployment")["spec"]["selector"]


def test_a_node_with_the_only_replica_can_be_drained() -> None:
    budget = one("PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["selector"]) == (1, one("Deployment")["spec"]["selector"])


def test_prometheus_finds_the_admin_service() -> None:
    monitor = one("ServiceMonitor")["spec"]
    labels = one("Service", "certgauge-admin")["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert not monitor["selector"]["matchLabels"].items() <= one("Service")["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["path"] in document()["paths"]
    assert labels[monitor["jobLabel"]] == "certgauge"


@pytest.mark.parametrize("name", ["prometheusrule.yaml", "dashboards.yaml"])
def test_a_written_manifest_is_what_the_script_writes(name: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "manifests"), str(tmp_path)], check=True)
    assert (KUBERNETES / "monitoring" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_operator_gets_the_rules_that_prometheus_gets(tmp_path: Path) -> None:
    files = sorted((ROOT / "dashboards" / "alerts").glob("*.rules.yaml"))
    expected = [group for file in files for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    groups = one("PrometheusRule")["spec"]["groups"]
    assert groups == expected
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    checked = subprocess.run(
        [program("promtool"), "check", "rules", str(tmp_path / "rules.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_grafana_gets_the_boards_as_they_are() -> None:
    boards = {
        name: json.loads(text)
        for each in built()
        if each["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
        for name, text in each["data"].items()
    }
    assert boards == {file.name: json.loads(file.read_text("utf-8")) for file in (ROOT / "dashboards").glob("*.json")}


def test_nothing_is_too_large_for_the_cluster() -> None:
    assert max(len(json.dumps(each)) for each in built()) < 1_000_000
