"""`POST /certs/check`: a certificate held against what is served, before it is deployed."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.certcheck.text import rfc3339
from tests.authority import DAY, Authority, Issued
from tests.proxy.upstreams import server_tls
from tests.served import Served, configuration, definition, served, write
from tests.tls_upstream import tls_upstream

CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
PASSPHRASE = b"canary-passphrase"


class World:
    """A gateway with a place of every role, whose certificates one authority has issued."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority()
        self.intermediate = self.authority.intermediate("intermediate CA")
        (directory / "ca.pem").write_bytes(self.authority.root.pem)
        self.chain(self.intermediate.issue("orders-client"), "orders")
        self.chain(self.intermediate.issue("gateway", 100 * DAY, "gateway.example", "127.0.0.1"), "gateway")
        orders = definition(
            upstream_certificates={"*": "orders-client"},
            upstream_ca="ca",
            client_certificates=["ca"],
            certificate_expiry_monitor={"warning_threshold_days": 60},
        )
        write(directory, "api-orders.yaml", orders)
        write(directory, "api-plain.yaml", definition("plain", "http://plain.internal/"))
        write(directory, "api-anonymous.yaml", definition("anonymous", "https://other.internal/", upstream_ca="ca"))

    def chain(self, issued: Issued, name: str) -> None:
        issued.write(self.directory, name)
        (self.directory / f"{name}.pem").write_bytes(issued.pem + self.intermediate.root.pem)

    def configuration(self) -> dict[str, Any]:
        pairs = {
            ref: {"cert_file": f"{name}.pem", "key_file": f"{name}.key"}
            for ref, name in (("orders-client", "orders"), ("gateway", "gateway"))
        }
        certificates = pairs | {"ca": {"cert_file": "ca.pem"}}
        proxy = {"listen": "127.0.0.1:0", "tls": {"certificate": "gateway"}}
        return configuration(certificates=certificates, proxy=proxy)

    def body(self, issued: Issued) -> bytes:
        return issued.pem + self.intermediate.root.pem + issued.key_pem()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def ask(gateway: Served, body: bytes, query: str = "", **headers: str) -> tuple[int, Any]:
    return await gateway.ask("POST", f"/certs/check{query}", data=io.BytesIO(body), headers=headers)


async def answer(world: World, body: bytes, query: str = "") -> dict[str, Any]:
    async with served(world.directory, world.configuration()) as gateway:
        status, document = await ask(gateway, body, query)
    assert status == 200, document
    found: dict[str, Any] = document
    return found


async def place(world: World, body: bytes, query: str) -> dict[str, Any]:
    [row] = (await answer(world, body, query))["places"]
    found: dict[str, Any] = row
    return found


def statuses(row: dict[str, Any]) -> dict[str, str]:
    return {name: check["status"] for name, check in row["checks"].items()}


def roles(document: dict[str, Any]) -> list[tuple[str | None, str]]:
    return [(row["api_id"], row["cert_role"]) for row in document["places"]]


ORDERS = "?api_id=orders&role="


async def test_a_renewed_client_certificate_works_until_the_first_of_its_chain_expires(world: World) -> None:
    issued = world.intermediate.issue("orders-client", 200 * DAY, extensions=[CLIENT])
    document = await answer(world, world.body(issued), ORDERS + "upstream")
    [row] = document["places"]
    assert statuses(row) == dict.fromkeys(("dates", "key", "chain", "key_usage"), "pass")
    assert (row["works"], row["until"]) == (True, rfc3339(issued.certificate.not_valid_after_utc))
    assert (row["days_remaining"], row["expiring"]) == (199, False)
    assert (row["cert_ref"], row["server_address"], row["server_port"]) == ("orders-client", "orders.internal", 8443)
    assert document["certificate"] == document["certificate"] | {
        "cert_id": issued.cert_id,
        "cert_name": "orders-client",
        "subject": "CN=orders-client",
        "issuer": "CN=intermediate CA",
        "sans": ["orders-client"],
        "not_before": rfc3339(issued.certificate.not_valid_before_utc),
        "expires_at": row["until"],
        "chain_length": 2,
        "has_key": True,
    }


