"""From a document to a model: where a problem is, and what would be right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from exporter.config import ApiDefinition, Configuration
from exporter.problems import ConfigError
from exporter.validation import did_you_mean, unknown_references, validate

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "exporter" / "schema"
API = {"api_id": "a", "listen_path": "/a/", "target_url": "http://a/"}


def lines(model: type[BaseModel], document: Any) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        validate(model, document, "f")
    return [str(each) for each in refused.value.problems]


@pytest.mark.parametrize("name", ["file", "definition", "a.b", "ü"])
def test_a_path_is_the_one_in_the_document_whatever_a_key_is_called(name: str) -> None:
    [line] = lines(Configuration, {"certificates": {name: {}}})
    assert (
        line
        == f"f: certificates.{name if name.isascii() and name.isalpha() else json.dumps(name)}.cert_file: is required"
    )


def test_a_path_leads_into_an_inline_definition() -> None:
    assert lines(Configuration, {"apis": ["x.yaml", API | {"name": 1}]}) == [
        'f: apis[1].name: must be text; put "quotes" around it'
    ]


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({"proxy": {"tls": {"certificat": "a", "certificate": "a"}}}, "proxy.tls.certificat: is not a known key"),
        ({"admin": {"tls": {"certificat": "a", "certificate": "a"}}}, "admin.tls.certificat: is not a known key"),
        ({"certificates": {"a": {"cert_file": "a", "cert": "a"}}}, "certificates.a.cert: is not a known key"),
        ({"apis": [API | {"nam": "a"}]}, "apis[0].nam: is not a known key"),
        (
            {"event_handlers": {"CertificateExpired": [{"name": "a", "webhook": {"url": "http://a", "header": {}}}]}},
            "event_handlers.CertificateExpired[0].webhook.header: is not a known key",
        ),
    ],
)
def test_an_unknown_key_gets_a_suggestion_wherever_it_stands(document: Any, line: str) -> None:
    [found] = lines(Configuration, document)
    assert found.startswith(f"f: {line}; did you mean '")


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [("orders-clent", "; did you mean 'orders-client'?"), ("zebra", ""), ("", "")],
)
def test_a_suggestion_is_made_only_where_one_is_close(word: str, suggestion: str) -> None:
    assert did_you_mean(word, ["orders-client", "billing-client"]) == suggestion


def test_unknown_references_are_found_in_a_document_that_is_wrong_otherwise() -> None:
    document = {"proxy": 3, "upstream_certificates": {"a": "x", "b": 4, "c": "known"}, "upstream_ca": ["x"]}
    [problem] = unknown_references(document, {"known": None}, "f")
    assert str(problem) == "f: upstream_certificates.a: no certificate is named 'x'"


@pytest.mark.parametrize("known", [["x"], "x", 3])
def test_where_the_certificates_themselves_are_wrong_nothing_is_said_of_references(known: Any) -> None:
    assert list(unknown_references({"upstream_ca": "x"}, known, "f")) == []


@pytest.mark.parametrize("value", [0, 0.0])
def test_0_is_0_and_not_the_default(value: float) -> None:
    keys = ("warning_threshold_days", "warning_lifetime_fraction", "check_cooldown_seconds", "event_cooldown_seconds")
    monitor = validate(Configuration, {"certificate_expiry_monitor": dict.fromkeys(keys, value)}, "f")
    assert [getattr(monitor.certificate_expiry_monitor, key) for key in keys] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:0", "0.0.0.0:8080", "[::1]:65535", "[::]:0", "255.255.255.255:1", "[::ffff:127.0.0.1]:1"]
)
def test_an_address_is_an_ip_address_and_a_port(listen: str) -> None:
    assert validate(Configuration, {"proxy": {"listen": listen}}, "f").proxy.listen == listen


@pytest.mark.parametrize(
    "listen", ["", ":", ":80", "127.0.0.1:", "127.0.0.1:-1", "[::1:80", "::1]:80", "127.1:80", "1:2:3"]
)
def test_anything_else_is_no_address(listen: str) -> None:
    [line] = lines(Configuration, {"proxy": {"listen": listen}})
    assert line.startswith("f: proxy.listen: must ")


def test_committed_schemas_are_those_of_the_models(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "schema", tmp_path], check=True, cwd=ROOT)
    fresh = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert fresh == {path.name: path.read_text("utf-8") for path in SCHEMAS.iterdir()}


@pytest.mark.parametrize(
    ("name", "model"), [("certgauge.schema.json", Configuration), ("api.schema.json", ApiDefinition)]
)
def test_a_schema_knows_every_key_and_no_other(name: str, model: type[BaseModel]) -> None:
    schema = json.loads((SCHEMAS / name).read_text("utf-8"))
    assert schema["additionalProperties"] is False
    assert schema["properties"].keys() == model.model_fields.keys()


def test_in_a_schema_a_secret_is_text_like_any_other() -> None:
    webhook = json.loads((SCHEMAS / "api.schema.json").read_text("utf-8"))["$defs"]["Webhook"]["properties"]
    assert webhook["url"] == {"type": "string"}
    assert webhook["headers"]["additionalProperties"] == {"type": "string"}


def test_in_a_schema_a_number_may_come_from_a_variable() -> None:
    monitor = json.loads((SCHEMAS / "certgauge.schema.json").read_text("utf-8"))["$defs"]["GatewayMonitor"]
    number, variable = monitor["properties"]["flush_interval_seconds"]["anyOf"]
    assert number == {"maximum": 86400, "minimum": 1, "type": "number"}
    assert variable["type"] == "string"
