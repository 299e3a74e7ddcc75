"""The configuration as a whole: files, globs, definitions, what an API inherits."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from exporter.config import ApiDefinition, Configuration, GatewayMonitor
from exporter.problems import ConfigError
from exporter.settings import Settings, read_definition, read_settings, warnings
from exporter.strict import REDACTED
from tests.served import definition, write

CORES = ["httptools"]


def read(directory: Path, document: dict[str, Any], **environment: str) -> Settings:
    write(directory, "certgauge.yaml", document)
    return read_settings(directory / "certgauge.yaml", environment, CORES)


def refused(directory: Path, document: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(directory, document)
    return [str(each).removeprefix(f"{directory}/") for each in error.value.problems]


def ids(settings: Settings) -> list[str]:
    return [each.api.api_id for each in settings.apis]


def test_an_empty_mapping_takes_every_default(tmp_path: Path) -> None:
    assert read(tmp_path, {}).configuration == Configuration()


def test_definitions_come_from_files_globs_and_inline(tmp_path: Path) -> None:
    (tmp_path / "more" / "deep").mkdir(parents=True)
    for name in ("one.yaml", "more/a.yaml", "more/b.yaml", "more/deep/c.yaml"):
        write(tmp_path, name, definition(Path(name).stem))
    settings = read(tmp_path, {"apis": ["one.yaml", "more/**/*.yaml", definition("inline"), "none-*.yaml"]})
    assert ids(settings) == ["one", "a", "b", "c", "inline"]


def test_a_file_is_read_once_however_many_patterns_it_matches(tmp_path: Path) -> None:
    write(tmp_path, "api-a.yaml", definition("a"))
    # The gateway's own file is no definition either.
    assert ids(read(tmp_path, {"apis": ["api-a.yaml", "api-*.yaml", "*.yaml"]})) == ["a"]


def test_a_directory_may_have_a_name_like_a_pattern(tmp_path: Path) -> None:
    directory = tmp_path / "conf[1]"
    directory.mkdir()
    write(directory, "a.yaml", definition("a"))
    assert ids(read(directory, {"apis": ["*.yaml"]})) == ["a"]


def test_a_file_with_a_name_that_is_not_utf_8_can_be_named_in_a_message(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"api-\xff.yaml")).write_text("{}")
    lines = refused(tmp_path, {"apis": ["api-*.yaml"]})
    assert lines[0] == "api-\N{REPLACEMENT CHARACTER}.yaml: api_id: is required"
    assert json.dumps(lines, ensure_ascii=False).encode()


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    entry = {"cert_file": "certs/a.pem", "key_file": "certs/a.key", "passphrase_file": "/run/secrets/a"}
    files = read(tmp_path, {"certificates": {"a": entry}}).certificate_files("a")
    assert list(files.paths()) == [tmp_path / "certs/a.pem", tmp_path / "certs/a.key", Path("/run/secrets/a")]


def test_a_passphrase_may_come_from_the_environment_and_is_never_shown(tmp_path: Path) -> None:
    entry = {"cert_file": "a.p12", "passphrase": "${ORDERS_PASSPHRASE}"}
    settings = read(tmp_path, {"certificates": {"a": entry}}, ORDERS_PASSPHRASE="canary é")
    assert settings.certificate_files("a").passphrase == "canary é".encode()
    for shown in (repr(settings), settings.configuration.model_dump_json(), repr(settings.certificate_files("a"))):
        assert "canary" not in shown


def test_a_passphrase_is_given_once(tmp_path: Path) -> None:
    entry = {"cert_file": "a.p12", "passphrase": "canary", "passphrase_file": "a.pass"}
    assert refused(tmp_path, {"certificates": {"a": entry}}) == [
        "certgauge.yaml: certificates.a: give passphrase or passphrase_file, not both"
    ]


def test_the_token_is_the_files_one_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    settings = read(tmp_path, {"admin": {"listen": "0.0.0.0:9464", "token_file": "token"}})
    assert settings.token == b"secret"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.8.8:0", "[::1]:0"])
def test_on_loopback_no_token_is_needed(tmp_path: Path, listen: str) -> None:
    assert read(tmp_path, {"admin": {"listen": listen}}).token is None


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:0", "[::]:0", "[2001:db8::1]:0"])
def test_off_loopback_a_token_is_needed(tmp_path: Path, listen: str) -> None:
    assert refused(tmp_path, {"admin": {"listen": listen}}) == [
        "certgauge.yaml: admin.token_file: is required: admin.listen is not a loopback address"
    ]


def test_both_listeners_may_ask_for_a_free_port(tmp_path: Path) -> None:
    assert read(tmp_path, {"proxy": {"listen": "127.0.0.1:0"}, "admin": {"listen": "127.0.0.1:0"}})


def test_variables_reach_definitions_in_files_too(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", definition("a", "https://${HOST}/", preserve_host_header="${KEEP}"))
    write(tmp_path, "a.yaml", (tmp_path / "a.yaml").read_text().replace("'${KEEP}'", "${KEEP}").replace('"', ""))
    [defined] = read(tmp_path, {"apis": ["a.yaml"]}, HOST="orders.internal", KEEP="true").apis
    assert (defined.api.target.host, defined.api.preserve_host_header) == ("orders.internal", True)


def test_a_glob_may_match_nothing_but_a_name_may_not(tmp_path: Path) -> None:
    assert ids(read(tmp_path, {"apis": ["none-*.yaml"]})) == []
    assert refused(tmp_path, {"apis": ["none.yaml"]}) == ["certgauge.yaml: apis[0]: there is no file none.yaml"]


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(b"#" * (16 * 1024 * 1024 + 1))
    assert refused(tmp_path, {"apis": ["large.yaml"]}) == ["large.yaml: is larger than 16 MiB"]


def test_everything_that_was_read_is_watched(tmp_path: Path) -> None:
    write(tmp_path, "api-a.yaml", definition("a"))
    (tmp_path / "token").write_text("secret")
    settings = read(
        tmp_path,
        {
            "admin": {"token_file": "token"},
            "certificates": {"c": {"cert_file": "c.pem", "key_file": "c.key"}},
            "apis": ["api-*.yaml"],
        },
    )
    names = ["certgauge.yaml", "api-a.yaml", "token", "c.pem", "c.key"]
    assert settings.watched.files == {str(tmp_path / name) for name in names}
    assert settings.watched.globs == {str(tmp_path / "api-*.yaml")}
    assert settings.watched.sight == settings.watched.look()


def test_an_api_inherits_what_it_does_not_say() -> None:
    gateway = GatewayMonitor(warning_threshold_days=14, check_on_load=False, flush_interval_seconds=5)
    api = ApiDefinition.model_validate(definition(certificate_expiry_monitor={"warning_threshold_days": 0}))
    monitor = gateway.with_overrides(api.certificate_expiry_monitor)
    assert (monitor.warning_threshold_days, monitor.check_on_load, monitor.flush_interval_seconds) == (0, False, 5)


@pytest.mark.parametrize(
    ("api", "gateway", "reference"),
    [
        ({}, {}, None),
        ({}, {"*": "g"}, "g"),
        ({"*": "a"}, {"orders.internal:8443": "g"}, "a"),
        ({"billing.internal": "a"}, {"*.internal": "g"}, "g"),
    ],
)
def test_the_apis_own_certificates_come_before_the_gateways(
    api: dict[str, str], gateway: dict[str, str], reference: str | None
) -> None:
    defined = ApiDefinition.model_validate(definition(upstream_certificates=api))
    assert Configuration(upstream_certificates=gateway).upstream_reference(defined) == reference


@pytest.mark.parametrize("more", [{"upstream_certificates_disabled": True}, {"target_url": "http://orders.internal/"}])
def test_some_apis_present_none(more: dict[str, Any]) -> None:
    defined = ApiDefinition.model_validate({**definition(upstream_certificates={"*": "a"}), **more})
    assert Configuration(upstream_certificates={"*": "g"}).upstream_reference(defined) is None


@pytest.mark.parametrize(
    ("api", "warning"),
    [
        (
            definition(target="http://a/", upstream_certificates={"a": "c"}),
            "upstream_certificates: is never used: target_url is not https",
        ),
        (
            definition(target="https://a/", upstream_certificates={"b": "c"}),
            "upstream_certificates: has no key that matches target_url",
        ),
        (
            definition(target="https://127.0.0.1/", upstream_certificates={"*": "c"}),
            "upstream_certificates: has no key that matches target_url (an IP address matches only exactly)",
        ),
    ],
)
def test_what_is_hardly_meant_is_a_warning(tmp_path: Path, api: dict[str, Any], warning: str) -> None:
    settings = read(tmp_path, {"certificates": {"c": {"cert_file": "c.pem"}}, "apis": [api]})
    assert [each.message for each in warnings(settings)] == [warning.partition(": ")[2]]
    assert [str(each) for each in warnings(settings)] == [f"{tmp_path}/certgauge.yaml: apis[0].{warning}"]


def sent(document: Any, api_id: str = "orders") -> list[str]:
    with pytest.raises(ConfigError) as error:
        read_definition(json.dumps(document).encode(), api_id)
    return [str(each) for each in error.value.problems]


def test_a_definition_that_is_sent_may_leave_its_id_to_the_path() -> None:
    body = {"listen_path": "/orders/", "target_url": "https://orders.internal/"}
    assert read_definition(json.dumps(body).encode(), "orders").api.api_id == "orders"


def test_a_definition_that_is_sent_has_the_paths_id() -> None:
    assert sent(definition("billing")) == ["request: api_id: must be the one in the request's path"]


def test_what_was_redacted_is_not_taken_for_a_value_and_the_rest_is_told_too() -> None:
    webhook = {"url": REDACTED, "headers": {"Authorization": REDACTED}}
    handlers = {"CertificateExpired": [{"name": "ops", "webhook": webhook}]}
    assert sent(definition(event_handlers=handlers, nam="Orders")) == [
        f"request: event_handlers.CertificateExpired[0].webhook.url: is {REDACTED}: give its value",
        f"request: event_handlers.CertificateExpired[0].webhook.headers.Authorization: is {REDACTED}: give its value",
        "request: nam: is not a known key; did you mean 'name'?",
    ]
