"""Wrong configurations, definitions, certificates, keys and environments: what certgauge says of each, word for word.

One table. `check` refuses everything in it with status 2; `run` refuses what is configuration, and starts with what is
a certificate or key of one API; a process that serves goes on serving the old.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from exporter.cli import main
from tests.authority import DAY, Authority
from tests.process import Process, ask, demanding, run, upstream

CANARY = "canary-5d1f"
"""Stands for every secret: it must never come out."""

HEAD = """\
proxy: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
"""
CERTIFICATES = """\
certificates:
  orders-client: {cert_file: orders.pem, key_file: orders.key}
  internal-ca: {cert_file: ca.pem}
"""
BASE = HEAD + CERTIFICATES + "apis: [orders.yaml, plain.yaml]\n"
ORDERS = """\
api_id: orders
listen_path: /orders/
target_url: https://localhost:PORT/
upstream_certificates: {localhost: orders-client}
upstream_ca: internal-ca
"""
PLAIN = "{api_id: plain, listen_path: /plain/, target_url: 'http://127.0.0.1:PORT/'}\n"
HANDLER = "event_handlers: {CertificateExpired: [{name: ops, webhook: %s}]}\n"

KEYS = {
    "gateway": "admin, apis, certificate_expiry_monitor, certificates, compat_metrics, event_handlers, proxy, state, "
    "state_password_file, upstream_certificates, watch",
    "proxy": "core, drain_timeout_seconds, listen, tls, upstream_timeout_seconds",
    "monitor": "check_cooldown_seconds, check_on_load, enabled, event_cooldown_seconds, flush_interval_seconds, "
    "warning_lifetime_fraction, warning_threshold_days",
}
MAPPING = "must be a mapping, of keys and values"
QUOTES = 'must be text; put "quotes" around it'
ADDRESS = "must be ADDRESS:PORT with an IP address, like 127.0.0.1:8080 or [::1]:8080"
BRACKETS = "must have brackets around an IPv6 address, and only there: [::1]:8080"
PATH = "must be a path of visible ASCII characters, without ? and #; percent-encode the others"
PATTERN = "must be host, host:port, *.domain, *.domain:port or *"
DEPTH = "must have ** between slashes only, where it stands for any number of directories"
WEBHOOK = "must be an http:// or https:// URL without credentials; put them into headers"
NO_FILE = "must name a file behind sqlite:"
STATE = "must be memory, sqlite:PATH, or a URL that begins with redis:// or rediss://"
CREDENTIALS = "must not carry credentials; put the password into state_password_file"
PARAMETERS = "has a parameter that is not known, or one twice; they are prefix, user and ca_file"
NO_PASSWORD = "names a file without a password: one line of visible ASCII characters"
NO_TOKEN = "names a file without a token: one line of visible ASCII characters"
VARIABLE = "has ${…} around something that is not a variable's name; write $${ for a plain ${"


@dataclass(frozen=True)
class Wrong:
    """A wrong input: what is written over the right ones, and every line that is said of it."""

    files: dict[str, str | bytes | None]
    lines: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


def config(text: str | bytes, *messages: str, **environment: str) -> Wrong:
    """The gateway's file is this."""
    return Wrong({"certgauge.yaml": text}, tuple(f"certgauge.yaml: {each}" for each in messages), environment)


def api(text: str | bytes, *messages: str, **environment: str) -> Wrong:
    """The file of the API `orders` is this."""
    return Wrong({"orders.yaml": text}, tuple(f"orders.yaml: {each}" for each in messages), environment)


def orders(old: str, new: str, *messages: str) -> Wrong:
    """The API `orders` is right, but for this."""
    assert old in ORDERS
    return api(ORDERS.replace(old, new), *messages)


def inline(text: str, *messages: str) -> Wrong:
    """An API within the gateway's file is this."""
    return config(f"{HEAD}{CERTIFICATES}apis:\n- {text}\n", *(f"apis[0].{each}" for each in messages))


def levels(count: int) -> str:
    return "state: " + "[" * count + "]" * count


def doublings(count: int) -> str:
    """Each line holds the one before twice."""
    lines = [f"a{each}: &a{each} [*a{each - 1}, *a{each - 1}]" for each in range(1, count)]
    return "\n".join(["a0: &a0 [1, 1]", *lines])


