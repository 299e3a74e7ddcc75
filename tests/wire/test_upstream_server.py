"""What upstreams present in the handshakes of proxied requests: measured and announced, also where it is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.authority import DAY, Authority, Issued
from tests.process import Answer, Process, ask, run, wait_until
from tests.wire.shown import (
    EXPIRED,
    INVALID,
    RENEWED,
    SOON,
    certificate_series,
    events,
    judged_again,
    only,
    rows,
    series,
    told,
)
from tests.wire.tls_servers import TlsServer, context, presenting
from tests.wire.worlds import CORES, configured

ROLE = "upstream_server"
BODY = "a secret that no stranger must read" * 100
EAGER: dict[str, Any] = {"flush_interval_seconds": 1, "check_cooldown_seconds": 0}
"""Judges at every flush: what is said once is said once because of its own cooldown."""

EXPIRED_CODE = "upstream_server_certificate_expired"
INVALID_CODE = "upstream_server_certificate_invalid"


@dataclass(frozen=True)
class Defect:
    """What is wrong with an upstream, and what is to be said of it."""

    chain: tuple[Issued, ...]
    days: float
    code: str
    event: tuple[str, str | None]
    state: str


def defects(authority: Authority) -> dict[str, Defect]:
    """Of an upstream at 127.0.0.1 whose client trusts `authority`."""
    other = Authority("elsewhere")

    def invalid(reason: str, *chain: Issued, days: float = 100, state: str = "unreadable") -> Defect:
        return Defect(chain, days, INVALID_CODE, (INVALID, reason), state)

    later = authority.issue("127.0.0.1", 100 * DAY, not_before=authority.now + 10 * DAY)
    return {
        "expired": Defect((authority.issue("127.0.0.1", -5 * DAY),), -5, EXPIRED_CODE, (EXPIRED, None), "expired"),
        "not-yet-valid": invalid("not_yet_valid", later, state="not_yet_valid"),
        "wrong-name": invalid("hostname_mismatch", authority.issue("other.internal")),
        "self-signed": invalid("self_signed", Authority("127.0.0.1").root, days=3650),
        "unknown-issuer": invalid("unknown_issuer", other.issue("127.0.0.1")),
        # A root that comes along is no more trusted for that.
        "unknown-root": invalid("unknown_issuer", other.issue("127.0.0.1"), other.root),
    }


DEFECTS = sorted(defects(Authority()))


@dataclass
class World:
    """A process, and an upstream for each of its APIs."""

    process: Process
    servers: dict[str, TlsServer]
    answers: dict[str, list[Answer]] = field(default_factory=dict)

    def post(self, api_id: str) -> Answer:
        """Send a request, which makes a connection of its own."""
        answer = ask("POST", f"{self.process.proxy_url}/{api_id}/", BODY)
        self.answers.setdefault(api_id, []).append(answer)
        return answer

    def seen(self, api_id: str, index: int | None = None) -> dict[str, str]:
        """The labels that what this API's upstream presented has to have."""
        place = {"server_address": "127.0.0.1", "server_port": str(self.servers[api_id].port)}
        chain = {} if index is None else {"chain_index": str(index)}
        return {"api_id": api_id, "cert_role": ROLE, "network_peer_address": "127.0.0.1", **place, **chain}

    def rows(self, api_id: str) -> list[dict[str, Any]]:
        return rows(self.process, api_id=api_id, role=ROLE)

    def announced(self, api_id: str, count: int = 1) -> list[tuple[str, str | None]]:
        """Wait for so many events; all that there are."""
        wait_until(lambda: len(events(self.process, api_id=api_id, cert_role=ROLE)) >= count)
        return told(self.process, api_id=api_id, cert_role=ROLE)


def worlds(
    directory: Path, authority: Authority, core: str, chains: Mapping[str, tuple[Issued, ...]], **monitor: Any
) -> Iterator[World]:
    """One with an API for each chain."""
    (directory / "ca.pem").write_bytes(authority.root.pem)
    with ExitStack() as stack:
        servers = {name: stack.enter_context(presenting(*chain)) for name, chain in chains.items()}
        apis = [
            {
                "api_id": name,
                "listen_path": f"/{name}/",
                "target_url": f"https://127.0.0.1:{server.port}/",
                "upstream_ca": "ca",
            }
            for name, server in servers.items()
        ]
        config = configured(
            directory,
            "",
            core=core,
            apis=apis,
            certificates={"ca": {"cert_file": "ca.pem"}},
            certificate_expiry_monitor={**EAGER, **monitor},
        )
        yield World(stack.enter_context(run(config)), servers)


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["code"]


