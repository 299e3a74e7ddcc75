"""Names in certificates that would break out of what they are put into: every payload is valid, every line is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.authority import DAY, Authority
from tests.process import run, wait_until
from tests.receivers import attributes, http_receiver
from tests.wire.events import Receiver, configure, receiver

NAMES = {
    "quotes": '"\'`\\" }],\\',
    "lines": "one\ntwo\r\nthree\x0bfour\x0cfive\x85six\u2028seven\u2029eight",
    "markup": "<script>1</script>&lt;*_~`@here <!channel> [x](javascript:1)",
    "right to left": "\u202egro.elpmaxe\u202c\u2066\u200f\ufeff",
    "NUL": "before\0after",
    "controls": "\x01\x1b[31m\x07\x7f\x9b",
    "template": "{{ 7 * 7 }}{% raw %}${HOME}#{1}",
    "fields": 'x event=CertificateRenewed level=INFO message="all is well"',
    "beyond the plane": "\U0001f600\U000e0041\uffff",
}
TEMPLATES = ("slack", "teams", "pagerduty", "alertmanager")
OWN = '{"name": "{{ cert_name }}", "issuer": {{ issuer | tojson }}, "all": {{ payload | tojson }}}'


@dataclass(frozen=True)
class World:
    heard: Receiver
    log: str
    records: list[dict[str, Any]]
    bodies: list[str]
    """Of the log records."""
    cert_ids: dict[str, str]

    def name_of(self, cert_id: str) -> str:
        return next(name for name, known in self.cert_ids.items() if known == cert_id)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("hostile")
    issued = {name: Authority(text, left=10 * DAY).root for name, text in NAMES.items()}
    (directory / "bundle.pem").write_bytes(b"".join(each.pem for each in issued.values()))
    (directory / "own.j2").write_text(OWN)
    with ExitStack() as stack:
        heard, collector = stack.enter_context(receiver()), stack.enter_context(http_receiver())
        handlers: dict[str, dict[str, Any]] = {"default": {"url": f"{heard.url}/default"}}
        handlers |= {name: {"url": f"{heard.url}/{name}", "template": name} for name in TEMPLATES}
        handlers["pagerduty"]["variables"] = {"routing_key": "0123456789abcdef0123456789abcdef"}
        handlers["own"] = {"url": f"{heard.url}/own", "template_file": "own.j2"}
        exporting = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{collector.url}/v1/logs"}
        with run(configure(directory, directory, handlers), more=exporting) as process:
            heard.wait(lambda: len(heard.told) == len(handlers) * len(NAMES))
            wait_until(lambda: len(collector.received.records()) == len(NAMES))
        records = collector.received.records()
        yield World(
            heard,
            process.errors,
            [dict(attributes(each.attributes)) for each in records],
            [each.body.string_value for each in records],
            {name: each.cert_id for name, each in issued.items()},
        )


@pytest.mark.parametrize("path", ["default", *TEMPLATES, "own"])
def test_every_body_is_valid_json_and_tells_of_its_certificate(world: World, path: str) -> None:
    told = world.heard.asked(f"/{path}")
    assert len(told) == len({each.event_id for each in told}) == len(NAMES)
    for each in told:
        assert each.headers["content-type"] == "application/json"
        assert each.body.isascii()
        assert isinstance(json.loads(each.body, parse_constant=_refuse), dict | list)


def test_the_own_template_and_the_default_tell_the_same(world: World) -> None:
    plain = {each.event_id: json.loads(each.body) for each in world.heard.asked("/default")}
    for each in world.heard.asked("/own"):
        body = json.loads(each.body)
        assert body["all"] == plain[each.event_id]
        assert (body["name"], body["issuer"]) == (body["all"]["cert_name"], body["all"]["issuer"])


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_but_for_what_cannot_be_shown(world: World, name: str) -> None:
    [payload] = [
        json.loads(each.body) for each in world.heard.asked("/default") if each.cert_id == world.cert_ids[name]
    ]
    shown = "".join(c if c.isprintable() else "\ufffd" for c in NAMES[name])
    assert payload["cert_name"] == shown


def test_the_log_record_has_what_the_webhook_has(world: World) -> None:
    plain = {each.cert_id: json.loads(each.body) for each in world.heard.asked("/default")}
    assert {record["cert_id"] for record in world.records} == {*plain}
    for record, body in zip(world.records, world.bodies, strict=True):
        payload = plain[str(record["cert_id"])]
        assert body == payload["message"]
        for key, value in payload.items():
            assert record[key] == value, key


def test_every_log_line_is_one_line_that_shows_no_control_character(world: World) -> None:
    lines = world.log.removesuffix("\n").split("\n")
    assert lines == world.log.splitlines()
    assert all(line.startswith("time=") and line.isprintable() for line in lines)
    events = [line for line in lines if " logger=certgauge.events " in line]
    assert len(events) == len(NAMES)
    for name, cert_id in world.cert_ids.items():
        assert sum(f" cert_id={cert_id} " in line for line in events) == 1, name


def test_a_name_adds_no_field_to_its_line(world: World) -> None:
    [line] = [
        each
        for each in world.log.splitlines()
        if f" cert_id={world.cert_ids['fields']} " in each and ".events " in each
    ]
    assert line.count(" level=WARNING ") == 1
    assert 'cert_name="x event=CertificateRenewed level=INFO message=\\"all is well\\""' in line


def _refuse(name: str) -> None:
    raise AssertionError(name)