CONFIGURATION = {
    "an unknown key, nearly right": config("proxi: {}", "proxi: is not a known key; did you mean 'proxy'?"),
    "an unknown key like no other": config(
        "proxy: {zzzz: 1}", f"proxy.zzzz: is not a known key; known here: {KEYS['proxy']}"
    ),
    "an unknown key of a certificate": config(
        "certificates: {file: {cert_file: a.pem, keyfile: a.key}}",
        "certificates.file.keyfile: is not a known key; did you mean 'key_file'?",
    ),
    "a repeated key": config("state: memory\nadmin: {}\nstate: memory", "state: is given twice, again on line 3"),
    "a repeated key further down": config(
        "proxy:\n  core: aiohttp\n  core: aiohttp\n", "proxy.core: is given twice, again on line 3"
    ),
    "a repeated certificate": config(
        "certificates:\n  a.b: {cert_file: x}\n  a.b: {cert_file: y}\n",
        'certificates."a.b": is given twice, again on line 3',
    ),
    "wrong types": config(
        "proxy: 3\nadmin: []\ncertificates: [a]\nupstream_certificates: x\nevent_handlers: 1\napis: {}\nstate: 1",
        f"proxy: {MAPPING}",
        f"admin: {MAPPING}",
        f"certificates: {MAPPING}",
        f"upstream_certificates: {MAPPING}",
        f"event_handlers: {MAPPING}",
        f"state: {QUOTES}",
        "apis: must be a list",
    ),
    "wrong types of values": config(
        "certificate_expiry_monitor: {enabled: 'yes', warning_threshold_days: '30', check_on_load: 1,"
        " max_certificates: 1.5}",
        "certificate_expiry_monitor.enabled: must be true or false",
        "certificate_expiry_monitor.warning_threshold_days: must be a number",
        "certificate_expiry_monitor.check_on_load: must be true or false",
        "certificate_expiry_monitor.max_certificates: must be a whole number",
    ),
    "a list where text is needed": config("proxy: {core: [aiohttp]}", "proxy.core: must be text"),
    "nothing where text is needed": config("proxy: {listen: }", "proxy.listen: must be text"),
    "a date where text is needed": config("state: 2026-01-27", f"state: {QUOTES}"),
    "too little": config(
        "proxy: {drain_timeout_seconds: -1, upstream_timeout_seconds: 0}\n"
        "certificate_expiry_monitor: {warning_threshold_days: -1, warning_lifetime_fraction: -0.1,"
        " check_cooldown_seconds: -1, event_cooldown_seconds: -1, flush_interval_seconds: 0.9, max_certificates: 0}",
        "proxy.drain_timeout_seconds: must be at least 0",
        "proxy.upstream_timeout_seconds: must be more than 0",
        "certificate_expiry_monitor.warning_threshold_days: must be at least 0",
        "certificate_expiry_monitor.warning_lifetime_fraction: must be at least 0",
        "certificate_expiry_monitor.check_cooldown_seconds: must be at least 0",
        "certificate_expiry_monitor.event_cooldown_seconds: must be at least 0",
        "certificate_expiry_monitor.flush_interval_seconds: must be at least 1",
        "certificate_expiry_monitor.max_certificates: must be at least 1",
    ),
    "too much": config(
        "proxy: {drain_timeout_seconds: 3601, upstream_timeout_seconds: 3601}\n"
        "certificate_expiry_monitor: {warning_threshold_days: 36501, warning_lifetime_fraction: 1.01,"
        " check_cooldown_seconds: 316224001, event_cooldown_seconds: 316224001, flush_interval_seconds: 86401,"
        " max_certificates: 1000001}",
        "proxy.drain_timeout_seconds: must be at most 3600",
        "proxy.upstream_timeout_seconds: must be at most 3600",
        "certificate_expiry_monitor.warning_threshold_days: must be at most 36500",
        "certificate_expiry_monitor.warning_lifetime_fraction: must be at most 1",
        "certificate_expiry_monitor.check_cooldown_seconds: must be at most 316224000",
        "certificate_expiry_monitor.event_cooldown_seconds: must be at most 316224000",
        "certificate_expiry_monitor.flush_interval_seconds: must be at most 86400",
        "certificate_expiry_monitor.max_certificates: must be at most 1000000",
    ),
    "no finite number": config(
        "certificate_expiry_monitor: {warning_threshold_days: .nan, check_cooldown_seconds: .inf,"
        " event_cooldown_seconds: -.inf}",
        "certificate_expiry_monitor.warning_threshold_days: must be a finite number",
        "certificate_expiry_monitor.check_cooldown_seconds: must be a finite number",
        "certificate_expiry_monitor.event_cooldown_seconds: must be a finite number",
    ),
    "addresses without an IP address or a port": config(
        "proxy: {listen: '127.0.0.1'}\nadmin: {listen: 'localhost:80'}",
        f"proxy.listen: {ADDRESS}",
        f"admin.listen: {ADDRESS}",
    ),
    "an address with a port too high": config(
        "proxy: {listen: '127.0.0.1:65536'}", "proxy.listen: must end in a port from 0 to 65535, like :8080"
    ),
    "an address with a port that is no number": config(
        "proxy: {listen: '127.0.0.1:http'}", "proxy.listen: must end in a port from 0 to 65535, like :8080"
    ),
    "addresses with brackets at the wrong place": config(
        "proxy: {listen: '::1:80'}\nadmin: {listen: '[127.0.0.1]:80'}",
        f"proxy.listen: {BRACKETS}",
        f"admin.listen: {BRACKETS}",
    ),
    "an address that YAML takes for a number": config("proxy: {listen: 12:30}", f"proxy.listen: {QUOTES}"),
    "both listeners on one address": config(
        "proxy: {listen: '127.0.0.1:8080'}\nadmin: {listen: '127.0.0.1:8080'}",
        "admin.listen: must not be the address of proxy.listen",
    ),
    "an open admin listener without a token": config(
        "admin: {listen: '0.0.0.0:9464'}",
        "admin.token_file: is required: admin.listen is not a loopback address",
    ),
    "a token file that is missing": config(
        "admin: {token_file: none}", "admin.token_file: cannot be read: No such file or directory"
    ),
    "a token file that is empty": config("admin: {token_file: empty}", f"admin.token_file: {NO_TOKEN}"),
    "a token of two lines": config("admin: {token_file: lines}", f"admin.token_file: {NO_TOKEN}"),
    "an unknown core": config(
        "proxy: {core: aiohtp}", "proxy.core: no core is named 'aiohtp'; did you mean 'aiohttp'?"
    ),
    "a store that is only nearly one": config("state: 'sqlite3:state'", f"state: {STATE}"),
    "a state file without a name": config("state: 'sqlite:'", f"state: {NO_FILE}"),
    "a state file that is a directory": config("state: sqlite:state/", f"state: {NO_FILE}"),
    "a state file in memory": config("state: 'sqlite::memory:'", f"state: {NO_FILE}"),
    "a state file as a URL": config(
        "state: sqlite:///var/lib/state",
        "state: must have a path behind sqlite:, not a URL: sqlite:/var/lib/certgauge/state.sqlite3",
    ),
    "a state file that is the configuration": config(
        "state: sqlite:./certgauge.yaml", "state: names a file that the configuration uses"
    ),
    "an unknown store": config("state: disk", f"state: {STATE}"),
    "a store at no URL": config("state: redis:store", "state: is not a URL: its host or port cannot be read"),
    "a store with a password": config(f"state: rediss://:{CANARY}@store/", f"state: {CREDENTIALS}"),
    "a store with a user": config(f"state: redis://{CANARY}@store/", f"state: {CREDENTIALS}"),
    "a store with a password that has a slash": config(f"state: redis://:a/{CANARY}@store/", f"state: {CREDENTIALS}"),
    "a store with a password as a parameter": config(f"state: redis://store?password={CANARY}", f"state: {PARAMETERS}"),
    "a store with a parameter twice": config("state: redis://store?prefix=a&prefix=b", f"state: {PARAMETERS}"),
    "a store with parameters of no form": config(
        f"state: redis://store?{CANARY}",
        "state: has parameters that cannot be read; they are prefix, user and ca_file",
    ),
    "a store with a prefix that is none": config(
        "state: redis://store?prefix=a:b",
        "state: must have a prefix of 1 to 64 letters, digits, dots, hyphens and underscores",
    ),
    "a store with an empty user": config("state: redis://store?user=", "state: has an unfit value of user"),
    "a store with port 0": config("state: redis://store:0", "state: must not have port 0"),
    "a store with a port that is none": config(
        "state: redis://store:six", "state: is not a URL: its host or port cannot be read"
    ),
    "a store without a host": config("state: rediss://", "state: is not a URL: its host or port cannot be read"),
    "a store with a database by name": config(
        "state: redis://store/main", "state: must have the number of a database as its path, or none"
    ),
    "a store with a fragment": config("state: 'redis://store#a'", "state: must not have a fragment"),
    "a store with a space": config(
        "state: redis://store /0", "state: must consist of visible ASCII characters; percent-encode the others"
    ),
    "trust anchors without TLS": config(
        "state: redis://store?ca_file=ca.pem", "state: has a ca_file without TLS; it goes with rediss://"
    ),
    "a store's trust anchors that are missing": config(
        "state: rediss://store?ca_file=none", "state: has a ca_file that cannot be read: No such file or directory"
    ),
    "a store's trust anchors that are none": config(
        "state: rediss://store?ca_file=empty", "state: has a ca_file that holds no certificates in PEM"
    ),
    "a store's password that is missing": config(
        "state: redis://store\nstate_password_file: none",
        "state_password_file: cannot be read: No such file or directory",
    ),
    "a store's password that is empty": config(
        "state: redis://store\nstate_password_file: empty", f"state_password_file: {NO_PASSWORD}"
    ),
    "a store's password of two lines": config(
        "state: redis://store\nstate_password_file: lines", f"state_password_file: {NO_PASSWORD}"
    ),
    "a store's user without a password": config(
        "state: redis://store?user=certgauge", "state_password_file: is required: state names a user"
    ),
    "a password for no store": config(
        "state_password_file: lines", "state_password_file: is used with a redis:// or rediss:// state only"
    ),
    "no name of a password's file": config("state_password_file: ''", "state_password_file: must not be empty"),
    "unknown certificates, everywhere": config(
        CERTIFICATES + "proxy: {tls: {certificate: orders-clent, client_ca: intern-ca}}\n"
        "admin: {tls: {certificate: gateway}}\nupstream_certificates: {'*.Internal': orders}\n",
        "proxy.tls.certificate: no certificate is named 'orders-clent'; did you mean 'orders-client'?",
        "proxy.tls.client_ca: no certificate is named 'intern-ca'; did you mean 'internal-ca'?",
        "admin.tls.certificate: no certificate is named 'gateway'",
        "upstream_certificates.\"*.Internal\": no certificate is named 'orders'; did you mean 'orders-client'?",
    ),
    "TLS without a certificate": config(
        CERTIFICATES + "proxy: {tls: {client_ca: internal-ca}}", "proxy.tls.certificate: is required"
    ),
    "certificates without a file": config(
        "certificates: {a: {key_file: a.key}, b: {cert_file: ''}, definition: }",
        "certificates.a.cert_file: is required",
        "certificates.b.cert_file: must not be empty",
        f"certificates.definition: {MAPPING}",
    ),
    "certificates with unfit names": config(
        "certificates: {'': {cert_file: a.pem}, ' a': {cert_file: a.pem}}",
        'certificates."": must be 1 to 128 visible characters, with no space around them',
        'certificates." a": must be 1 to 128 visible characters, with no space around them',
    ),
    "watched files of no kind": config(
        "watch: [3, '', 'a/**.pem', {name: a}]",
        "watch[0]: must be a file, a directory, a glob, or a mapping with files",
        "watch[1]: must not be empty",
        f"watch[2]: {DEPTH}",
        "watch[3].files: is required",
    ),
    "wrong keys of watched files": config(
        f"watch: [{{files: '**x', nam: a}}, {{files: a, role: sever}}, {{files: a, passphrase: {CANARY},"
        " passphrase_file: b}, {files: a, passphrase: 12}]",
        f"watch[0].files: {DEPTH}",
        "watch[0].nam: is not a known key; did you mean 'name'?",
        "watch[1].role: must be one of 'upstream', 'upstream_server', 'client', 'server' or 'ca'",
        "watch[2]: give passphrase or passphrase_file, not both",
        f"watch[3].passphrase: {QUOTES}",
    ),
    "wrong values of watched files": config(
        "watch: [{files: a, name: ' a', exclude: b, warning_threshold_days: -1, warning_lifetime_fraction: 2},"
        " {files: [a], exclude: ['', 1]}]",
        "watch[0].name: must be 1 to 128 visible characters, with no space around them",
        "watch[0].exclude: must be a list",
        "watch[0].warning_threshold_days: must be at least 0",
        "watch[0].warning_lifetime_fraction: must be at most 1",
        "watch[1].files: must be text",
        "watch[1].exclude[0]: must not be empty",
        f"watch[1].exclude[1]: {QUOTES}",
    ),
    "what is watched, as no list": config("watch: a.pem", "watch: must be a list"),
    "a definition file that is missing": config("apis: [none.yaml]", "apis[0]: there is no file none.yaml"),
    "what is neither a file nor a definition": config(
        "apis: [3]", "apis[0]: must be a file name or the definition of an API"
    ),
    "a directory for a definition": Wrong({"certgauge.yaml": "apis: [.]"}, (".: cannot be read: Is a directory",)),
    "a variable that is not set": config(
        "state: ${NOT_SET}", "state: needs the environment variable NOT_SET, which is not set"
    ),
    "a variable with a name that is none": config(f"state: ${{{CANARY}}}", f"state: {VARIABLE}"),
    "a variable without an end": config(f"state: ${{{CANARY}", "state: has ${ without a }; write $${ for a plain ${"),
    "a variable whose value is wrong": config("state: ${SECRET}", f"state: {STATE}", SECRET=CANARY),
    "a variable whose value is no text": config(
        "state: ${SECRET}", "state: has a character that is not text, from the environment", SECRET=f"{CANARY}\udcff"
    ),
    "no file": Wrong({"certgauge.yaml": None}, ("certgauge.yaml: cannot be read: No such file or directory",)),
    # What is just being written is empty for a moment: taken for all defaults, it would unload every API.
    "an empty file": config("", f"is empty; it {MAPPING}"),
    "a file of comments": config("# later\n", f"is empty; it {MAPPING}"),
    "several documents": config(
        "state: memory\n---\nstate: memory\n", "is not YAML: line 2: but found another document"
    ),
    "a list": config("- state\n", MAPPING),
    "text": config(CANARY, MAPPING),
    "what is not YAML": config(
        f"admin: {{}}\nproxy: [{CANARY}\nstate: x\n", "is not YAML: line 3: did not find expected … or …"
    ),
    "tabs": config("proxy:\n\tcore: x\n", "is not YAML: line 2: found character that cannot start any token"),
    "an alias of nothing": config(f"state: *{CANARY}", "is not YAML: line 1: found undefined alias"),
    "what is not UTF-8": config(b"state: \xff" + CANARY.encode(), "is not UTF-8"),
    "UTF-16": config("state: memory".encode("utf-16"), "is not UTF-8"),
    "a NUL": config(f"state: a\x00{CANARY}", "is not YAML"),
    "a control character": config(f'state: "\\u0007{CANARY}"', "state: has a character that is not text"),
    "a lone surrogate": config(
        f'state: "\\ud800{CANARY}"', "is not YAML: line 1: found invalid Unicode character escape code"
    ),
    "a key that is no text": config("? [a]\n: 1\n", "has a key that is not text"),
    "a merge key": config(
        "certificates:\n  a: &a {cert_file: a.pem}\n  b: {<<: *a, cert_file: b.pem}\n",
        'certificates.b."<<": is not read: there are no merge keys here',
    ),
    "a tag": config(f"state: !secret {CANARY}", "state: is a value of no known kind"),
    "a tag that would run code": config(
        f"state: !!python/object/apply:os.system [{CANARY}]", "state: has a tag that is not known"
    ),
    "deep nesting": config(levels(41), "is nested too deeply"),
    "very deep nesting": config(levels(60_000), "is nested too deeply"),
    "a document within itself": config("state: &a [*a, *a]", "is nested too deeply"),
    "many values of few": config(doublings(30), "holds too many values"),
}

