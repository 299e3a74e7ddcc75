"""No secret comes out of a process, at any log level, by any answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from exporter.cli import main
from tests.authority import DAY, Authority
from tests.process import Answer, ask, demanding, run, upstream

TOKEN = "canary-admin-token"
PASSPHRASE = "canary-passphrase"
SECRETS = {
    "the admin token": TOKEN,
    "a wrong admin token": "canary-wrong-token",
    "a passphrase": PASSPHRASE,
    "a webhook's URL": "canary-webhook-url",
    "a header value": "canary-header-value",
    "a header value from the environment": "canary-environment-value",
    "a webhook's variable": "canary-webhook-variable",
    "a webhook's secret": "Y2FuYXJ5LXdlYmhvb2s",
    "a webhook's secret that is none": "canary-webhook-secret",
    "a webhook's template": "canary-webhook-template",
    "a passphrase that was sent": "canary-sent-passphrase",
    "a passphrase that was sent and does not fit": "canary-unfit-passphrase",
    "another variable": "canary-other-variable",
    "a header value that was put": "canary-put-value",
    "a header value that was refused": "canary-refused-value",
    "the credentials of a refused target": "canary-target-credentials",
    "OTLP headers": "canary-otlp-headers",
    "the credentials of the OTLP endpoint": "canary-otlp-credentials",
    "a client's Authorization": "canary-client-authorization",
    "a client's cookie": "canary-client-cookie",
    "a client's query": "canary-client-query",
}
ENVIRONMENT = {
    "HOOK_TOKEN": "canary-environment-value",
    "OTHER_SECRET": "canary-other-variable",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:canary-otlp-credentials@127.0.0.1:1",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=canary-otlp-headers",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    "OTEL_METRIC_EXPORT_INTERVAL": "200",
    "OTEL_TRACES_EXPORTER": "otlp",
}
CONFIGURATION = """\
proxy: {listen: "127.0.0.1:0", drain_timeout_seconds: 2}
admin: {listen: "127.0.0.1:0", token_file: token}
certificate_expiry_monitor: {flush_interval_seconds: 1}
certificates:
  orders-client: {cert_file: orders.pem, key_file: orders.key, passphrase_file: passphrase}
  broken-client: {cert_file: orders.pem, key_file: orders.key, passphrase_file: other-passphrase}
  internal-ca: {cert_file: anchors.pem}
apis: [orders.yaml, broken.yaml, dead.yaml]
event_handlers:
  CertificateExpired:
  - name: all
    webhook: {url: "https://hooks.internal/canary-webhook-url", headers: {X-Key: canary-header-value}}
  - name: pager
    webhook:
      url: https://hooks.internal/canary-webhook-url
      template: pagerduty
      variables: {routing_key: canary-webhook-variable}
      secret_file: webhook-secret
  - {name: a, webhook: {url: "https://hooks.internal/canary-webhook-url", secret_file: wrong-secret}}
  - {name: b, webhook: {url: "https://hooks.internal/canary-webhook-url", template_file: wrong-template}}
"""
ORDERS = """\
api_id: orders
listen_path: /orders/
target_url: https://localhost:PORT/
upstream_certificates: {localhost: orders-client}
upstream_ca: internal-ca
event_handlers:
  CertificateExpiringSoon:
  - name: ops
    webhook: {url: "https://hooks.internal/canary-webhook-url", headers: {Authorization: "Bearer ${HOOK_TOKEN}"}}
"""
BROKEN = """\
{api_id: broken, listen_path: /broken/, target_url: "https://localhost:PORT/",
 upstream_certificates: {"*": broken-client}}
