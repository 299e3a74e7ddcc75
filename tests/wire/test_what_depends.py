"""What depends on a certificate, which of an API's expires first, and which one no longer matters."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.authority import DAY, Authority, Issued
from tests.process import Process, ask, run, wait_until
from tests.wire.shown import SOON, events, judged_again, only, rows, series, told
from tests.wire.tls_servers import context, presenting
from tests.wire.wires import connected
from tests.wire.worlds import CORES, configured

REQUESTS = {"busy": 12, "quiet": 3}


@pytest.fixture(scope="module")
def shared(authority: Authority) -> Issued:
    """Presented by two APIs, and soon to expire."""
    return authority.issue("shared", 10 * DAY)


@pytest.fixture(scope="module")
def partners(authority: Authority) -> list[Issued]:
    """A client's certificate, its successor, and one that only looks like it."""
    return [
        authority.issue("partner", 5 * DAY, "partner.example"),
        authority.issue("partner", 300 * DAY, "partner.example"),
        authority.issue("partner", 200 * DAY, "other.example"),
    ]


@pytest.fixture(scope="module", params=CORES)
def process(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
    shared: Issued,
    partners: list[Issued],
) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("depends")
    authority.issue("127.0.0.1").write(directory, "gateway")
    shared.write(directory, "shared")
    (directory / "bundle.pem").write_bytes(authority.root.pem + Authority("soonest CA", left=50 * DAY).root.pem)
    (directory / "partners.pem").write_bytes(b"".join(each.pem for each in partners))
    with ExitStack() as stack:
        server = stack.enter_context(presenting(authority.issue("127.0.0.1", 70 * DAY)))
        server.tls = context(authority.issue("127.0.0.1", 70 * DAY), clients=authority)
        apis = [
            {
                "api_id": name,
                "listen_path": f"/{name}/",
                "target_url": f"https://127.0.0.1:{server.port}/",
                "upstream_ca": "bundle",
                "upstream_certificates": {"127.0.0.1": "shared"},
            }
            for name in REQUESTS
        ]
        partner_api = {
            "api_id": "partners",
            "listen_path": "/partners/",
            "target_url": "http://127.0.0.1:9/",
            "client_certificates": ["partners"],
        }
        config = configured(
            directory,
            "",
            core=request.param,
            apis=[*apis, partner_api],
            proxy={"tls": {"certificate": "gateway"}},
            certificates={
                "gateway": {"cert_file": "gateway.pem", "key_file": "gateway.key"},
                "shared": {"cert_file": "shared.pem", "key_file": "shared.key"},
                "bundle": {"cert_file": "bundle.pem"},
                "partners": {"cert_file": "partners.pem"},
            },
            certificate_expiry_monitor={"flush_interval_seconds": 1, "check_cooldown_seconds": 0},
        )
        process = stack.enter_context(run(config))
        make_requests(process, authority)
        judged_again(process, *REQUESTS, "partners")
        yield process


def make_requests(process: Process, authority: Authority) -> None:
    with connected(process.proxy_url, ssl.create_default_context(cadata=authority.root.pem.decode())) as wire:
        for name, count in REQUESTS.items():
            for _ in range(count):
                assert wire.ask(f"/{name}/").status == 200


def test_a_certificate_tells_which_apis_use_it_busiest_first(process: Process, shared: Issued) -> None:
    answer = ask("GET", f"{process.admin_url}/certs/{shared.cert_id}").json()
    assert [(each["api_id"], each["requests_last_hour"]) for each in answer["used_by"]] == list(REQUESTS.items())
    assert all(each["last_observed_at"] for each in answer["used_by"])


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("role", ["upstream", "upstream_server"])
def test_the_requests_of_the_last_hour_are_counted(process: Process, name: str, role: str) -> None:
    # OpenSSL's server sends its clients' CA along: it takes it for its own.
    gauge = only(series(process, "certificate_requests", api_id=name, cert_role=role, chain_position="leaf"))
    row = rows(process, api_id=name, role=role)[0]
    assert (gauge.value, row["requests_last_hour"]) == (REQUESTS[name], REQUESTS[name])


def test_an_event_tells_which_apis_use_the_certificate(process: Process, shared: Issued) -> None:
    found = events(process, cert_id=shared.cert_id, event=SOON)
    assert {event.fields["api_id"] for event in found} == set(REQUESTS)
    for event in found:
        assert all(name in event.fields["used_by"] for name in REQUESTS)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_earliest_of_an_api_and_role_is_named(process: Process, name: str) -> None:
    found = {
        each.labels["cert_role"]: (each.labels["cert_name"], each.value)
        for each in series(process, "certificate_path_days_remaining", api_id=name)
    }
    assert {role: called for role, (called, _) in found.items()} == {
        "upstream": "shared",
        "upstream_server": "127.0.0.1",
        "ca": "soonest CA",
    }
    assert {role: round(value) for role, (_, value) in found.items()} == {
        "upstream": 10,
        "upstream_server": 70,
        "ca": 50,
    }


def test_the_older_of_two_for_the_same_name_and_use_is_shown_and_not_announced(process: Process) -> None:
    wait_until(lambda: len(rows(process, api_id="partners")) == 3)
    assert [row["state"] for row in rows(process, api_id="partners")] == ["superseded", "valid", "valid"]
    assert told(process, api_id="partners") == []
    states = series(process, "certificate_state", api_id="partners", chain_index="0")
    assert [each.labels["state"] for each in states] == ["superseded"]