DEFINITION = {
    "nothing that it needs": api(
        "name: Orders", "api_id: is required", "listen_path: is required", "target_url: is required"
    ),
    "an empty definition": api("", f"is empty; it {MAPPING}"),
    "a definition that is a list": api("[orders]", MAPPING),
    "unknown keys of a definition": api(
        ORDERS + "targeturl: x\ncertificate_expiry_monitor: {warning_treshold_days: 3, max_certificates: 3}\n",
        "certificate_expiry_monitor.warning_treshold_days: is not a known key; did you mean 'warning_threshold_days'?",
        f"certificate_expiry_monitor.max_certificates: is not a known key; known here: {KEYS['monitor']}",
        "targeturl: is not a known key; did you mean 'target_url'?",
    ),
    "an api_id with a space": orders(
        "api_id: orders", "api_id: my orders", "api_id: must be 1 to 128 of the characters A-Z a-z 0-9 . _ -"
    ),
    "an api_id with a line break": orders(
        "api_id: orders", 'api_id: "orders\\n"', "api_id: must be 1 to 128 of the characters A-Z a-z 0-9 . _ -"
    ),
    "an api_id that is a number": orders("api_id: orders", "api_id: 7", f"api_id: {QUOTES}"),
    "a long name": api(ORDERS + "name: " + "x" * 257, "name: must have at most 256 characters"),
    "a listen path without a slash": orders("/orders/", "orders/", "listen_path: must begin with a slash"),
    "a listen path with a query": orders("/orders/", "/orders/?a", f"listen_path: {PATH}"),
    "a listen path that is not ASCII": orders("/orders/", "/aufträge/", f"listen_path: {PATH}"),
    "a listen path with dots": orders("/orders/", "/a/../b", "listen_path: must not have . or .. as a segment"),
    "a long listen path": orders("/orders/", "/" + "x" * 1024, "listen_path: must have at most 1024 characters"),
    "a target with credentials": orders(
        "https://localhost", f"https://user:{CANARY}@localhost", "target_url: must not carry credentials"
    ),
    "a target with a query": orders("PORT/", f"PORT/?key={CANARY}", "target_url: must not have a query or a fragment"),
    "a target of another scheme": orders("https:", "ftp:", "target_url: must begin with https:// or http://"),
    "a target without a host": orders("https://localhost:PORT/", "https:///x", "target_url: must name a host"),
    "a target with a wrong host": orders("localhost:PORT/", "a..b/", "target_url: is not a host name"),
    "a target with a wrong port": orders(
        "localhost:PORT/", "localhost:65536/", "target_url: is not a URL: its host or port cannot be read"
    ),
    "a target with port 0": orders("localhost:PORT/", "localhost:0/", "target_url: must not have port 0"),
    "a wildcard in the middle": orders(
        "{localhost:", "{'api.*.internal':", f"upstream_certificates: key 'api.*.internal' {PATTERN}"
    ),
    "a pattern with a wrong port": orders(
        "{localhost:", "{'localhost:x':", f"upstream_certificates: key 'localhost:x' {PATTERN}"
    ),
    "a wildcard for an address": orders(
        "{localhost:",
        "{'*.127.0.0.1':",
        "upstream_certificates: key '*.127.0.0.1' must not be a wildcard for an IP address:"
        " addresses match only exactly",
    ),
    "one host in two spellings": orders(
        "{localhost:",
        "{localhost.: orders-client, LOCALHOST:",
        "upstream_certificates: has the host 'localhost' twice, in two spellings",
    ),
    "one host and port in two spellings": orders(
        "{localhost:",
        "{'localhost:443': orders-client, 'localhost:0443':",
        "upstream_certificates: has the host 'localhost:443' twice, in two spellings",
    ),
    "certificates that are not there": api(
        ORDERS.replace("localhost: orders-client", "Localhost: orders-clint").replace("internal-ca", "internal-ka")
        + "client_certificates: [orders-client, orders-cliant]\n",
        "upstream_ca: no certificate is named 'internal-ka'; did you mean 'internal-ca'?",
        "upstream_certificates.Localhost: no certificate is named 'orders-clint'; did you mean 'orders-client'?",
        "client_certificates[1]: no certificate is named 'orders-cliant'; did you mean 'orders-client'?",
        "client_certificates: needs proxy.tls: clients present certificates over TLS only",
    ),
    "client certificates without TLS": api(
        ORDERS + "client_certificates: [orders-client]\n",
        "client_certificates: needs proxy.tls: clients present certificates over TLS only",
    ),
    "an unknown event": api(
        ORDERS + "event_handlers: {CertificateExpires: []}\n",
        "event_handlers.CertificateExpires: must be one of 'CertificateExpiringSoon', 'CertificateExpired',"
        " 'CertificateRenewed' or 'CertificateInvalid'",
    ),
    "a handler that is no list": api(
        ORDERS + "event_handlers: {CertificateExpired: {}}\n", "event_handlers.CertificateExpired: must be a list"
    ),
    "a webhook with credentials in its URL": api(
        ORDERS + HANDLER % f"{{url: 'https://user:{CANARY}@hooks.internal/'}}",
        f"event_handlers.CertificateExpired[0].webhook.url: {WEBHOOK}",
    ),
    "a webhook with a secret and a wrong scheme": api(
        ORDERS + HANDLER % f"{{url: 'hooks.internal/{CANARY}', method: GET}}",
        f"event_handlers.CertificateExpired[0].webhook.url: {WEBHOOK}",
        "event_handlers.CertificateExpired[0].webhook.method: must be one of 'POST', 'PUT' or 'PATCH'",
    ),
    "a header value of two lines": api(
        ORDERS + HANDLER % f'{{url: "https://h/", headers: {{X-Key: "{CANARY}\\nx"}}}}',
        "event_handlers.CertificateExpired[0].webhook.headers: has a value of X-Key that is not plain ASCII",
    ),
    "a header with a name that is none": api(
        ORDERS + HANDLER % f"{{url: 'https://h/', headers: {{'X Key': {CANARY}}}}}",
        "event_handlers.CertificateExpired[0].webhook.headers: has a name that is not a field name",
    ),
    "a header value that is a list": api(
        ORDERS + HANDLER % f"{{url: 'https://h/', headers: {{X-Key: [{CANARY}]}}}}",
        "event_handlers.CertificateExpired[0].webhook.headers.X-Key: must be text",
    ),
    "a secret that is not set": api(
        ORDERS + HANDLER % "{url: 'https://h/', headers: {Authorization: 'Bearer ${HOOK_TOKEN}'}}",
        "event_handlers.CertificateExpired[0].webhook.headers.Authorization:"
        " needs the environment variable HOOK_TOKEN, which is not set",
    ),
    "a secret that is no header value": api(
        ORDERS + HANDLER % "{url: 'https://h/', headers: {Authorization: 'Bearer ${HOOK_TOKEN}'}}",
        "event_handlers.CertificateExpired[0].webhook.headers: has a value of Authorization that is not plain ASCII",
        HOOK_TOKEN=f"{CANARY}é",
    ),
    "equal listen paths": Wrong(
        {"plain.yaml": PLAIN.replace("/plain/", "/orders/")},
        ("plain.yaml: listen_path: '/orders/' is taken already, by orders.yaml: listen_path",),
    ),
    "equal api_ids": Wrong(
        {"plain.yaml": PLAIN.replace("api_id: plain", "api_id: orders")},
        ("plain.yaml: api_id: 'orders' is taken already, by orders.yaml: api_id",),
    ),
    "an inline definition like one in a file": Wrong(
        {
            "certgauge.yaml": BASE.replace(
                "plain.yaml]", "plain.yaml, {api_id: plain, listen_path: /orders/, target_url: 'http://x/'}]"
            )
        },
        (
            "certgauge.yaml: apis[2].api_id: 'plain' is taken already, by plain.yaml: api_id",
            "certgauge.yaml: apis[2].listen_path: '/orders/' is taken already, by orders.yaml: listen_path",
        ),
    ),
    "an inline definition without what it needs": inline(
        "{}", "api_id: is required", "listen_path: is required", "target_url: is required"
    ),
    "an inline definition that is wrong": inline(
        f"{{api_id: a, listen_path: a, target_url: 'https://u:{CANARY}@h/', upstream_ca: internal-c, nam: A}}",
        "listen_path: must begin with a slash",
        "target_url: must not carry credentials",
        "nam: is not a known key; did you mean 'name'?",
        "upstream_ca: no certificate is named 'internal-c'; did you mean 'internal-ca'?",
    ),
}