async def test_an_intermediate_that_expires_first_decides(world: World) -> None:
    short = world.authority.intermediate("short CA", 50 * DAY)
    issued = short.issue("orders-client", 200 * DAY)
    row = await place(world, issued.pem + short.root.pem + issued.key_pem(), ORDERS + "client")
    assert (row["works"], row["days_remaining"], row["expiring"]) == (True, 49, True)


@pytest.mark.parametrize(("left", "expiring"), [(61, False), (59, True)])
async def test_each_place_is_judged_by_its_own_threshold(world: World, left: int, *, expiring: bool) -> None:
    row = await place(world, world.body(world.intermediate.issue("orders-client", left * DAY)), ORDERS + "upstream")
    assert (row["works"], row["expiring"]) == (True, expiring)


@pytest.mark.parametrize("role", ["upstream", "upstream_server", "client"])
async def test_an_expired_certificate_works_nowhere(world: World, role: str) -> None:
    issued = world.intermediate.issue("orders.internal", -1 * DAY)
    row = await place(world, world.body(issued), ORDERS + role)
    assert (row["works"], row["expiring"], row["checks"]["dates"]["status"]) == (False, False, "fail")
    assert row["checks"]["dates"]["detail"] == f"orders.internal expired at {row['until']}"
    assert row["checks"]["chain"]["status"] == "pass"


async def test_a_certificate_that_is_not_valid_yet_does_not_work_yet(world: World) -> None:
    issued = world.intermediate.issue("orders", not_before=world.authority.now + DAY)
    row = await place(world, world.body(issued), ORDERS + "upstream")
    assert (row["works"], statuses(row)["dates"]) == (False, "fail")


@pytest.mark.parametrize(
    ("role", "works"), [("upstream", None), ("server", None), ("client", True), ("upstream_server", True)]
)
async def test_without_a_key_it_is_unknown_where_we_would_need_one(
    world: World, role: str, *, works: bool | None
) -> None:
    issued = world.intermediate.issue("any", 100 * DAY, "orders.internal", "gateway.example", "127.0.0.1")
    query = "?role=server" if role == "server" else ORDERS + role
    row = await place(world, issued.pem + world.intermediate.root.pem, query)
    assert (row["works"], statuses(row)["key"]) == (works, "unknown")


async def test_another_key_fails(world: World) -> None:
    issued, other = world.intermediate.issue("orders"), world.intermediate.issue("orders")
    body = issued.pem + world.intermediate.root.pem + other.key_pem()
    row = await place(world, body, ORDERS + "upstream")
    assert (row["works"], statuses(row)["key"]) == (False, "fail")


async def test_what_another_issuer_has_issued_may_or_may_not_be_trusted_by_the_upstream(world: World) -> None:
    # The same name, another key.
    impostor = Authority("intermediate CA").issue("orders")
    row = await place(world, impostor.pem + impostor.key_pem(), ORDERS + "upstream")
    assert (row["works"], statuses(row)["chain"]) == (None, "unknown")


async def test_an_intermediate_that_has_not_issued_it_breaks_the_chain(world: World) -> None:
    issued, other = world.intermediate.issue("orders"), world.authority.intermediate("other CA")
    row = await place(world, issued.pem + other.root.pem + issued.key_pem(), ORDERS + "upstream")
    assert (row["works"], statuses(row)["chain"]) == (False, "fail")
    assert row["checks"]["chain"]["detail"] == "it holds other CA, which has issued nothing in it"


@pytest.mark.parametrize(("role", "usage"), [("upstream", SERVER), ("client", SERVER), ("upstream_server", CLIENT)])
async def test_a_certificate_for_the_other_side_does_not_work(
    world: World, role: str, usage: x509.ExtendedKeyUsage
) -> None:
    issued = world.intermediate.issue("orders.internal", extensions=[usage])
    row = await place(world, world.body(issued), ORDERS + role)
    assert (row["works"], statuses(row)["key_usage"]) == (False, "fail")


