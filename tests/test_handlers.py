"""From what is configured of handlers to receivers; what cannot be used is said, and the rest is used."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.attempts import Delivered
from exporter.certcheck.events import EventKind
from exporter.certificates.tls import LazyContexts
from exporter.check import examine
from exporter.handlers import Handlers, read_handlers, sink_of
from exporter.problems import ConfigError
from exporter.settings import Settings, read_definition, read_settings
from tests.authority import Authority
from tests.fakes import NOON
from tests.served import definition, write
from tests.sinks.scripted import scripted
from tests.sinks.test_webhook import served_by

URL = "https://hooks.internal/canary"
UNTIL = "nothing is sent to 'ops' until that is right"
SECRET = base64.b64encode(bytes(range(32))).decode()


def hook(name: str = "ops", **webhook: Any) -> dict[str, Any]:
    return {"name": name, "webhook": {"url": URL, **webhook}}


def settings(directory: Path, handlers: Any, **more: Any) -> Settings:
    """The gateway's file, with these handlers and whatever else."""
    write(directory, "certgauge.yaml", {"event_handlers": handlers, **more})
    return read_settings(directory / "certgauge.yaml", {"TOKEN": "canary-token"}, ["httptools"])


def read(directory: Path, handlers: Any, **more: Any) -> Handlers:
    found = settings(directory, handlers, **more)
    return read_handlers(found, found.apis)


def said(directory: Path, handlers: Handlers) -> list[str]:
    return [str(each).replace(f"{directory}/", "") for each in handlers.problems]


# Who is told of what.


def test_an_apis_list_replaces_the_gateways_for_that_event(tmp_path: Path) -> None:
    own = {"CertificateExpired": [hook("mine"), hook("both")], "CertificateRenewed": []}
    handlers = read(
        tmp_path,
        {"CertificateExpired": [hook("all")], "CertificateRenewed": [hook("all")], "CertificateInvalid": [hook("all")]},
        apis=[definition("orders", event_handlers=own), definition("plain")],
    )
    assert handlers.routes["orders"] == {
        EventKind.EXPIRED: ("orders/mine", "orders/both"),
        EventKind.RENEWED: (),
        EventKind.INVALID: ("/all",),
    }
    assert handlers.routes["plain"] == handlers.routes[None]
    assert handlers.routes[None][EventKind.EXPIRED] == ("/all",)
    assert handlers.receivers.keys() == {"/all", "orders/mine", "orders/both"}
    assert handlers.problems == ()


def test_the_same_name_in_two_apis_is_two_handlers(tmp_path: Path) -> None:
    events = [{"CertificateExpired": [hook(headers={"X-Key": each})]} for each in "ab"]
    apis = [definition(name, event_handlers=each) for name, each in zip("ab", events, strict=True)]
    handlers = read(tmp_path, {}, apis=apis)
    assert [handlers.receivers[f"{each}/ops"].headers for each in "ab"] == [(("X-Key", "a"),), (("X-Key", "b"),)]


def test_a_handler_that_is_disabled_is_told_nothing_and_that_is_said(tmp_path: Path) -> None:
    handlers = read(tmp_path, {"CertificateExpired": [hook() | {"disabled": True}, hook("other")]})
    assert handlers.routes[None][EventKind.EXPIRED] == ("/other",)
    assert handlers.receivers.keys() == {"/other"}
    assert said(tmp_path, handlers) == [
        "certgauge.yaml: event_handlers.CertificateExpired[0].disabled: nothing is sent to 'ops'"
    ]


# What becomes of what is configured.