def pair(message: str, **files: str | bytes | None) -> Wrong:
    """The certificate `orders-client` is this: `cert`, `key` and `passphrase` are written."""
    names = {"cert": "orders.pem", "key": "orders.key", "passphrase": "passphrase", "config": "certgauge.yaml"}
    return Wrong(
        {names[each]: content for each, content in files.items()},
        (f"orders.yaml: certificate 'orders-client': {message}",),
    )


BROKEN = f"-----BEGIN CERTIFICATE-----\n{CANARY}!\n-----END CERTIFICATE-----\n"
NO_KEY = f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"
WITH_PASSPHRASE = BASE.replace("orders.key}", "orders.key, passphrase_file: passphrase}")
OTHER = Authority().issue("other", 50 * DAY)

PAIRS = {
    "a certificate that is missing": pair("orders.pem: no such file", cert=None),
    "a certificate that is empty": pair("orders.pem: empty", cert=""),
    "a certificate that is something else": pair("orders.pem: has no certificate, in any known form", cert=CANARY),
    "a certificate that is garbage": pair("orders.pem: certificate 1: its base64 is broken", cert=BROKEN),
    "a key that is missing": pair("orders.key: no such file", key=None),
    "a key that is empty": pair("orders.key: has no private key", key=""),
    "a key that is a certificate": pair("orders.key: has no private key", key=OTHER.pem),
    "a key that is garbage": pair("orders.key: the private key cannot be read", key=NO_KEY),
    "another certificate's key": pair("orders.key: is not the key of orders.pem", key=OTHER.key_pem()),
    "no key at all": pair(
        "orders.pem: has no private key; set key_file", config=BASE.replace(", key_file: orders.key", "")
    ),
    "an encrypted key without a passphrase": pair(
        "orders.key: it is encrypted; set passphrase or passphrase_file",
        cert=OTHER.pem,
        key=OTHER.key_pem(CANARY.encode()),
    ),
    "an encrypted key with another passphrase": pair(
        "orders.key: the passphrase does not open it",
        config=WITH_PASSPHRASE,
        cert=OTHER.pem,
        key=OTHER.key_pem(b"right"),
        passphrase=CANARY,
    ),
    "a passphrase that is missing": pair(
        "passphrase: no such file", config=WITH_PASSPHRASE, cert=OTHER.pem, key=OTHER.key_pem(b"right")
    ),
    "a directory for a certificate": pair(
        ".: cannot be read: Is a directory", config=BASE.replace("cert_file: orders.pem", "cert_file: .")
    ),
    "anchors that are garbage": Wrong(
        {"ca.pem": f"{CANARY}\n"},
        ("orders.yaml: certificate 'internal-ca': ca.pem: has no certificate, in any known form",),
    ),
    "anchors that are missing": Wrong(
        {"ca.pem": None}, ("orders.yaml: certificate 'internal-ca': ca.pem: no such file",)
    ),
}