async def test_what_an_upstream_presents_is_verified_by_the_apis_own_anchors(world: World) -> None:
    issued, stranger = world.intermediate.issue("orders.internal"), Authority("strange CA").issue("orders.internal")
    async with served(world.directory, world.configuration()) as gateway:
        _, document = await ask(gateway, world.body(issued), ORDERS + "upstream_server")
        _, strange = await ask(gateway, stranger.pem, ORDERS + "upstream_server")
        _, incomplete = await ask(gateway, issued.pem, ORDERS + "upstream_server")
    assert document["places"][0]["works"] is True
    for each in (strange, incomplete):
        [row] = each["places"]
        assert (row["works"], statuses(row)["chain"]) == (False, "fail")
        assert "unable to get local issuer certificate" in row["checks"]["chain"]["detail"]


async def test_clients_are_let_in_by_the_apis_allow_list(world: World) -> None:
    listed, stranger = world.intermediate.issue("partner"), Authority().issue("partner")
    async with served(world.directory, world.configuration()) as gateway:
        _, document = await ask(gateway, world.body(listed), ORDERS + "client")
        _, strange = await ask(gateway, stranger.pem, ORDERS + "client")
    assert document["places"][0]["works"] is True
    assert (strange["places"][0]["works"], statuses(strange["places"][0])["chain"]) == (False, "fail")


async def test_of_several_listed_issuers_one_that_is_valid_is_enough(world: World) -> None:
    root = world.authority.root
    old = Authority("test CA", key=root.key, left=-1 * DAY).root
    (world.directory / "ca.pem").write_bytes(old.pem + root.pem)
    row = await place(world, world.body(world.intermediate.issue("partner")), ORDERS + "client")
    assert (row["works"], statuses(row)["dates"]) == (True, "pass")


async def test_an_anchor_that_expires_first_decides(world: World) -> None:
    short = Authority("short CA", left=40 * DAY)
    (world.directory / "ca.pem").write_bytes(short.root.pem)
    row = await place(world, short.issue("orders.internal").pem, ORDERS + "upstream_server")
    assert (row["works"], row["days_remaining"], row["expiring"]) == (True, 39, True)


async def test_an_api_that_is_asked_about_is_asked_about_alone(world: World) -> None:
    issued = world.intermediate.issue("x", 100 * DAY, "gateway.example", "127.0.0.1", "other.internal")
    document = await answer(world, world.body(issued), "?api_id=orders")
    assert roles(document) == [("orders", "upstream"), ("orders", "client")]


@pytest.mark.parametrize(
    ("sans", "works"),
    [
        (("gateway.example", "127.0.0.1"), True),
        (("gateway.example", "127.0.0.1", "more.example"), True),
        (("*.example", "127.0.0.1"), False),
        (("gateway.example",), False),
        (("other.example",), False),
    ],
)
async def test_the_listeners_certificate_has_to_keep_every_name(
    world: World, sans: Iterable[str], *, works: bool
) -> None:
    issued = world.intermediate.issue("gateway", 100 * DAY, *sans)
    row = await place(world, world.body(issued), "?role=server")
    assert (row["works"], statuses(row)["name"]) == (works, "pass" if works else "fail")
    assert (row["api_id"], row["server_address"], row["cert_ref"]) == (None, "127.0.0.1", "gateway")


async def test_the_listeners_chain_has_to_be_complete_and_in_order(world: World) -> None:
    issued = world.intermediate.issue("gateway", 100 * DAY, "gateway.example", "127.0.0.1")
    root, between, key = world.authority.root.pem, world.intermediate.root.pem, issued.key_pem()
    found = {}
    async with served(world.directory, world.configuration()) as gateway:
        for name, chain in (("whole", between), ("root", between + root), ("bare", b""), ("mixed", root + between)):
            _, document = await ask(gateway, issued.pem + chain + key, "?role=server")
            found[name] = document["places"][0]["checks"]["chain"]["status"]
    assert found == {"whole": "pass", "root": "pass", "bare": "fail", "mixed": "fail"}


async def test_a_new_issuer_of_the_listeners_certificate_may_be_one_that_the_system_trusts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = Authority("public CA")
    issued = public.issue("gateway", 100 * DAY, "gateway.example", "127.0.0.1")
    assert (await place(world, issued.pem + issued.key_pem(), "?role=server"))["works"] is None
    (world.directory / "public.pem").write_bytes(public.root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(world.directory / "public.pem"))
    assert (await place(world, issued.pem + issued.key_pem(), "?role=server"))["works"] is True