def days_until(days: float, authority: Authority) -> float:
    """How many there are left now of so many when the authority began."""
    return days - (datetime.now(UTC) - authority.now) / DAY


@pytest.fixture(scope="module")
def intermediates(authority: Authority) -> tuple[Authority, Authority]:
    """Two, the second by the first."""
    first = authority.intermediate("first intermediate", 2000 * DAY)
    return first, first.intermediate("second intermediate", 1000 * DAY)


@pytest.fixture(scope="module", params=CORES)
def world(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
    intermediates: tuple[Authority, Authority],
) -> Iterator[World]:
    first, second = intermediates
    stale = authority.intermediate("stale intermediate", -3 * DAY)
    chains = {
        **{name: defect.chain for name, defect in defects(authority).items()},
        "good": (second.issue("127.0.0.1"), second.root, first.root),
        "stale-intermediate": (stale.issue("127.0.0.1"), stale.root),
        "replaced-soon": (authority.issue("127.0.0.1", 10 * DAY),),
        "replaced-expired": (authority.issue("127.0.0.1", -5 * DAY),),
        "replaced-wrong": (authority.issue("other.internal"),),
        "replaced-fine": (authority.issue("127.0.0.1", 200 * DAY),),
        "unloaded": (authority.issue("127.0.0.1", 10 * DAY),),
        "idle": (authority.issue("127.0.0.1"),),
    }
    for world in worlds(tmp_path_factory.mktemp("upstreams"), authority, request.param, chains):
        refused = [*DEFECTS, "stale-intermediate"]
        for name in refused * 3:
            world.post(name)
        for name in refused:
            world.announced(name)
        for name in [*refused, "good"]:
            world.post(name)
        judged_again(world.process, *refused, "good")
        yield world


@pytest.mark.parametrize("name", DEFECTS)
def test_the_request_is_refused_with_its_code_and_no_byte_of_it_is_sent(
    world: World, authority: Authority, name: str
) -> None:
    expected = defects(authority)[name]
    assert [code(answer) for answer in world.answers[name]] == [(502, expected.code)] * len(world.answers[name])
    assert bytes(world.servers[name].received) == b""


@pytest.mark.parametrize("name", DEFECTS)
def test_no_connection_is_made_but_for_requests(world: World, name: str) -> None:
    assert world.servers[name].connections == len(world.answers[name])


@pytest.mark.parametrize("name", DEFECTS)
def test_what_was_refused_is_measured(world: World, authority: Authority, name: str) -> None:
    expected = defects(authority)[name]
    labels = world.seen(name, 0 if len(expected.chain) > 1 else None)
    found = only(series(world.process, "certificate_days_remaining", **labels))
    assert found.value == pytest.approx(days_until(expected.days, authority), abs=0.01)
    assert found.labels["chain_position"] == "leaf"
    assert "cert_ref" not in found.labels
    state = only(series(world.process, "certificate_state", **labels))
    assert (state.labels["state"], state.value) == (expected.state, 1)


@pytest.mark.parametrize("name", DEFECTS)
def test_what_was_refused_has_a_row_with_the_reason(world: World, authority: Authority, name: str) -> None:
    expected = defects(authority)[name]
    row = world.rows(name)[0]
    # The state says it where there is one that does.
    reason = expected.event[1] if expected.state == "unreadable" else row.get("reason")
    assert (row["state"], row.get("reason"), row["network_peer_address"]) == (expected.state, reason, "127.0.0.1")
    assert datetime.now(UTC) - datetime.fromisoformat(row["last_observed_at"]) < timedelta(minutes=5)


