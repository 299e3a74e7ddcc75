"""Bodies: whatever names hold, JSON stays JSON, and a template can do nothing but show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from exporter.certcheck.events import EventKind
from exporter.sinks.body import Body, BodyError, ready_made
from exporter.sinks.samples import samples

TEMPLATES = ("slack", "teams", "pagerduty", "alertmanager")
ROUTING = (("routing_key", "R0"),)
NAMES = {
    "quotes": 'a"b\'c\\"d\\',
    "line ends": "a\nb\r\nc\td\u2028e\u2029f\x0bg",
    "markup": "<script>alert(1)</script> & <!channel> *bold* [link](https://evil/) <at>all</at>",
    "right to left": "abc\u202egnp.exe\u2066\u200f",
    "NUL and other controls": "a\x00b\x1bc\x7fd",
    "another script": "шлюз 証明書 🔐",
    "JSON": '", "severity": "info", "x": "',
    "a template": "{{ vars.routing_key }}{% for a in b %}{# c #}",
    "long": "n" * 256,
    "very long": '"' * 5000,
    "nothing": "",
}
SURROGATES = {"a\ud800b": "a\ufffdb", "\udfff": "\ufffd", "\ud83d\ude00": "\ufffd\ufffd"}


def body(name: str | None) -> Body:
    return Body(ready_made(name), variables=ROUTING) if name else Body()


def strings(value: Any) -> Iterator[str]:
    """All texts in a document, keys too."""
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(each)
    if isinstance(value, dict):
        yield from value


def made(name: str | None, payload: Mapping[str, Any]) -> Any:
    content = body(name).of(payload)
    assert content.isascii()
    return json.loads(content, parse_constant=pytest.fail)


def shape(value: Any) -> Any:
    """A document without what its texts say."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def named(payload: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**payload, "cert_name": name, "cert_ref": name, "issuer": name, "server_address": name}


# Where a name belongs, in what each template makes.
PLACES: Mapping[str | None, Callable[[Any], str]] = {
    None: lambda made: made["cert_name"],
    "slack": lambda made: made["blocks"][1]["fields"][0]["text"].removeprefix("Certificate\n"),
    "teams": lambda made: made["attachments"][0]["content"]["body"][1]["inlines"][1]["text"],
    "pagerduty": lambda made: made["payload"]["custom_details"]["cert_name"],
    "alertmanager": lambda made: made[0]["annotations"]["cert_name"],
}


@pytest.mark.parametrize("what", [None, *TEMPLATES])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_where_it_belongs_whatever_it_holds(what: str | None, name: str) -> None:
    for payload in samples():
        text = NAMES[name]
        document = made(what, named(payload, text))
        shown = PLACES[what](document)
        assert shown == text or (what == "slack" and shown.endswith("...") and text.startswith(shown[:-3]))


@pytest.mark.parametrize("what", TEMPLATES)
@pytest.mark.parametrize("name", [each for each in NAMES if each != "nothing"])
def test_a_name_changes_nothing_but_texts(what: str, name: str) -> None:
    for payload in samples():
        hostile = made(what, named(payload, NAMES[name]))
        assert shape(hostile) == shape(made(what, named(payload, "plain")))


@pytest.mark.parametrize("what", [None, *TEMPLATES])
@pytest.mark.parametrize("name", SURROGATES)
def test_a_lone_surrogate_is_replaced(what: str | None, name: str) -> None:
    payload = next(samples())
    assert PLACES[what](made(what, named(payload, name))) == SURROGATES[name]


def test_the_default_body_is_the_payload_as_it_is() -> None:
    assert Body().of({"event": "a", "cert_name": 'é"\n', "days_remaining": -1, "used_by": [{"a": True}]}) == (
        b'{"event": "a", "cert_name": "\\u00e9\\"\\n", "days_remaining": -1, "used_by": [{"a": true}]}'
    )
    for payload in samples():
        assert list(json.loads(Body().of(payload)).items()) == list(payload.items())


@pytest.mark.parametrize("what", TEMPLATES)
def test_what_is_unknown_is_not_shown(what: str) -> None:
    for payload in samples():
        texts = list(strings(made(what, payload)))
        assert not [each for each in texts if "None" in each or "Undefined" in each]


# What each says that a receiver acts upon.


def by_kind(what: str) -> dict[str, Any]:
    """What is made of the full sample of each kind."""
    return {payload["event"]: made(what, payload) for payload in samples() if "cert_id" in payload}


def test_in_slack_a_name_is_no_markup() -> None:
    document = made("slack", named(next(samples()), "<!channel> & <b>"))
    assert document["text"].endswith(": &lt;!channel&gt; &amp; &lt;b&gt;")
    kinds = {each["type"] for each in document["blocks"][1]["fields"]} | {document["blocks"][0]["text"]["type"]}
    assert kinds == {"plain_text"}