async def test_places_are_those_that_the_certificate_is_meant_for(world: World) -> None:
    cases = {
        (CLIENT, "partner"): [("orders", "upstream"), ("orders", "client")],
        (SERVER, "orders.internal"): [("orders", "upstream_server")],
        (SERVER, "gateway.example"): [(None, "server")],
        (SERVER, "nowhere.example"): [],
        (None, "other.internal"): [("anonymous", "upstream_server"), ("orders", "upstream"), ("orders", "client")],
    }
    found = {}
    async with served(world.directory, world.configuration()) as gateway:
        for usage, name in cases:
            issued = world.intermediate.issue(name, extensions=[usage] if usage else [])
            _, document = await ask(gateway, world.body(issued))
            found[usage, name] = roles(document)
    assert found == cases


async def test_a_role_that_is_asked_for_shows_what_does_not_match_too(world: World) -> None:
    document = await answer(world, world.body(world.intermediate.issue("nowhere")), "?role=upstream_server")
    assert roles(document) == [("anonymous", "upstream_server"), ("orders", "upstream_server")]
    assert {statuses(row)["name"] for row in document["places"]} == {"fail"}
    assert {row["works"] for row in document["places"]} == {False}


async def test_der_is_taken(world: World) -> None:
    issued = world.intermediate.issue("orders")
    assert (await answer(world, issued.der))["certificate"]["cert_id"] == issued.cert_id


async def test_what_cannot_be_read_is_refused_with_its_reason(world: World) -> None:
    issued = world.intermediate.issue("orders")
    cases = {
        b"": "unreadable",
        b"not a certificate": "unreadable",
        b"\x30\x03\x02\x01\x01": "unreadable",
        issued.pem[:-40]: "unreadable",
        issued.pem + issued.key_pem(b"secret"): "bad_passphrase",
        issued.pem + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n": "unreadable",
        issued.pem * 12: "other",
    }
    found = {}
    async with served(world.directory, world.configuration()) as gateway:
        for body in cases:
            status, document = await ask(gateway, body)
            assert (status, document["status"], bool(document["detail"])) == (422, 422, True)
            found[body] = document["reason"]
        status, _ = await ask(gateway, bytes(1024 * 1024 + 1))
        assert status == 413
    assert found == cases


async def test_the_passphrase_opens_the_key(world: World) -> None:
    issued = world.intermediate.issue("orders")
    body = issued.pem + world.intermediate.root.pem + issued.key_pem(PASSPHRASE)
    async with served(world.directory, world.configuration()) as gateway:
        for passphrase, status in ((PASSPHRASE.decode(), 200), ("other", 422), (" ", 422)):
            found = await ask(gateway, body, ORDERS + "upstream", **{"Certgauge-Passphrase": passphrase})
            assert found[0] == status


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("?rolle=client", 400, "'rolle' is not a parameter; known here: api_id, rehearse, role"),
        ("?role=ca", 400, "role must be one of upstream, upstream_server, client, server"),
        ("?rehearse=1", 400, "rehearse must be one of true, false"),
        ("?role=client&role=client", 400, "role is given twice"),
        ("?api_id=none", 404, "No API has this id."),
    ],
)
async def test_a_wrong_parameter_is_explained(world: World, query: str, status: int, detail: str) -> None:
    async with served(world.directory, world.configuration()) as gateway:
        answered = await ask(gateway, world.authority.issue("x").pem, query)
    assert (answered[0], answered[1]["detail"]) == (status, detail)


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_rehearsal_answers_what_the_upstream_trusts(world: World, *, accepts: bool) -> None:
    stranger = Authority("strange CA")
    candidate = stranger.issue("orders-client")
    context = server_tls(world.authority.issue("localhost"), stranger if accepts else world.authority)
    async with tls_upstream(context) as upstream:
        orders = definition(
            target=f"https://localhost:{upstream.port}/", upstream_certificates={"*": "orders-client"}, upstream_ca="ca"
        )
        write(world.directory, "api-orders.yaml", orders)
        row = await place(world, candidate.pem + candidate.key_pem(), ORDERS + "upstream&rehearse=true")
        await upstream.over.wait()
    assert statuses(row)["chain"] == "unknown"
    assert (row["rehearsal"]["status"], row["works"]) == (("pass", True) if accepts else ("fail", False))
    assert (upstream.connections, upstream.application_bytes) == (1, 0)