@pytest.mark.parametrize("name", DEFECTS)
def test_it_is_announced_once_however_often_it_is_refused_and_judged(
    world: World, authority: Authority, name: str
) -> None:
    assert world.announced(name) == [defects(authority)[name].event]
    fields = only(events(world.process, api_id=name, cert_role=ROLE)).fields
    place = ("server_address", "server_port", "network_peer_address")
    assert [fields[key] for key in place] == [world.seen(name)[key] for key in place]
    assert "cert_ref" not in fields


def test_a_good_upstream_shows_its_leaf_and_both_intermediates(
    world: World, authority: Authority, intermediates: tuple[Authority, Authority]
) -> None:
    assert [answer.status for answer in world.answers["good"]] == [200]
    found = world.rows("good")
    assert [(row["chain_index"], row["chain_position"], row["state"]) for row in found] == [
        (0, "leaf", "valid"),
        (1, "intermediate", "valid"),
        (2, "intermediate", "valid"),
    ]
    first, second = intermediates
    assert [row["cert_id"] for row in found[1:]] == [second.root.cert_id, first.root.cert_id]
    for index, days in enumerate((100, 1000, 2000)):
        labels = world.seen("good", index)
        assert only(series(world.process, "certificate_days_remaining", **labels)).value == pytest.approx(
            days_until(days, authority), abs=0.01
        )
    assert told(world.process, api_id="good") == []


def test_an_expired_intermediate_is_what_is_announced_and_not_its_leaf(world: World, authority: Authority) -> None:
    assert {code(answer) for answer in world.answers["stale-intermediate"]} == {(502, EXPIRED_CODE)}
    assert bytes(world.servers["stale-intermediate"].received) == b""
    assert world.announced("stale-intermediate").count((EXPIRED, None)) == 1
    expired = only(row for row in world.rows("stale-intermediate") if row["state"] == "expired")
    assert (expired["chain_index"], expired["chain_position"]) == (1, "intermediate")
    event = only(events(world.process, api_id="stale-intermediate", event=EXPIRED))
    assert event.fields["cert_id"] == expired["cert_id"]
    labels = world.seen("stale-intermediate", 1)
    assert only(series(world.process, "certificate_days_remaining", **labels)).value == pytest.approx(
        days_until(-3, authority), abs=0.01
    )


WARNED: dict[str, list[tuple[str, str | None]]] = {
    "replaced-soon": [(SOON, None)],
    "replaced-expired": [(EXPIRED, None)],
    "replaced-wrong": [(INVALID, "hostname_mismatch")],
    "replaced-fine": [],
}
"""What is said of a certificate before the upstream has another one."""


@pytest.fixture(scope="module")
def replaced(world: World, authority: Authority) -> dict[str, tuple[str, Issued]]:
    """The identity of the old one, and the new one, of each upstream that got one between two connections."""
    for name, before in WARNED.items():
        world.post(name)
        assert world.announced(name, len(before)) == before
    wait_until(lambda: all(map(world.rows, WARNED)))
    old = {name: only(world.rows(name))["cert_id"] for name in WARNED}
    new = {name: authority.issue("127.0.0.1", 300 * DAY) for name in WARNED}
    for name, issued in new.items():
        world.servers[name].tls = context(issued)
        assert world.post(name).status == 200
    judged_again(world.process, *WARNED)
    return {name: (old[name], new[name]) for name in WARNED}


@pytest.mark.parametrize("name", WARNED)
def test_a_new_certificate_of_an_upstream_takes_over_the_slot(
    world: World, authority: Authority, replaced: dict[str, tuple[str, Issued]], name: str
) -> None:
    row = only(world.rows(name))
    assert (row["cert_id"], row["state"]) == (replaced[name][1].cert_id, "valid")
    labels = world.seen(name)
    assert only(series(world.process, "certificate_days_remaining", **labels)).value == pytest.approx(
        days_until(300, authority), abs=0.01
    )


@pytest.mark.parametrize("name", WARNED)
def test_its_renewal_is_announced_if_there_had_been_a_warning(
    world: World, replaced: dict[str, tuple[str, Issued]], name: str
) -> None:
    before, (old, new) = WARNED[name], replaced[name]
    assert world.announced(name, len(before)) == before + ([(RENEWED, None)] if before else [])
    for renewal in events(world.process, api_id=name, event=RENEWED):
        assert (renewal.fields["previous_cert_id"], renewal.fields["cert_id"]) == (old, new.cert_id)


