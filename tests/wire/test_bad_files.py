"""A wrong or half-written file: what was in use stays in use, and what is wrong is counted, shown and announced."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.authority import DAY, Authority, Issued
from tests.process import Process, ask, run, wait_until
from tests.wire.shown import INVALID, RENEWED, SOON, events, judged_again, only, rows, series, told, total
from tests.wire.tls_servers import context, presenting
from tests.wire.wires import connected
from tests.wire.worlds import configured

PASSPHRASE = b"a passphrase that nobody has"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def encrypted(at: Path, new: Issued) -> None:
    (at / "own.pem").write_bytes(new.pem)
    (at / "own.key").write_bytes(new.key_pem(PASSPHRASE))


BAD: dict[str, tuple[str, Callable[[Path, Issued], object]]] = {
    "certificate removed": ("missing", lambda at, _: (at / "own.pem").unlink()),
    "key removed": ("missing", lambda at, _: (at / "own.key").unlink()),
    "certificate cut off": ("unreadable", lambda at, _: cut(at / "own.pem")),
    "certificate empty": ("unreadable", lambda at, _: (at / "own.pem").write_bytes(b"")),
    "certificate not PEM": ("unreadable", lambda at, _: (at / "own.pem").write_bytes(b"a certificate")),
    "key cut off": ("unreadable", lambda at, _: cut(at / "own.key")),
    "new certificate, old key": ("key_mismatch", lambda at, new: (at / "own.pem").write_bytes(new.pem)),
    "new key, old certificate": ("key_mismatch", lambda at, new: (at / "own.key").write_bytes(new.key_pem())),
    "key encrypted": ("bad_passphrase", encrypted),
}
"""By what happens to a pair: the reason that is given, and how it is done."""


def api_id(kind: str) -> str:
    return kind.replace(" ", "-").replace(",", "")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Process]:
    """An API for each kind, with a pair of its own, whose upstream demands it."""
    directory = tmp_path_factory.mktemp("bad")
    (directory / "ca.pem").write_bytes(authority.root.pem)
    certificates: dict[str, Any] = {"ca": {"cert_file": "ca.pem"}}
    with ExitStack() as stack:
        server = stack.enter_context(presenting(authority.issue("127.0.0.1")))
        server.tls = context(authority.issue("127.0.0.1"), clients=authority)
        for kind in [*map(api_id, BAD), "again"]:
            (directory / kind).mkdir()
            authority.issue("own").write(directory / kind, "own")
            certificates[kind] = {"cert_file": f"{kind}/own.pem", "key_file": f"{kind}/own.key"}
        apis = [
            {
                "api_id": kind,
                "listen_path": f"/{kind}/",
                "target_url": f"https://127.0.0.1:{server.port}/",
                "upstream_ca": "ca",
                "upstream_certificates": {"127.0.0.1": kind},
            }
            for kind in [*map(api_id, BAD), "again"]
        ]
        monitor = {"flush_interval_seconds": 1, "check_cooldown_seconds": 0}
        config = configured(directory, "", apis=apis, certificates=certificates, certificate_expiry_monitor=monitor)
        yield stack.enter_context(run(config))


def own_row(process: Process, api: str) -> dict[str, Any]:
    return only(rows(process, api_id=api, role="upstream"))  # type: ignore[no-any-return]


def in_use(process: Process, **labels: str) -> float:
    return only(series(process, "certificate_file_in_use", **labels)).value  # type: ignore[no-any-return]


class Look(NamedTuple):
    """What there is to see of an API and its own certificate at one time."""

    cert_id: str
    file_in_use: bool
    gauge: float
    status: int
    """Of a proxied request."""


def look(process: Process, api: str) -> Look:
    row = own_row(process, api)
    gauge = in_use(process, api_id=api, cert_role="upstream")
    return Look(row["cert_id"], row["file_in_use"], gauge, ask("GET", f"{process.proxy_url}/{api}/").status)


class Story(NamedTuple):
    """One pair, before it was spoilt, while it was, and when it had been renewed."""

    before: Look
    spoilt: Look
    renewed: Look
    new: Issued


@pytest.fixture(scope="module")
def stories(process: Process, authority: Authority) -> dict[str, Story]:
    """All kinds at once, for each takes the time in which a file is noticed."""
    directory, kinds = process.log.parent, {kind: api_id(kind) for kind in BAD}
    before = {kind: look(process, api) for kind, api in kinds.items()}
    for kind, (_, spoil) in BAD.items():
        spoil(directory / kinds[kind], authority.issue("own", 200 * DAY))
    wait_until(lambda: all(told(process, api_id=api) for api in kinds.values()))
    spoilt = {kind: look(process, api) for kind, api in kinds.items()}
    new = {kind: authority.issue("own", 300 * DAY) for kind in BAD}
    for kind, issued in new.items():
        issued.write(directory / kinds[kind], "own")
    wait_until(lambda: all(own_row(process, api)["cert_id"] == new[kind].cert_id for kind, api in kinds.items()))
    return {kind: Story(before[kind], spoilt[kind], look(process, api), new[kind]) for kind, api in kinds.items()}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_pair_is_announced_with_its_reason(process: Process, stories: dict[str, Story], kind: str) -> None:
    assert stories
    invalid = only(events(process, api_id=api_id(kind), event=INVALID))
    fields = ("reason", "cert_role", "cert_ref", "api_id")
    assert [invalid.fields[field] for field in fields] == [BAD[kind][0], "upstream", api_id(kind), api_id(kind)]


@pytest.mark.parametrize("kind", BAD)
def test_the_old_pair_serves_until_there_is_a_good_one_and_both_are_told_apart(
    stories: dict[str, Story], kind: str
) -> None:
    story = stories[kind]
    assert story.before[1:] == (True, 1, 200)
    assert story.spoilt == (story.before.cert_id, False, 0, 200)
    assert story.renewed == (story.new.cert_id, True, 1, 200)


def test_bad_pairs_are_counted_and_no_passphrase_is_shown(process: Process, stories: dict[str, Story]) -> None:
    assert total(process, "certificate_errors_total", reason="certificate_unusable") >= len(stories)
    assert PASSPHRASE.decode() not in process.errors


def test_a_good_pair_after_one_that_was_announced_as_bad_is_announced_as_its_renewal(
    process: Process, authority: Authority
) -> None:
    directory = process.log.parent / "again"
    (directory / "own.key").write_bytes(authority.issue("another").key_pem())
    wait_until(lambda: told(process, api_id="again") == [(INVALID, "key_mismatch")])
    new = authority.issue("own", 300 * DAY)
    new.write(directory, "own")
    wait_until(lambda: own_row(process, "again")["cert_id"] == new.cert_id)
    judged_again(process, "again")
    assert told(process, api_id="again") == [(INVALID, "key_mismatch"), (RENEWED, None)]


def served_by(process: Process, authority: Authority) -> bytes | None:
    """The certificate (DER) that a new connection to the proxy is shown."""
    trusting = ssl.create_default_context(cadata=authority.root.pem.decode())
    with connected(process.proxy_url, trusting) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        return wire.socket.getpeercert(binary_form=True)


@pytest.fixture
def listener(tmp_path: Path, authority: Authority) -> Iterator[Process]:
    """One whose proxy serves with TLS, and whose API trusts a bundle of two; definitions are files."""
    authority.issue("127.0.0.1", 10 * DAY).write(tmp_path, "gateway")
    (tmp_path / "bundle.pem").write_bytes(Authority("another").root.pem + authority.root.pem)
    with presenting(authority.issue("127.0.0.1")) as server:
        define(tmp_path, "orders", server.port)
        config = configured(
            tmp_path,
            "",
            apis=["api-*.yaml"],
            proxy={"tls": {"certificate": "gateway"}},
            certificates={
                "gateway": {"cert_file": "gateway.pem", "key_file": "gateway.key"},
                "bundle": {"cert_file": "bundle.pem"},
            },
            certificate_expiry_monitor={"flush_interval_seconds": 1, "check_cooldown_seconds": 0},
        )
        with run(config) as process:
            yield process


def define(directory: Path, api: str, port: int) -> None:
    """A definition; JSON is YAML."""
    target = f'"target_url": "https://127.0.0.1:{port}/", "upstream_ca": "bundle"'
    (directory / f"api-{api}.yaml").write_text(f'{{"api_id": "{api}", "listen_path": "/{api}/", {target}}}')


def port_of(process: Process) -> int:
    """The upstream's, as it is defined."""
    target = ask("GET", f"{process.admin_url}/apis/orders").json()["target_url"]
    return int(target.rstrip("/").rpartition(":")[2])


