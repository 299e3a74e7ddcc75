"""The documentation is true: what it lists is what there is, and what it shows works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from exporter.admin.certs import row
from exporter.admin.openapi import document
from exporter.app import utc_now
from exporter.attempts import RetryPolicy
from exporter.certcheck.certificate import InvalidReason, read_certificate
from exporter.certcheck.chain import ChainPosition
from exporter.certcheck.events import REASON_WORDS, ROLE_WORDS, EventKind, ExpiryEvent
from exporter.certcheck.expiry import ExpiryPolicy, State
from exporter.certcheck.inventory import entries_of
from exporter.certcheck.slot import Observation, Role, Slot
from exporter.certcheck.tally import ErrorReason, Outcome
from exporter.certcheck.usage import User
from exporter.certcheck.users import Users
from exporter.check import examine
from exporter.config import ApiDefinition, ApiMonitor, Configuration
from exporter.handler_entry import Handler, Webhook
from exporter.handlers import read_handlers
from exporter.proxy.errors import Refusal
from exporter.settings import read_settings
from exporter.sinks.sandbox import environment
from exporter.telemetry import names
from exporter.telemetry.event_log import _NAMES
from exporter.telemetry.names import Instrument, Kind
from exporter.watch_entry import WatchEntry
from tests.authority import Authority
from tests.fakes import NOON

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "exporter" / "sinks" / "templates"
PAGES = sorted(str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
INSTRUMENTS = [each for each in vars(names).values() if isinstance(each, Instrument)]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TABLE = re.compile(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
INSTALLER = re.compile(r"\b(apt|apt-get|brew|docker|git|make|npm|pip|pipx|poetry|python3?|uv)\b")


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    return [body for found, body in FENCED.findall(text_of(page)) if found == language]


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the tables under a heading, as cells without code marks."""
    section = re.split(r"^#+ ", text_of(page).split(f"# {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    lines = "".join(TABLE.findall(section)).replace("`", "").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a model as the documentation writes it, with its default."""
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is None:
            yield prefix + name, default_of(field)
        else:
            step = ".NAME" if get_origin(field.annotation) is dict else ""
            yield from keys_of(inner, f"{prefix}{name}{step}.")


def model_in(annotation: Any) -> type[BaseModel] | None:
    for each in (annotation, *get_args(annotation)):
        # Its keys are the gateway's, and stand there.
        if isinstance(each, type) and issubclass(each, BaseModel) and each is not ApiMonitor:
            return each
    return None


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, str):
        return default
    if isinstance(default, float):
        return f"{default:g}"
    return "{}" if isinstance(default, ApiMonitor) else json.dumps(default)


def anchors(page: str) -> set[str]:
    """The fragments of a page's headings, as they are made where the pages are read."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def relative_links() -> list[tuple[str, str]]:
    found = ((page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", text_of(page))))
    return [(page, link) for page, link in found if "://" not in link]


def write_and_read(directory: Path, config: str) -> int:
    """The exit status of `certgauge check` for a configuration beside real certificates."""
    (directory / "certs").mkdir()
    authority = Authority()
    for name in ("orders", "gateway"):
        authority.issue(name).write(directory / "certs", name)
    (directory / "certs" / "internal-ca.pem").write_bytes(authority.root.pem)
    (directory / "certs" / "orders.pass").write_text("not needed: the key is not encrypted")
    (directory / "certgauge.yaml").write_text(config)
    return examine(read_settings(directory / "certgauge.yaml", {}, ["httptools"]), utc_now()).exit_status


def test_the_readme_has_two_set_up_commands_and_no_others() -> None:
    assert "".join(blocks("README.md", "sh")).splitlines() == ["scripts/demo", "scripts/test"]
    others = [body for language, body in FENCED.findall(text_of("README.md")) if language != "sh"]
    assert not [body for body in others if INSTALLER.search(body) or "scripts/" in body]


@pytest.mark.parametrize("page", ["README.md", "docs/configuration.md"])
def test_the_first_configuration_of_a_page_works(page: str, tmp_path: Path) -> None:
    assert write_and_read(tmp_path, blocks(page, "yaml")[0]) == 0


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Gateway file", Configuration),
        ("Watched files", WatchEntry),
        ("API definition", ApiDefinition),
        ("Handlers", Handler),
    ],
)
def test_every_configuration_key_is_documented_with_its_default(heading: str, model: type[BaseModel]) -> None:
    assert [(key, default) for key, _, default, *_ in rows("docs/configuration.md", heading)] == list(keys_of(model))


def test_every_ready_made_template_is_documented_and_there() -> None:
    documented = [row[0] for row in rows("docs/webhooks.md", "Ready-made templates")]
    template = get_args(get_args(Webhook.model_fields["template"].annotation)[0])
    assert documented == list(template)
    assert sorted(documented) == sorted(each.name.split(".")[0] for each in TEMPLATES.iterdir())


@pytest.mark.parametrize("block", range(5))
def test_what_the_page_on_webhooks_configures_can_be_configured(block: int, tmp_path: Path) -> None:
    (tmp_path / "webhook.secret").write_text("A" * 44)
    (tmp_path / "internal-ca.pem").write_bytes(Authority().root.pem)
    text = blocks("docs/webhooks.md", "yaml")[block]
    (tmp_path / "certgauge.yaml").write_text(f"{text}certificates: {{internal-ca: {{cert_file: internal-ca.pem}}}}\n")
    names = re.findall(r"\$\{(\w+)\}", text)
    settings = read_settings(tmp_path / "certgauge.yaml", dict.fromkeys(names, "https://hooks.test/"), ["httptools"])
    assert read_handlers(settings, ()).problems == ()


def test_waits_are_those_of_the_documentation() -> None:
    waits = [row[1] for row in rows("docs/webhooks.md", "Retries")]
    policy = RetryPolicy(lambda: 1.0)
    bounds = [policy.next_at(attempts, NOON, NOON) for attempts in range(1, 11)]
    assert waits == [f"{(at - NOON).seconds} s" for at in bounds if at is not None]


def test_filters_are_those_of_the_documentation() -> None:
    section = text_of("docs/webhooks.md").split("- Filters: ", 1)[1].split("\n- ", 1)[0]
    filters = set(re.findall(r"`(\w+)(?:\(\w+\))?`", section))
    assert filters == set(environment(str, str).filters) - {"d", "escape"}


def test_every_metric_is_documented() -> None:
    suffix = {Kind.COUNTER: "_total"}
    expected = [[m.name, m.family + suffix.get(m.kind, ""), m.kind.value, m.unit or "none"] for m in INSTRUMENTS]
    assert [row[:4] for row in rows("docs/metrics.md", "Metrics")] == expected


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.name)
def test_every_metric_has_a_query(instrument: Instrument) -> None:
    suffix = {Kind.COUNTER: "_total", Kind.HISTOGRAM: "_(bucket|count)"}.get(instrument.kind, "")
    assert re.search(rf"\b{instrument.family}{suffix}\b", "".join(blocks("docs/metrics.md", "promql")))


def test_every_query_can_be_parsed(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    rules = [{"record": f"q{n}", "expr": query} for n, query in enumerate(blocks("docs/metrics.md", "promql"))]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "docs", "rules": rules}]}))
    checked = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("page", "heading", "values"),
    [
        ("docs/metrics.md", "Values of `cert_role`", Role),
        ("docs/metrics.md", "Values of `chain_position`", ChainPosition),
        ("docs/metrics.md", "Values of `state`", State),
        ("docs/metrics.md", "Values of `outcome` of observations", Outcome),
        ("docs/metrics.md", "Values of `reason` of errors", ErrorReason),
        ("docs/events.md", "Kinds", EventKind),
        ("docs/events.md", "Messages", EventKind),
        ("docs/events.md", "Roles", Role),
        ("docs/events.md", "Reasons", InvalidReason),
    ],
)
def test_every_value_of_a_fixed_set_is_documented(page: str, heading: str, values: type[StrEnum]) -> None:
    assert [row[0] for row in rows(page, heading)] == list(values)


def test_events_have_the_names_and_severities_of_the_documentation() -> None:
    expected = [[kind.value, name, severity] for kind, (name, _, severity) in _NAMES.items()]
    assert [row[:3] for row in rows("docs/events.md", "Kinds")] == expected


def test_messages_have_the_words_of_the_documentation() -> None:
    assert {row[0]: row[1] for row in rows("docs/events.md", "Roles")} == ROLE_WORDS
    assert {row[0]: row[1] for row in rows("docs/events.md", "Reasons")} == REASON_WORDS


def test_every_field_of_a_row_is_documented() -> None:
    reading = replace(read_certificate(Authority().issue("orders-client").der), invalid=InvalidReason.OTHER, detail="x")
    place = ("orders-client", "orders.internal", 8443, "10.0.0.1")
    observation = Observation("orders", Role.UPSTREAM, (reading, reading), *place)
    observation.usage.last_observed_at = NOON
    fields = set(row(entries_of(observation, ExpiryPolicy())[0], NOON))
    documented = {
        name.strip("` ") for names, _ in rows("docs/configuration.md", "Rows of `/certs`") for name in names.split(",")
    }
    event = set(json.loads(blocks("docs/events.md", "json")[0])) | {"reason", "network_peer_address"}
    assert documented <= fields
    assert fields - documented <= event


def test_the_payload_of_the_documentation_has_the_fields_of_an_event() -> None:
    certificate = read_certificate(Authority().issue("orders-client").der).certificate
    slot = Slot("orders", Role.UPSTREAM, "orders-client", "orders.internal", 8443)
    event = ExpiryEvent(
        EventKind.EXPIRING_SOON, "1", slot, NOON, certificate, used_by=Users.of((User("orders", NOON, 4711),))
    )
    assert list(json.loads(blocks("docs/events.md", "json")[0])) == list(event.payload())


def test_every_answer_of_the_proxy_is_documented() -> None:
    documented = [row[:2] for row in rows("docs/configuration.md", "What the proxy answers")]
    assert documented == sorted(documented, key=lambda row: row[0])
    assert sorted(documented) == sorted([str(refusal.status), refusal.code] for refusal in Refusal)


def test_every_call_of_the_admin_listener_is_documented() -> None:
    calls = {f"{verb.upper()} {path}" for path, item in document()["paths"].items() for verb in item}
    documented = {row[0] for row in rows("docs/configuration.md", "Admin listener")} - {"GET /"}
    assert documented == {call for call in calls if not call.startswith("PARAMETERS")} - {"GET /"}


def test_every_module_is_in_the_architecture() -> None:
    modules = {path.relative_to(ROOT / "exporter").as_posix() for path in (ROOT / "exporter").rglob("*.py")}
    documented = [row[0] for row in rows("docs/architecture.md", "Files")]
    assert sorted(documented) == sorted(name for name in modules if not Path(name).name.startswith("__"))


@pytest.mark.parametrize(("page", "link"), relative_links())
def test_a_relative_link_leads_somewhere(page: str, link: str) -> None:
    path, _, fragment = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    assert target.exists()
    assert not fragment or fragment in anchors(str(target.resolve().relative_to(ROOT)))


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_as_yaml_or_json_can_be_parsed(page: str) -> None:
    for block in blocks(page, "yaml"):
        yaml.safe_load(block)
    for block in blocks(page, "json"):
        json.loads(block)