def test_every_key_reaches_the_receiver(tmp_path: Path) -> None:
    (tmp_path / "hook.j2").write_text('{"text": "{{ message }} {{ vars.key }}"}')
    (tmp_path / "old").write_text(f"whsec_{SECRET}\n")
    (tmp_path / "new").write_text(SECRET)
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.root.pem)
    webhook = hook(
        method="PUT",
        headers={"Authorization": "Bearer ${TOKEN}"},
        timeout_seconds=0.5,
        template_file="hook.j2",
        variables={"key": "${TOKEN}"},
        content_type="application/x+json; charset=utf-8",
        secret_files=["old", "new"],
        ca="internal-ca",
        allow_private=True,
    )
    handlers = read(tmp_path, {"CertificateExpired": [webhook]}, certificates={"internal-ca": {"cert_file": "ca.pem"}})
    receiver = handlers.receivers["/ops"]
    assert (receiver.url, receiver.method, receiver.timeout) == (URL, "PUT", timedelta(seconds=0.5))
    assert (receiver.headers, receiver.allow_private) == ((("Authorization", "Bearer canary-token"),), True)
    assert (receiver.content_type, receiver.keys) == ("application/x+json; charset=utf-8", (bytes(range(32)),) * 2)
    assert receiver.anchors is not None
    assert receiver.anchors.strip() == authority.root.pem.strip()
    assert receiver.body.of({"message": "m"}) == b'{"text": "m canary-token"}'
    assert "canary" not in repr(handlers)
    assert handlers.problems == ()


def test_what_a_key_leaves_out_has_its_default(tmp_path: Path) -> None:
    receiver = read(tmp_path, {"CertificateExpired": [hook()]}).receivers["/ops"]
    assert (receiver.method, receiver.timeout, receiver.keys) == ("POST", timedelta(seconds=10), ())
    assert (receiver.anchors, receiver.allow_private, receiver.body.source) == (None, False, None)


@pytest.mark.parametrize("template", ["slack", "teams", "alertmanager"])
def test_a_ready_made_template_needs_nothing_but_its_name(tmp_path: Path, template: str) -> None:
    assert read(tmp_path, {"CertificateExpired": [hook(template=template)]}).problems == ()


def test_receivers_are_equal_until_a_file_changes(tmp_path: Path) -> None:
    for name in ("hook.j2", "secret"):
        (tmp_path / name).write_text("1" if name == "hook.j2" else SECRET)
    found = settings(tmp_path, {"CertificateExpired": [hook(template_file="hook.j2", secret_file="secret")]})
    first, second = (read_handlers(found, ()).receivers["/ops"] for _ in range(2))
    assert first == second
    (tmp_path / "hook.j2").write_text("2")
    third = read_handlers(found, ()).receivers["/ops"]
    assert third == replace(first, body=third.body) != first
    (tmp_path / "secret").write_text(base64.b64encode(bytes(32)).decode())
    assert read_handlers(found, ()).receivers["/ops"] == replace(third, keys=(bytes(32),))


def test_files_of_handlers_are_watched(tmp_path: Path) -> None:
    api = definition("orders", event_handlers={"CertificateRenewed": [hook(secret_files=["c", "d"])]})
    found = settings(tmp_path, {"CertificateExpired": [hook(template_file="a.j2", secret_file="b")]}, apis=[api])
    assert {str(tmp_path / each) for each in ("a.j2", "b", "c", "d")} <= found.watched.files


async def test_a_receiver_of_an_own_authority_is_delivered_to(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.root.pem)
    async with scripted(tls=served_by(authority, "localhost")) as server:
        webhook = {"url": server.url(scheme="https", host="localhost"), "ca": "ca", "allow_private": True}
        handlers = read(
            tmp_path,
            {"CertificateExpired": [{"name": "ops", "webhook": webhook}]},
            certificates={"ca": {"cert_file": "ca.pem"}},
        )
        sink = sink_of(handlers.receivers["/ops"], LazyContexts())
        assert await sink.deliver({}, "e", NOON) == Delivered()
        await sink.close()


# What cannot be used.

BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a template that is not there": (
        {"template_file": "none.j2"},
        "template_file: none.j2: no such file",
    ),
    "a template that does not compile": (
        {"template_file": "wrong.j2"},
        "template_file: wrong.j2: line 2: is not a template",
    ),
    "a template that makes no JSON": (
        {"template_file": "text.j2"},
        "template_file: text.j2: the template does not make JSON",
    ),
    "a template that is not UTF-8": ({"template_file": "latin.j2"}, "template_file: latin.j2 is not UTF-8"),
    "a template that is too large": ({"template_file": "large.j2"}, "template_file: large.j2 is larger than 64 KiB"),
    "a template that is a directory": (
        {"template_file": "directory"},
        "template_file: directory: cannot be read: Is a directory",
    ),
    "a template without its variable": (
        {"template": "pagerduty"},
        "template: needs variables.routing_key",
    ),
    "a secret that is not there": ({"secret_file": "none"}, "secret_file: none: no such file"),
    "a secret that is none": (
        {"secret_file": "text.j2"},
        "secret_file: text.j2 has no secret: whsec_ and base64, on one line",
    ),
    "a second secret that is too short": (
        {"secret_files": ["secret", "short"]},
        "secret_files: short has a secret that is not 24 to 64 bytes long",
    ),
    "an authority that is not there": ({"ca": "gone"}, "ca: certificate 'gone': gone.pem: no such file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_handler_that_is_broken_is_said_and_the_rest_is_loaded(tmp_path: Path, name: str) -> None:
    webhook, why = BROKEN[name]
    (tmp_path / "wrong.j2").write_text("\n{% if canary-secret %}")
    (tmp_path / "text.j2").write_text("canary {{ message }}")
    (tmp_path / "latin.j2").write_bytes(b"\xff\xfe")
    (tmp_path / "large.j2").write_text("1" * (64 * 1024 + 1))
    (tmp_path / "directory").mkdir()
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "short").write_text("Y2FuYXJ5")
    handlers = {"CertificateExpired": [hook(**webhook), hook("well")], "CertificateRenewed": [hook(**webhook)]}
    found = settings(tmp_path, handlers, certificates={"gone": {"cert_file": "gone.pem"}})
    warned = [str(each).replace(f"{tmp_path}/", "") for each in examine(found, NOON).warnings]
    place = "certgauge.yaml: event_handlers.CertificateExpired[0].webhook"
    assert [each for each in warned if "is not used" not in each] == [f"{place}.{why}; {UNTIL}"]
    read_ones = read_handlers(found, found.apis)
    assert read_ones.receivers.keys() == {"/well"}
    # What it is to be told can wait for it.
    assert read_ones.routes[None][EventKind.EXPIRED] == ("/ops", "/well")


def test_a_handler_of_an_api_is_said_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", definition("a", event_handlers={"CertificateExpired": [hook(template="pagerduty")]}))
    inline = definition("b", event_handlers={"CertificateExpired": [hook() | {"disabled": True}]})
    assert said(tmp_path, read(tmp_path, {}, apis=["a.yaml", inline])) == [
        f"a.yaml: event_handlers.CertificateExpired[0].webhook.template: needs variables.routing_key; {UNTIL}",
        "certgauge.yaml: apis[1].event_handlers.CertificateExpired[0].disabled: nothing is sent to 'ops'",
    ]


# What a request may not say.


@pytest.mark.parametrize(
    ("key", "value"), [("template_file", "/etc/passwd"), ("secret_file", "/etc/passwd"), ("secret_files", ["a", "b"])]
)
def test_a_definition_in_a_request_has_no_file_read_and_sent(key: str, value: Any) -> None:
    api = definition("orders", event_handlers={"CertificateExpired": [hook(**{key: value})]})
    with pytest.raises(ConfigError) as refused:
        read_definition(json.dumps(api).encode(), "orders")
    path = f"event_handlers.CertificateExpired[0].webhook.{key}"
    assert [str(each) for each in refused.value.problems] == [
        f"request: {path}: can be given in a file only, not in a request"
    ]


def test_a_definition_in_a_request_may_have_a_ready_made_template(tmp_path: Path) -> None:
    webhook = hook(template="pagerduty", variables={"routing_key": "canary"})
    body = json.dumps(definition("orders", event_handlers={"CertificateExpired": [webhook]})).encode()
    defined = read_definition(body, "orders")
    handlers = read_handlers(settings(tmp_path, {}), [defined])
    assert handlers.receivers["orders/ops"].body.variables == (("routing_key", "canary"),)
    assert "canary" not in str(defined.api.shown())