"""
DEAD = '{api_id: dead, listen_path: /dead/, target_url: "http://127.0.0.1:1/"}\n'
PATHS = (
    "/", "/live", "/ready", "/health", "/metrics", "/certs", "/certs/none", "/certs?limit=none",
    "/apis", "/apis/orders", "/apis/put", "/apis/none", "/openapi.json",
)  # fmt: skip


def definition(value: str = "canary-put-value", **more: Any) -> str:
    webhook = {"url": "https://hooks.internal/canary-webhook-url", "headers": {"Authorization": value}}
    handlers = {"CertificateExpired": [{"name": "ops", "webhook": webhook}]}
    api = {"listen_path": "/put/", "target_url": "http://127.0.0.1:1/", "event_handlers": handlers}
    return json.dumps(api | more)


PAGED = definition(
    listen_path="/paged/",
    event_handlers={
        "CertificateExpired": [{"name": "pager", "webhook": {"url": "http://h/", "template": "pagerduty"}}]
    },
)


@dataclass
class Seen:
    """All that came out of one process: each answer, and what it printed."""

    answers: dict[str, Answer] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    """A line of each private key, as it was written."""

    def everything(self) -> Iterator[tuple[str, str]]:
        yield from self.printed.items()
        for name, answer in self.answers.items():
            yield name, f"{answer.headers}\n{answer.text}"


def write(directory: Path, port: int, key: bytes) -> None:
    texts = {"certgauge.yaml": CONFIGURATION, "orders.yaml": ORDERS, "broken.yaml": BROKEN, "dead.yaml": DEAD}
    texts |= {
        "webhook-secret": "whsec_Y2FuYXJ5LXdlYmhvb2stc2VjcmV0LW9mLTMyLWJ5dGU=",
        "wrong-secret": "canary-webhook-secret",
    }
    texts["wrong-template"] = "{{ canary-webhook-template canary }} canary-webhook-template"
    texts |= {"token": TOKEN, "passphrase": PASSPHRASE, "other-passphrase": f"{PASSPHRASE}-other"}
    for name, text in texts.items():
        (directory / name).write_text(text.replace("PORT", str(port)))
    (directory / "orders.key").write_bytes(key)


def send(seen: Seen, url: str, body: bytes, passphrase: str) -> None:
    """Ask about a certificate and its key, in ways that are answered and in ways that are not."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Certgauge-Passphrase": passphrase}
    for query, text in (("?rehearse=true", body), ("?api_id=none", body), ("?none=1", body), ("", body[:-60])):
        answer = ask("POST", f"{url}/certs/check{query}", text.decode(), headers)
        seen.answers[f"checked {len(seen.answers)}"] = answer


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A process that has every secret there is, used and abused, at DEBUG."""
    directory, authority, seen = tmp_path_factory.mktemp("secrets"), Authority(), Seen()
    orders = authority.issue("orders", 5 * DAY)
    orders.write(directory, "orders")
    key = orders.key_pem(PASSPHRASE.encode())
    sent = [orders.key_pem(), orders.key_pem(b"canary-sent-passphrase")]
    seen.keys = [each.decode().splitlines()[1] for each in (key, *sent)]
    with upstream(demanding(directory, authority)) as port:
        write(directory, port, key)
        with run(directory / "certgauge.yaml", "--log-level", "DEBUG", more=ENVIRONMENT) as process:

            def admin(method: str, path: str, body: str | None = None, token: str = TOKEN) -> None:
                headers = {"Authorization": f"Bearer {token}"}
                known = "" if token == TOKEN else " with a wrong token"
                name = f"{method} {path}{known} {body or ''}"
                seen.answers[name] = ask(method, process.admin_url + path, body, headers)

            def proxied(path: str) -> None:
                headers = {"Authorization": "Bearer canary-client-authorization", "Cookie": "a=canary-client-cookie"}
                url = f"{process.proxy_url}{path}?token=canary-client-query"
                seen.answers[f"proxied {path}"] = ask("GET", url, headers=headers)

            for path in ("/orders/x", "/broken/x", "/dead/x", "/none/x"):
                proxied(path)
            admin("PUT", "/apis/put", definition())
            admin("PUT", "/apis/paged", PAGED)
            admin("PUT", "/apis/refused", definition("canary-refused-value\n", listen_path="nowhere"))
            admin("PUT", "/apis/refused", definition(target_url="http://u:canary-target-credentials@h/"))
            admin("PUT", "/apis/refused", definition("<redacted>", listen_path="/refused/"))
            admin("PUT", "/apis/refused", definition("${OTHER_SECRET}", listen_path="/refused/"))
            admin("PUT", "/apis/refused", "canary-refused-value")
            for passphrase, each in product(("canary-sent-passphrase", "canary-unfit-passphrase"), sent):
                send(seen, process.admin_url, orders.pem + each, passphrase)
            for path in PATHS:
                admin("GET", path)
            (directory / "orders.yaml").write_text(ORDERS.replace("Bearer ${HOOK_TOKEN}", "${HOOK_TOKEN}\\n"))
            admin("POST", "/reload")
            admin("GET", "/apis", token="canary-wrong-token")
            seen.answers["without a token"] = ask("GET", f"{process.admin_url}/apis/orders")
            process.await_log("Upstream certificate will expire in")
        seen.printed |= {"standard output": process.output, "standard error": process.errors}
    return seen


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_never_comes_out(seen: Seen, name: str) -> None:
    assert [where for where, text in seen.everything() if SECRETS[name] in text] == []


def test_a_private_key_never_comes_out(seen: Seen) -> None:
    secrets = [*seen.keys, "PRIVATE KEY--"]
    assert [where for where, text in seen.everything() if any(secret in text for secret in secrets)] == []


def test_the_secrets_were_in_use(seen: Seen) -> None:
    answers = seen.answers
    assert answers["proxied /orders/x"].text == "hello"
    assert answers["proxied /broken/x"].json()["code"] == "certificate_unusable"
    assert answers["proxied /dead/x"].json()["code"] == "upstream_unreachable"
    assert answers[f"PUT /apis/put {definition()}"].status == 201
    assert answers["GET /metrics "].status == 200
    assert answers["POST /reload "].status == 422
    assert (answers["GET /apis with a wrong token "].status, answers["without a token"].status) == (401, 401)
    checked = [each for name, each in answers.items() if name.startswith("checked")]
    assert [each.status for each in checked] == [200, 404, 400, 422] * 3 + [422, 404, 400, 422]
    rehearsed = {each["api_id"]: each.get("rehearsal", {}).get("status") for each in checked[0].json()["places"]}
    assert rehearsed == {"broken": "fail", "orders": "pass"}
    assert "level=DEBUG" in seen.printed["standard error"]
    assert answers[f"PUT /apis/paged {PAGED}"].status == 201
    broken = "request: event_handlers.CertificateExpired[0].webhook.template: needs variables.routing_key"
    assert broken in seen.printed["standard error"]
    assert "wrong-secret has no secret" in seen.printed["standard error"]
    assert "wrong-template: line 1: is not a template" in seen.printed["standard error"]
    assert 'message="telemetry export failed"' in seen.printed["standard error"]


@pytest.mark.parametrize(("path", "event"), [("orders", "CertificateExpiringSoon"), ("put", "CertificateExpired")])
def test_what_is_secret_is_shown_as_redacted(seen: Seen, path: str, event: str) -> None:
    [handler] = seen.answers[f"GET /apis/{path} "].json()["event_handlers"][event]
    assert handler["webhook"] == {"url": "<redacted>", "headers": {"Authorization": "<redacted>"}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("<redacted>", "is <redacted>: give its value"),
        ("${OTHER_SECRET}", "has ${…}, which is filled in only in files"),
    ],
)
def test_what_stands_for_a_secret_is_refused_as_its_value(seen: Seen, value: str, message: str) -> None:
    answer = seen.answers[f"PUT /apis/refused {definition(value, listen_path='/refused/')}"]
    path = "event_handlers.CertificateExpired[0].webhook.headers.Authorization"
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status, answer.json()["errors"]) == (422, [{"file": "request", "path": path, "message": message}])


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_check_prints_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    authority = Authority()
    orders = authority.issue("orders", 5 * DAY)
    orders.write(tmp_path, "orders")
    (tmp_path / "anchors.pem").write_bytes(authority.root.pem)
    write(tmp_path, 1, orders.key_pem(PASSPHRASE.encode()))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert main(["check", "--config", str(tmp_path / "certgauge.yaml"), *arguments]) == 2
    output = capsys.readouterr()
    assert "the passphrase does not open it" in output.out
    assert "canary" not in output.out + output.err
