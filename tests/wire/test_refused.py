"""Upstreams that refuse our certificate: what the client is told, and what is announced of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ExtendedKeyUsage
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.authority import DAY, Authority, Issued
from tests.nginx import nginx
from tests.process import Answer, Process, ask, run, wait_until
from tests.wire.refusers import Refuser, by_a_reset, closing, haproxy, with_an_alert, without_an_alert
from tests.wire.shown import EXPIRED, INVALID, RENEWED, events, judged_again, only, rows, series, told
from tests.wire.tls_servers import context
from tests.wire.wires import serving
from tests.wire.worlds import CORES, configured

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
REFUSED = 502, "upstream_certificate_refused"
CLOSED = 502, "upstream_closed"

REFUSING = [
    "unknown-ca-1.2",
    "unknown-ca-1.3",
    "purpose-1.2",
    "purpose-1.3",
    "haproxy-1.2",
    "haproxy-1.3",
    # TLS 1.3 alone: in TLS 1.2 the handshake fails, and who does not say why may have any reason.
    "ends-1.3",
    "resets-1.3",
]
OWN_EXPIRED = ["own-expired-1.2", "own-expired-1.3"]
CLOSING = ["closes-1.2", "closes-1.3"]
NGINX = ["nginx-1.2", "nginx-1.3"]

NGINX_SERVER = """
        ssl_certificate server.pem; ssl_certificate_key server.key; ssl_protocols %s;
        ssl_client_certificate strangers.pem; ssl_verify_client on;
        location / { return 200 "hello"; }
"""


@dataclass
class World:
    """A process, and upstreams by the names of their APIs."""

    process: Process
    directory: Path
    refusers: dict[str, Refuser]
    answers: dict[str, list[Answer]] = field(default_factory=dict)

    def talk(self) -> None:
        """Ask each, and once more when what there is to say of it has been said."""
        asked = [*REFUSING, *OWN_EXPIRED, *CLOSING, *NGINX]
        for name in asked:
            self.answers[name] = [self.get(name), self.post(name)]
        wait_until(lambda: all(map(self.told, [*REFUSING, *OWN_EXPIRED])))
        for name in asked:
            self.answers[name].append(self.get(name))
        judged_again(self.process, *asked)

    def get(self, api_id: str) -> Answer:
        return ask("GET", f"{self.process.proxy_url}/{api_id}/")

    def post(self, api_id: str) -> Answer:
        return ask("POST", f"{self.process.proxy_url}/{api_id}/", "content " * 1000)

    def row(self, api_id: str) -> dict[str, Any]:
        """Of our own certificate."""
        return only(rows(self.process, api_id=api_id, role="upstream"))  # type: ignore[no-any-return]

    def told(self, api_id: str) -> list[tuple[str, str | None]]:
        return told(self.process, api_id=api_id, cert_role="upstream")

    def state(self, api_id: str) -> str:
        return only(series(self.process, "certificate_state", api_id=api_id, cert_role="upstream")).labels["state"]  # type: ignore[no-any-return]


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["code"]


def version_of(name: str) -> ssl.TLSVersion:
    return V12 if name.endswith("1.2") else V13


def contexts(authority: Authority) -> dict[str, ssl.SSLContext]:
    """What each upstream in Python is, with its name at the end of its API's."""
    own, strangers = authority.issue("127.0.0.1"), Authority("strangers")
    refusing = ["unknown-ca-1.2", "unknown-ca-1.3", "ends-1.3", "resets-1.3", "later-1.2", "later-1.3", "renewed-1.3"]
    accepting = ["purpose-1.2", "purpose-1.3", *OWN_EXPIRED, *CLOSING]
    return {
        **{name: context(own, clients=strangers, version=version_of(name)) for name in refusing},
        **{name: context(own, clients=authority, version=version_of(name)) for name in accepting},
    }


def refusers(stack: ExitStack, authority: Authority) -> dict[str, Refuser]:
    ways = {"ends-1.3": without_an_alert, "resets-1.3": by_a_reset}
    made = {}
    for name, tls in contexts(authority).items():
        refuser = made[name] = Refuser(tls, ways.get(name, with_an_alert))
        script = closing(tls) if name in CLOSING else refuser.script
        refuser.port = stack.enter_context(serving(script))
    return made


def real_servers(stack: ExitStack, directory: Path, authority: Authority) -> dict[str, int]:
    own, strangers, ports = authority.issue("127.0.0.1"), Authority("strangers"), {}
    for name, version in (("1.2", V12), ("1.3", V13)):
        ports[f"haproxy-{name}"] = stack.enter_context(haproxy(directory / f"haproxy-{name}", own, strangers, version))
        place = directory / f"nginx-{name}"
        place.mkdir()
        own.write(place, "server")
        (place / "strangers.pem").write_bytes(strangers.root.pem)
        ports[f"nginx-{name}"] = stack.enter_context(nginx(place, NGINX_SERVER % f"TLSv{name}"))
    return ports


def ours(name: str) -> str:
    """The reference of the certificate that is presented to this upstream."""
    for special in ("own-expired", "purpose", "renewed"):
        if name.startswith(special):
            return special
    return "own"