def is_defined(process: Process, api: str) -> bool:
    return ask("GET", f"{process.admin_url}/apis/{api}").status == 200


def proxied_over_tls(process: Process, authority: Authority, path: str) -> int:
    with connected(process.proxy_url, ssl.create_default_context(cadata=authority.root.pem.decode())) as wire:
        return wire.ask(path).status


def test_a_listener_keeps_its_certificate_while_the_new_one_is_half_written_and_the_rest_of_the_reload_happens(
    listener: Process, authority: Authority
) -> None:
    directory = listener.log.parent
    old = served_by(listener, authority)
    wait_until(lambda: told(listener, cert_role="server") == [(SOON, None)])
    new = authority.issue("127.0.0.1", 300 * DAY)
    (directory / "gateway.key").write_bytes(new.key_pem())
    (directory / "gateway.pem").write_bytes(new.pem[: len(new.pem) // 2])
    define(directory, "late", port_of(listener))
    wait_until(lambda: is_defined(listener, "late"))
    wait_until(lambda: (INVALID, "unreadable") in told(listener, cert_role="server"))
    assert served_by(listener, authority) == old
    assert in_use(listener, cert_role="server") == 0
    assert total(listener, "certificate_errors_total", reason="certificate_unusable") >= 1
    new.write(directory, "gateway")
    wait_until(lambda: served_by(listener, authority) == new.der)
    wait_until(lambda: (RENEWED, None) in told(listener, cert_role="server"))
    assert in_use(listener, cert_role="server") == 1


def test_a_bundle_that_is_half_written_leaves_the_old_one_in_use_and_the_rest_of_the_reload_happens(
    listener: Process, authority: Authority
) -> None:
    directory = listener.log.parent
    assert proxied_over_tls(listener, authority, "/orders/") == 200
    whole = (directory / "bundle.pem").read_bytes()
    (directory / "bundle.pem").write_bytes(whole[: len(whole) * 3 // 4])
    new = authority.issue("127.0.0.1", 300 * DAY)
    new.write(directory, "gateway")
    wait_until(lambda: (INVALID, "unreadable") in told(listener, api_id="orders", cert_role="ca"))
    wait_until(lambda: served_by(listener, authority) == new.der)
    assert proxied_over_tls(listener, authority, "/orders/") == 200
    # The first is whole in the file, too.
    assert [row["file_in_use"] for row in rows(listener, api_id="orders", role="ca")] == [True, False]
    (directory / "bundle.pem").write_bytes(authority.root.pem)
    wait_until(lambda: [row["file_in_use"] for row in rows(listener, api_id="orders", role="ca")] == [True])
    assert proxied_over_tls(listener, authority, "/orders/") == 200