def test_an_upstream_that_nobody_has_asked_is_not_known(world: World) -> None:
    assert world.rows("idle") == []
    assert world.servers["idle"].connections == 0


def test_the_series_end_with_the_api(world: World) -> None:
    assert world.post("unloaded").status == 200
    world.announced("unloaded")
    wait_until(lambda: "certificate_days_remaining" in certificate_series(world.process, **world.seen("unloaded")))
    assert ask("DELETE", f"{world.process.admin_url}/apis/unloaded").status == 204
    assert certificate_series(world.process, api_id="unloaded") == set()
    assert world.rows("unloaded") == []


COOLDOWN_SECONDS = 3


@pytest.mark.parametrize("core", CORES)
def test_each_defect_is_announced_once_in_each_cooldown(tmp_path: Path, authority: Authority, core: str) -> None:
    expected = defects(authority)
    chains = {name: defect.chain for name, defect in expected.items()}
    for world in worlds(tmp_path, authority, core, chains, event_cooldown_seconds=COOLDOWN_SECONDS):

        def asked_again(world: World = world) -> bool:
            for name in chains:
                world.post(name)
            return all(len(events(world.process, api_id=name, cert_role=ROLE)) >= 3 for name in chains)

        wait_until(asked_again)
        for name in chains:
            found = events(world.process, api_id=name, cert_role=ROLE)
            assert {event.told for event in found} == {expected[name].event}
            for earlier, later in pairwise(found):
                assert later.at - earlier.at >= timedelta(seconds=COOLDOWN_SECONDS - 0.1)


@pytest.mark.parametrize("core", CORES)
def test_a_certificate_that_verifies_again_is_valid_again(tmp_path: Path, authority: Authority, core: str) -> None:
    elsewhere = Authority("elsewhere")
    for world in worlds(tmp_path, authority, core, {"trusted-late": (elsewhere.issue("127.0.0.1"),)}):
        assert code(world.post("trusted-late")) == (502, INVALID_CODE)
        assert world.announced("trusted-late") == [(INVALID, "unknown_issuer")]
        (tmp_path / "ca.pem").write_bytes(elsewhere.root.pem)
        wait_until(lambda world=world: world.post("trusted-late").status == 200)  # type: ignore[misc]
        wait_until(lambda world=world: [row["state"] for row in world.rows("trusted-late")] == ["valid"])  # type: ignore[misc]
        assert "reason" not in only(world.rows("trusted-late"))


@pytest.mark.parametrize("core", CORES)
def test_of_several_behind_one_address_the_bad_one_is_told_of_and_requests_are_counted_together(
    tmp_path: Path, authority: Authority, core: str
) -> None:
    good, renewed = authority.issue("127.0.0.1", 200 * DAY), authority.issue("127.0.0.1", 300 * DAY)
    behind = [context(each) for each in (authority.issue("127.0.0.1", -DAY), good, renewed)]
    for world in worlds(tmp_path, authority, core, {"balanced": (good,)}):
        for _ in range(3):
            for world.servers["balanced"].tls in behind:
                world.post("balanced")
            judged_again(world.process, "balanced", times=1)
        assert world.announced("balanced", 1)[0] == (EXPIRED, None)
        wait_until(lambda world=world: only(world.rows("balanced"))["requests_last_hour"] == 6)  # type: ignore[misc]


@pytest.mark.parametrize("core", CORES)
def test_what_upstreams_present_is_not_looked_at_where_monitoring_is_off(
    tmp_path: Path, authority: Authority, core: str
) -> None:
    chains = {"expired": (authority.issue("127.0.0.1", -DAY),), "fine": (authority.issue("127.0.0.1"),)}
    for world in worlds(tmp_path, authority, core, chains, enabled=False):
        assert code(world.post("expired")) == (502, EXPIRED_CODE)
        assert world.post("fine").status == 200
        assert certificate_series(world.process, cert_role=ROLE) == set()
        assert json.loads(ask("GET", f"{world.process.admin_url}/certs").text)["certs"] == []