async def test_a_rehearsal_without_a_key_connects_to_nobody(world: World) -> None:
    async with tls_upstream(server_tls(world.authority.issue("localhost"))) as upstream:
        orders = definition(
            target=f"https://localhost:{upstream.port}/", upstream_certificates={"*": "orders-client"}, upstream_ca="ca"
        )
        write(world.directory, "api-orders.yaml", orders)
        row = await place(world, world.intermediate.issue("x").pem, ORDERS + "upstream&rehearse=true")
    assert row["rehearsal"] == {"status": "unknown", "detail": "a handshake needs the private key of the certificate"}
    assert upstream.connections == 0


async def test_only_the_role_of_a_client_is_rehearsed(world: World) -> None:
    document = await answer(world, world.body(world.intermediate.issue("x")), ORDERS + "client&rehearse=true")
    assert "rehearsal" not in document["places"][0]


async def test_at_most_eight_rehearsals_go_on_at_once(world: World) -> None:
    now, most, eight, released = 0, 0, asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 8:
            eight.set()
        await released.wait()
        # Before the next one can come: it is let in only by this one's end.
        now -= 1
        writer.close()

    (world.directory / "api-orders.yaml").unlink()
    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        target = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
        for number in range(10):
            one = definition(f"a{number}", target, upstream_certificates={"*": "orders-client"}, upstream_ca="ca")
            write(world.directory, f"api-a{number}.yaml", one)
        async with served(world.directory, world.configuration()) as gateway, asyncio.TaskGroup() as tasks:
            body = world.body(world.intermediate.issue("x"))
            asked = tasks.create_task(ask(gateway, body, "?role=upstream&rehearse=true"))
            await eight.wait()
            for _ in range(5):
                # What goes through loop and threads gives a ninth every chance to come.
                assert (await gateway.get("/certs"))[0] == 200
            released.set()
            _, document = await asked
    details = [row["rehearsal"]["detail"] for row in document["places"]]
    assert details == ["the upstream ended the connection in the handshake"] * 10
    assert most == 8


async def test_one_check_follows_another_while_a_rehearsal_waits(world: World) -> None:
    reached, released = asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await released.wait()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        target = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
        orders = definition(target=target, upstream_certificates={"*": "orders-client"}, upstream_ca="ca")
        write(world.directory, "api-orders.yaml", orders)
        async with served(world.directory, world.configuration()) as gateway, asyncio.TaskGroup() as tasks:
            body = world.body(world.intermediate.issue("x"))
            asked = tasks.create_task(ask(gateway, body, ORDERS + "upstream&rehearse=true"))
            await reached.wait()
            assert (await ask(gateway, body, ORDERS + "upstream"))[0] == 200
            assert not asked.done()
            released.set()


async def test_the_documentation_shows_what_is_answered(world: World) -> None:
    page = (Path(__file__).parents[2] / "docs" / "preflight.md").read_text("utf-8")
    shown = json.loads(page.split("```json\n")[1].split("```")[0])
    document = await answer(world, world.body(world.intermediate.issue("x")), ORDERS + "upstream&rehearse=true")
    [row], [example] = document["places"], shown["places"]
    assert (list(shown), list(shown["certificate"])) == (list(document), list(document["certificate"]))
    assert (list(example), list(example["checks"])) == (list(row), list(row["checks"]))


@pytest.mark.parametrize(("method", "path"), [("POST", "/certs/check"), ("PUT", "/apis/slow")])
async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path, method: str, path: str) -> None:
    async with served(tmp_path) as world:
        admin = urlsplit(world.running.admin_url)
        reader, writer = await asyncio.open_connection(admin.hostname, admin.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 100\r\n\r\nhalf".encode())
        async with asyncio.timeout(15):
            assert await reader.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
        writer.close()
        await writer.wait_closed()