def listener(which: str, message: str, **files: str | bytes) -> Wrong:
    """The certificate `gateway`, which this listener serves, is this."""
    head = HEAD.replace(f"{which}: {{", f"{which}: {{tls: {{certificate: gateway}}, ")
    text = f"{head}certificates: {{gateway: {{cert_file: gateway.pem}}}}\n"
    return Wrong(
        {"certgauge.yaml": text, **{f"{name}.pem": content for name, content in files.items()}},
        (f"certgauge.yaml: certificates.gateway: {message}",),
    )


LISTENERS = {
    "a proxy listener's certificate that is missing": listener("proxy", "gateway.pem: no such file"),
    "an admin listener's certificate without a key": listener(
        "admin", "gateway.pem: has no private key; set key_file", gateway=OTHER.pem
    ),
}


def otlp(name: str, value: str, message: str) -> Wrong:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS": f"key={CANARY}"}
    return Wrong({}, (f"environment: {name}: {message}",), endpoint | {name: value})


ENVIRONMENT = {
    "a protocol that is not spoken": otlp("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "must be http/protobuf or grpc"),
    "an exporter that is not there": otlp("OTEL_LOGS_EXPORTER", "console", "must be otlp or none, not console"),
    "an interval that is none": otlp(
        "OTEL_METRIC_EXPORT_INTERVAL", "1s", "must be a whole number of milliseconds, at least 1"
    ),
}

REFUSED_BY_RUN = CONFIGURATION | DEFINITION | LISTENERS | ENVIRONMENT
REFUSED_BY_CHECK = REFUSED_BY_RUN | PAIRS

Ports = tuple[int, int]


def write_right(directory: Path, authority: Authority, ports: Ports = (9, 9)) -> None:
    """A configuration that is right; `ports` are those of the two APIs' targets."""
    write(directory, {"certgauge.yaml": BASE, "orders.yaml": ORDERS, "plain.yaml": PLAIN}, ports)
    authority.issue("orders", 100 * DAY).write(directory, "orders")
    (directory / "ca.pem").write_bytes(authority.root.pem)
    write(directory, {"empty": "", "lines": f"{CANARY}\n{CANARY}\n"}, ports)


def write(directory: Path, files: dict[str, str | bytes | None], ports: Ports = (9, 9)) -> None:
    for name, content in files.items():
        path = directory / name
        if content is None:
            path.unlink(missing_ok=True)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content.replace("PORT", str(ports[name == "plain.yaml"])), "utf-8")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def directory(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command line is used: with a configuration that is right."""
    monkeypatch.chdir(tmp_path)
    write_right(tmp_path, authority)
    return tmp_path


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_there_are_enough_of_them() -> None:
    assert len(REFUSED_BY_CHECK) >= 48


def test_what_they_are_compared_with_is_right(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "certgauge.yaml"]) == 0
    assert capsys.readouterr().err == ""


def complaints(text: str) -> list[str]:
    """What the command line says is wrong, less the log."""
    return [line.removeprefix("certgauge: ") for line in text.splitlines() if not line.startswith("time=")]


@pytest.mark.parametrize("name", REFUSED_BY_CHECK)
def test_check_refuses_it_with_these_very_words(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    wrong = REFUSED_BY_CHECK[name]
    write(directory, wrong.files)
    for variable, value in wrong.environment.items():
        monkeypatch.setenv(variable, value)
    status = main(["check", "--config", "certgauge.yaml"])
    output = capsys.readouterr()
    assert (status, complaints(output.err)) == (2, list(wrong.lines))
    assert CANARY not in output.out + output.err


@pytest.mark.parametrize("name", REFUSED_BY_RUN)
def test_run_refuses_it_before_it_serves(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    wrong = REFUSED_BY_RUN[name]
    write(directory, wrong.files)
    for variable, value in wrong.environment.items():
        monkeypatch.setenv(variable, value)
    status = main(["run", "--config", "certgauge.yaml", "--log-level", "DEBUG"])
    output = capsys.readouterr()
    assert (status, output.out, complaints(output.err)) == (2, "", list(wrong.lines))
    assert CANARY not in output.err
    assert "Traceback" not in output.err


def test_every_error_of_every_file_is_listed_at_once(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "proxi: {}\nproxy: {listen: nowhere, core: none, core: none}\nadmin: {token_file: none}\nstate: ${NOT_SET}\n"
        "upstream_certificates: {localhost: hosts}\napis: [none.yaml, orders.yaml, plain.yaml]\n"
    )
    write(
        directory,
        {
            "certgauge.yaml": CERTIFICATES + text,
            "orders.yaml": ORDERS.replace("https:", "ftp:").replace("internal-ca", "internal-c"),
            "plain.yaml": "api_id: plain\napi_id: plain\n",
        },
    )
    assert main(["check", "--config", "certgauge.yaml"]) == 2
    assert complaints(capsys.readouterr().err) == [
        "certgauge.yaml: proxy.core: is given twice, again on line 5",
        "certgauge.yaml: state: needs the environment variable NOT_SET, which is not set",
        "certgauge.yaml: proxy.listen: must be ADDRESS:PORT with an IP address, like 127.0.0.1:8080 or [::1]:8080",
        "certgauge.yaml: proxi: is not a known key; did you mean 'proxy'?",
        "certgauge.yaml: upstream_certificates.localhost: no certificate is named 'hosts'",
        "certgauge.yaml: apis[0]: there is no file none.yaml",
        "orders.yaml: target_url: must begin with https:// or http://",
        "orders.yaml: upstream_ca: no certificate is named 'internal-c'; did you mean 'internal-ca'?",
        "plain.yaml: api_id: is given twice, again on line 2",
        "plain.yaml: listen_path: is required",
        "plain.yaml: target_url: is required",
    ]


RELOADED = [
    "an unknown key, nearly right",
    "a repeated key",
    "wrong types",
    "an open admin listener without a token",
    "a token file that is missing",
    "unknown certificates, everywhere",
    "a definition file that is missing",
    "an empty file",
    "what is not YAML",
    "what is not UTF-8",
    "very deep nesting",
    "nothing that it needs",
    "a target with credentials",
    "equal listen paths",
    "a header value of two lines",
    "a certificate that is missing",
    "a certificate that is something else",
    "another certificate's key",
    "an encrypted key without a passphrase",
    "anchors that are garbage",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[tuple[Process, Path]]:
    """One process that serves what is right, and its directory."""
    directory = tmp_path_factory.mktemp("served")
    write_right(directory, authority)
    with upstream(demanding(directory, authority)) as orders_port, upstream() as plain_port:
        write_right(directory, authority, (orders_port, plain_port))
        with run(directory / "certgauge.yaml") as process:
            yield process, directory


@contextmanager
def spoiled(directory: Path, wrong: Wrong) -> Iterator[None]:
    """What is wrong is written over what is right, and taken back."""
    right = {name: (directory / name).read_bytes() for name in wrong.files if (directory / name).exists()}
    write(directory, wrong.files)
    try:
        yield
    finally:
        write(directory, {**right})


def reload(process: Process) -> tuple[int, Any]:
    answer = ask("POST", f"{process.admin_url}/reload")
    return answer.status, answer.json()


def said(problems: list[dict[str, str]]) -> list[str]:
    """The problems as lines."""
    return [": ".join(part for part in (each["file"], each["path"], each["message"]) if part) for each in problems]


def last_reload_successful(process: Process) -> bool:
    return "\ncertgauge_config_last_reload_successful 1\n" in ask("GET", f"{process.admin_url}/metrics").text


@pytest.mark.parametrize("name", RELOADED)
def test_a_reload_refuses_it_in_the_same_words_and_the_old_goes_on(served: tuple[Process, Path], name: str) -> None:
    process, directory = served
    wrong = REFUSED_BY_CHECK[name]
    with spoiled(directory, wrong):
        status, problem = reload(process)
        successful = last_reload_successful(process)
        answers = [ask("GET", f"{process.proxy_url}/{api_id}/x").text for api_id in ("orders", "plain")]
    restored, _ = reload(process)
    assert (status, said(problem["errors"])) == (422, list(wrong.lines))
    assert (answers, successful) == (["hello", "hello"], False)
    assert (restored, last_reload_successful(process)) == (200, True)
    assert CANARY not in str(problem) + process.errors


def test_an_unusable_certificate_closes_its_own_api_and_no_other(directory: Path, authority: Authority) -> None:
    names = [
        name for name, wrong in PAIRS.items() if "certgauge.yaml" not in wrong.files and "ca.pem" not in wrong.files
    ]
    text = f"{HEAD}certificates:\n  internal-ca: {{cert_file: ca.pem}}\n"
    apis = "apis:\n- plain.yaml\n"
    for number, name in enumerate(names):
        sub = directory / str(number)
        sub.mkdir()
        write_right(sub, authority)
        write(sub, PAIRS[name].files)
        text += f"  c{number}: {{cert_file: {number}/orders.pem, key_file: {number}/orders.key}}\n"
        apis += (
            f"- {{api_id: a{number}, listen_path: /a{number}/, target_url: 'https://localhost:1/',"
            f" upstream_certificates: {{localhost: c{number}}}}}\n"
        )
    with upstream() as port:
        write(directory, {"certgauge.yaml": text + apis, "plain.yaml": PLAIN}, (port, port))
        with run(directory / "certgauge.yaml") as process:
            assert ask("GET", f"{process.proxy_url}/plain/x").text == "hello"
            answers = [ask("GET", f"{process.proxy_url}/a{number}/x") for number in range(len(names))]
    assert len(answers) >= 8
    assert {(each.status, each.json()["code"]) for each in answers} == {(503, "certificate_unusable")}