def write_ours(directory: Path, authority: Authority) -> dict[str, Any]:
    """The files, and the section of the configuration."""
    for_servers = ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    own: dict[str, Issued] = {
        "own": authority.issue("own"),
        "own-expired": authority.issue("expired", -5 * DAY),
        "purpose": authority.issue("not for clients", extensions=[for_servers]),
        "renewed": authority.issue("renewed"),
    }
    (directory / "ca.pem").write_bytes(authority.root.pem)
    for name, issued in own.items():
        issued.write(directory, name)
    return {
        "ca": {"cert_file": "ca.pem"},
        **{name: {"cert_file": f"{name}.pem", "key_file": f"{name}.key"} for name in own},
    }


@pytest.fixture(scope="module", params=CORES)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("refused")
    certificates = write_ours(directory, authority)
    with ExitStack() as stack:
        scripted = refusers(stack, authority)
        ports = real_servers(stack, directory, authority) | {name: each.port for name, each in scripted.items()}
        apis = [
            {
                "api_id": name,
                "listen_path": f"/{name}/",
                "target_url": f"https://127.0.0.1:{port}/",
                "upstream_ca": "ca",
                "upstream_certificates": {"127.0.0.1": ours(name)},
            }
            for name, port in ports.items()
        ]
        monitor = {"flush_interval_seconds": 1, "check_cooldown_seconds": 0}
        config = configured(
            directory,
            "",
            core=request.param,
            apis=apis,
            certificates=certificates,
            certificate_expiry_monitor=monitor,
        )
        world = World(stack.enter_context(run(config)), directory, scripted)
        world.talk()
        yield world


@pytest.mark.parametrize("name", REFUSING)
def test_the_client_is_told_that_our_certificate_was_refused(world: World, name: str) -> None:
    assert [code(answer) for answer in world.answers[name]] == [REFUSED] * 3
    if name in world.refusers:
        assert world.refusers[name].received == 0


@pytest.mark.parametrize("name", REFUSING)
def test_a_refusal_is_announced_once_and_shown_in_the_slot_of_our_certificate(world: World, name: str) -> None:
    assert world.told(name) == [(INVALID, "refused_by_upstream")]
    row = world.row(name)
    assert (row["state"], row["reason"], row["cert_ref"]) == ("unreadable", "refused_by_upstream", ours(name))
    assert world.state(name) == "unreadable"
    fields = only(events(world.process, api_id=name, cert_role="upstream")).fields
    assert (fields["cert_ref"], fields["cert_id"]) == (ours(name), row["cert_id"])
    assert fields["message"] == "Upstream certificate is not usable: the upstream refused it"
    # What is still known of it is still measured.
    assert only(series(world.process, "certificate_days_remaining", api_id=name, cert_role="upstream")).value > 99


@pytest.mark.parametrize("name", OWN_EXPIRED)
def test_where_our_certificate_has_expired_that_is_what_is_said(world: World, name: str) -> None:
    assert [code(answer) for answer in world.answers[name]] == [REFUSED] * 3
    assert world.told(name) == [(EXPIRED, None)]
    row = world.row(name)
    assert (row["state"], row["days_since_expiry"]) == ("expired", 5)
    assert world.state(name) == "expired"


@pytest.mark.parametrize("name", CLOSING)
def test_an_upstream_that_takes_our_certificate_and_closes_has_not_refused_it(world: World, name: str) -> None:
    assert [code(answer) for answer in world.answers[name]] == [CLOSED] * 3
    assert world.told(name) == []
    assert (world.row(name)["state"], world.state(name)) == ("valid", "valid")


@pytest.mark.parametrize("name", NGINX)
def test_a_page_of_nginx_is_passed_on_as_what_it_is(world: World, name: str) -> None:
    assert [answer.status for answer in world.answers[name]] == [400] * 3
    assert "The SSL certificate error" in world.answers[name][0].text
    assert world.told(name) == []
    assert world.state(name) == "valid"


def test_a_refusal_is_over_when_a_later_request_is_answered(world: World, authority: Authority) -> None:
    later = ["later-1.2", "later-1.3"]
    for name in later:
        assert code(world.get(name)) == REFUSED
    wait_until(lambda: all(map(world.told, later)))
    for name in later:
        assert world.state(name) == "unreadable"
        world.refusers[name].tls = context(authority.issue("127.0.0.1"), clients=authority, version=version_of(name))
        assert world.get(name).status == 200
        wait_until(lambda name=name: world.state(name) == "valid")  # type: ignore[misc]
        assert "reason" not in world.row(name)
    judged_again(world.process, *later)
    for name in later:
        assert world.told(name) == [(INVALID, "refused_by_upstream")]


def test_a_new_certificate_after_a_refusal_is_announced_as_a_renewal(world: World, authority: Authority) -> None:
    name = "renewed-1.3"
    assert code(world.get(name)) == REFUSED
    wait_until(lambda: bool(world.told(name)))
    refused = world.row(name)["cert_id"]
    world.refusers[name].tls = context(authority.issue("127.0.0.1"), clients=authority, version=V13)
    new = authority.issue("renewed", 200 * DAY)
    new.write(world.directory, "renewed")
    wait_until(lambda: world.row(name)["cert_id"] == new.cert_id)
    assert world.get(name).status == 200
    wait_until(lambda: len(world.told(name)) >= 2)
    judged_again(world.process, name)
    assert world.told(name) == [(INVALID, "refused_by_upstream"), (RENEWED, None)]
    assert only(events(world.process, api_id=name, event=RENEWED)).fields["previous_cert_id"] == refused
    assert world.state(name) == "valid"