def test_slacks_limits_are_kept() -> None:
    document = made("slack", {**named(next(samples()), "n" * 5000), "message": "m" * 5000})
    header, section = document["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert len(section["fields"]) <= 10
    assert max(len(each["text"]) for each in section["fields"]) <= 2000


def test_in_teams_a_name_is_no_markup() -> None:
    [attachment] = made("teams", next(samples()))["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    blocks = attachment["content"]["body"]
    assert {each["type"] for each in blocks} == {"RichTextBlock"}
    assert {run["type"] for each in blocks for run in each["inlines"]} == {"TextRun"}


def test_pagerduty_is_told_how_severe_it_is() -> None:
    said = {kind: (each["event_action"], each["payload"]["severity"]) for kind, each in by_kind("pagerduty").items()}
    assert said == {
        "CertificateExpiringSoon": ("trigger", "warning"),
        "CertificateExpired": ("trigger", "critical"),
        "CertificateInvalid": ("trigger", "error"),
        "CertificateRenewed": ("resolve", "info"),
    }
    assert {each["routing_key"] for each in by_kind("pagerduty").values()} == {"R0"}


@pytest.mark.parametrize("known", [True, False])
def test_in_pagerduty_a_renewal_resolves_what_was_said_of_the_certificate_before(known: bool) -> None:  # noqa: FBT001
    common = {"api_id": "orders", "cert_role": "upstream", "cert_ref": "orders-client", "message": "m"}
    old = {"cert_id": "aa"} if known else {}
    previous = {"previous_cert_id": "aa"} if known else {}
    keys = {made("pagerduty", {"event": kind, **common, **old})["dedup_key"] for kind in list(EventKind)[:2]}
    renewed = made("pagerduty", {"event": "CertificateRenewed", **common, "cert_id": "bb", **previous})
    assert keys == {renewed["dedup_key"]}
    assert not known or keys == {"certgauge/orders/upstream/aa"}


def test_a_key_for_pagerduty_is_never_too_long() -> None:
    payload = {
        "event": "CertificateInvalid",
        "api_id": "a" * 128,
        "cert_role": "upstream_server",
        "cert_ref": "r" * 500,
    }
    assert len(made("pagerduty", {**payload, "message": "m" * 2000})["dedup_key"]) <= 255
    assert len(made("pagerduty", {**payload, "message": "m" * 2000})["payload"]["summary"]) <= 1024


def test_in_alertmanager_a_renewal_ends_what_was_said_of_the_certificate_before() -> None:
    common = {"api_id": "orders", "cert_role": "upstream", "message": "m", "timestamp": "2026-01-27T10:30:00Z"}
    before = [
        made("alertmanager", {"event": kind, **common, "cert_id": "aa"})[0]
        for kind in EventKind
        if kind is not EventKind.RENEWED
    ]
    ended = made("alertmanager", {"event": "CertificateRenewed", **common, "cert_id": "bb", "previous_cert_id": "aa"})
    assert sorted(json.dumps(each["labels"]) for each in ended) == sorted(json.dumps(each["labels"]) for each in before)
    assert {(each["startsAt"], each["endsAt"]) for each in ended} == {("2026-01-27T10:30:00Z",) * 2}
    assert {each["endsAt"] for each in before} == {"2026-01-28T11:30:00Z"}
    assert not [each for each in (*before, *ended) if "generatorURL" in each]


def test_how_long_an_alert_lasts_is_a_variable() -> None:
    alerts = Body(ready_made("alertmanager"), variables=(("hours", "170"),)).of(next(samples()))
    assert json.loads(alerts)[0]["endsAt"] == "2026-02-03T12:30:00Z"


# Templates of one's own.

PAYLOAD = {"event": "CertificateExpired", "cert_name": 'n"\n', "days_remaining": 3, "used_by": [{"api_id": 'a"'}]}


@pytest.mark.parametrize(
    ("source", "document"),
    [
        ('{"text": "{{ cert_name }}"}', {"text": 'n"\n'}),
        ('{"text": {{ cert_name | tojson }}}', {"text": 'n"\n'}),
        ('{"days": {{ days_remaining }}, "text": "{{ days_remaining }}"}', {"days": 3, "text": "3"}),
        ('"{{ cert_name | upper | replace("N", "\\"") }}"', '""\n'),
        ('"{{ cert_name ~ cert_name }}"', 'n"\nn"\n'),
        ('"{{ cert_name | e }}"', "n&#34;\n"),
        ('"{{ (cert_name | tojson) ~ "x" }}"', '"n\\"\\n"x'),
        ('"{{ issuer }}|{{ nothing.at.all }}"', "|"),
        ("{{ [cert_name, issuer, true, none] | tojson }}", ['n"\n', None, True, None]),
        ('[{% for each in used_by %}"{{ each.api_id }}"{{ ", " if not loop.last }}{% endfor %}]', ['a"']),
        ("{{ payload | tojson }}", PAYLOAD),
        ('"{{ used_by }}"', '[{"api_id": "a\\""}]'),
        ('"{{ vars.key }}"', 'k"'),
        ('"{{ vars.none | default("d") }}"', "d"),
        ('{% set severity = {"CertificateExpired": "high"}[event] or "low" %}"{{ severity }}"', "high"),
        ('"{{ payload["cert_name"] }}{{ payload.get("none") }}"', 'n"\n'),
        ('"é {{ "2026-01-27T10:30:00Z" | later(2) }}"', "é 2026-01-27T12:30:00Z"),
        ('"{{ "a" | sha256 | truncate(8, true, "") }}{{ 3 * 4 + 7 % 4 }}"', "ca97811215"),
    ],
)
def test_a_template_shows_values_without_care_for_their_content(source: str, document: Any) -> None:
    content = Body(source, variables=(("key", 'k"'),)).of(PAYLOAD)
    assert (json.loads(content), content.isascii()) == (document, True)


def test_where_a_template_makes_no_json_values_are_as_they_are() -> None:
    body = Body("{{ cert_name }}é|{{ used_by | tojson }}|{{ true }}|{{ issuer }}", as_json=False)
    assert body.of(PAYLOAD | {"cert_name": 'n"\ud800'}).decode() == 'n"\ufffdé|[{"api_id": "a\\""}]|true|'


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ message", "line 1: is not a template"),
        ("\n{% if canary-secret %}", "line 2: is not a template"),
        ('"{{ a | center(10) }}"', "line 1: no filter named 'center'"),
        ('{% include "/etc/passwd" %}', "line 1: has include, which templates here do not have"),
        ('{% extends "a" %}', "line 1: has extends, which templates here do not have"),
        ('{% from "a" import b %}', "line 1: has import, which templates here do not have"),
        ("{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}", "line 1: has macro, which templates here do not have"),
        ("{% filter upper %}{{ a }}{% endfilter %}", "line 1: has a filter block, which templates here do not have"),
        ("{% set a %}{{ b }}{% endset %}", "line 1: has a set block, which templates here do not have"),
        ("{% autoescape true %}{% endautoescape %}", "line 1: has autoescape, which templates here do not have"),
        (
            "\n\n{% for a in b recursive %}{{ loop(b) }}{% endfor %}",
            "line 3: has a recursive loop, which templates here do not have",
        ),
        ("(" * 5 + "{{ " + "(" * 5000 + "1", "is nested too deeply"),
    ],
)
def test_what_is_no_template_is_said_without_quoting_it(source: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        Body(source)
    assert str(refused.value) == why


LOOPS = "{% for a in range(1000) %}" * 3 + "{% endfor %}" * 3


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ('{"a": "{{ cert_name }}', "the template does not make JSON"),
        ('"{{ cert_name | tojson }}"', "the template does not make JSON"),
        ("", "the template does not make JSON"),
        ("NaN", "the template does not make JSON"),
        ("[" * 100_000, "the template does not make JSON"),
        ('"{{ vars.routing_key }}"', "the template: needs variables.routing_key"),
        ("{{ vars.routing_key | tojson }}", "the template: needs variables.routing_key"),
        ('"{{ cert_name.upper() }}"', "the template: 'upper' cannot be used"),
        ('"{{ cert_name.__class__.__mro__ }}"', "the template: '__class__' cannot be used"),
        ('"{{ range.__globals__ }}"', "the template: '__globals__' cannot be used"),
        ('"{{ vars._variables }}"', "the template: '_variables' cannot be used"),
        ('"{{ used_by.append(1) }}"', "the template: 'append' cannot be used"),
        ('"{{ "x" * 1000000000 }}"', "the template: '*' cannot be used here"),
        ('"{{ [1] * 1000000000 }}"', "the template: '*' cannot be used here"),
        ('"{{ 10 ** 1000000000 }}"', "the template: '**' cannot be used here"),
        ('"{{ "%1000000000d" % 1 }}"', "the template: '%' cannot be used here"),
        ('"{{ range(1001) | list }}"', "the template: a range is longer than 1000"),
        (LOOPS, "the template: loops go round too often"),
        ("{% for a in range(1000) %}" + "x" * 300 + "{% endfor %}", "the body is larger than 256 KiB"),
        ('"' + "é" * 60_000 + '"', "the body is larger than 256 KiB"),
        ('"{{ 1 / 0 }}"', "the template failed: ZeroDivisionError"),
        ('"{{ cert_name | later(1) }}"', "the template failed: ValueError"),
        ('"{{ vars[vars.key] }}"', "the template failed"),
        ('"{{ cert_name[vars.key] }}"', None),
    ],
)
def test_what_makes_no_body_says_why_and_shows_no_value(source: str, why: str | None) -> None:
    body = Body(source, variables=(("key", "canary"),))
    if why is None:
        assert body.of(PAYLOAD) == b'""'
        return
    with pytest.raises(BodyError) as failed:
        body.of(PAYLOAD)
    assert str(failed.value) == why
    assert "canary" not in repr(body)


def test_a_payload_that_is_too_large_makes_no_body() -> None:
    assert len(Body().of({"a": "x" * (256 * 1024 - 9)})) == 256 * 1024
    with pytest.raises(BodyError, match=r"^the body is larger than 256 KiB$"):
        Body().of({"a": "x" * (256 * 1024 - 8)})


def test_bodies_of_the_same_are_equal_and_others_are_not() -> None:
    same = [Body("1", variables=ROUTING) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] not in (Body("1"), Body("2", variables=ROUTING), Body("1", as_json=False, variables=ROUTING))
