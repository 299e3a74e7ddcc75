"""Client certificates from end to end: files, listener, allow-lists, answers, what is observed, reload and PUT."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest

from tests.authority import DAY, Authority, Issued
from tests.served import Served, configuration, definition, plain_upstream, served, write

Outcome: TypeAlias = tuple[int, str] | None
"""Status, and code or content; None: the handshake was ended."""

OK = (200, "hello")
REQUIRED, NOT_ALLOWED, EXPIRED = (
    (403, f"client_certificate_{what}") for what in ("required", "not_allowed", "expired")
)


@dataclass
class Partners:
    """`orders` is for Anna and for the partners' team, `billing` for the others, `open` for everybody."""

    world: Served
    target: str
    internal: Authority
    partners: Authority
    others: Authority
    team: Authority
    anna: Issued
    clients: dict[tuple[bytes, ssl.TLSVersion], ssl.SSLContext] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return urlsplit(self.world.running.proxy_url).port or 0

    async def ask(
        self, path: str, *own: Issued, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, paths: tuple[str, ...] = ()
    ) -> Outcome | list[Outcome]:
        """Request a path, or several on one connection, with a certificate and what is presented along with it."""
        outcomes = await asyncio.to_thread(self._ask, (path, *paths), own, version)
        return outcomes if paths else outcomes[0]

    def _ask(self, paths: tuple[str, ...], own: tuple[Issued, ...], version: ssl.TLSVersion) -> list[Outcome]:
        context = self._client(own, version)
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
                connection.makefile("rwb") as stream,
            ):
                return [_exchange(stream, path) for path in paths]
        except (OSError, EOFError):
            return [None]

    def _client(self, own: tuple[Issued, ...], version: ssl.TLSVersion) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = context.maximum_version = version
        context.load_verify_locations(cadata=self.internal.root.der)
        if own:
            chain = self.world.directory / "presented.pem"
            chain.write_bytes(b"".join(each.pem for each in own) + own[0].key_pem())
            context.load_cert_chain(chain)
        return context

    async def certs(self, **query: str) -> list[dict[str, Any]]:
        _, answer = await self.world.get("/certs", params=query)
        rows: list[dict[str, Any]] = answer["certs"]
        return rows

    async def last_observed(self, **query: str) -> set[tuple[str, str]]:
        """The roles and names of what traffic has used."""
        rows = [row for row in await self.certs(**query) if "last_observed_at" in row]
        return {(row["cert_role"], row["cert_name"]) for row in rows}

    async def observed(self, name: str) -> dict[str, Any]:
        """The row of what a client presented, once a flush has put it there."""
        async with asyncio.timeout(15):
            while True:
                for row in await self.certs(role="client"):
                    if row["cert_name"] == name and "cert_ref" not in row:
                        return row


def _exchange(stream: Any, path: str) -> Outcome:
    stream.write(f"GET {path} HTTP/1.1\r\nhost: gateway.example\r\n\r\n".encode())
    stream.flush()
    status = stream.readline()
    if not status:
        raise EOFError
    length = 0
    while (line := stream.readline().strip().lower()) != b"":
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    text = stream.read(length).decode()
    return int(status.split()[1]), json.loads(text)["code"] if text.startswith("{") else text


@asynccontextmanager
async def partners(directory: Path, **proxy_tls: str) -> AsyncIterator[Partners]:
    internal, root, others = Authority("internal"), Authority("partners"), Authority("others")
    team, anna = root.intermediate("team"), root.issue("anna")
    internal.issue("gateway", 100 * DAY, "127.0.0.1").write(directory, "gateway")
    for name, content in {
        "anna": anna.pem, "team": team.root.pem, "others": others.root.pem, "partners": root.root.pem,
    }.items():  # fmt: skip
        (directory / f"{name}.pem").write_bytes(content)
    config = configuration(
        proxy={
            "listen": "127.0.0.1:0",
            "drain_timeout_seconds": 2,
            "tls": {"certificate": "gateway", **proxy_tls},
        },
        certificates={
            "gateway": {"cert_file": "gateway.pem", "key_file": "gateway.key"},
            **{name: {"cert_file": f"{name}.pem"} for name in ("anna", "team", "others", "partners")},
        },
    )
    async with plain_upstream() as target:
        write(directory, "api-orders.yaml", definition("orders", target, client_certificates=["anna", "team"]))
        write(directory, "api-billing.yaml", definition("billing", target, client_certificates=["others"]))
        write(directory, "api-open.yaml", definition("open", target))
        async with asyncio.timeout(60), served(directory, config) as world:
            yield Partners(world, target, internal, root, others, team, anna)


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
async def test_each_api_serves_its_own_clients_and_tells_the_others_why_not(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async with partners(tmp_path) as site:
        member, stranger = site.team.issue("member"), site.others.issue("stranger")
        late, early = site.team.issue("late", -DAY), site.team.issue("early", not_before=site.team.now + DAY)
        for own, orders, billing in (
            ((), REQUIRED, REQUIRED),
            ((site.anna,), OK, NOT_ALLOWED),
            ((member,), OK, NOT_ALLOWED),
            ((stranger,), NOT_ALLOWED, OK),
            ((late,), EXPIRED, NOT_ALLOWED),
            ((early,), NOT_ALLOWED, NOT_ALLOWED),
        ):
            paths = ("/billing/x", "/open/x", "/orders/x")
            answers = await site.ask("/orders/x", *own, version=version, paths=paths)
            assert answers == [orders, billing, OK, orders], own


@VERSIONS
async def test_a_client_that_nobody_lists_ends_in_the_handshake_and_is_counted(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async with partners(tmp_path) as site:
        # Of the right issuer, but only its team is listed.
        for own in (site.partners.issue("anna"), Authority("unknown").issue("anna")):
            assert await site.ask("/open/x", own, version=version) is None
        counted = 'certificate_errors_total{reason="client_handshake_failed"}'
        assert await site.world.metric(counted) == [f"{counted} 2"]
        assert site.world.sink.events == []


async def test_clients_of_client_ca_are_let_in_and_no_list_is_longer_for_it(tmp_path: Path) -> None:
    async with partners(tmp_path, client_ca="partners") as site:
        bert, member = site.partners.issue("bert"), site.team.issue("member")
        for path, own, answer in (
            ("/open/x", (bert,), OK),
            ("/orders/x", (bert,), NOT_ALLOWED),
            ("/orders/x", (member, site.team.root), OK),
        ):
            assert await site.ask(path, *own) == answer


async def test_what_is_listed_is_seen_in_use_and_what_is_verified_gets_a_slot(tmp_path: Path) -> None:
    async with partners(tmp_path) as site:
        configured = {(row["cert_role"], row["cert_ref"]) for row in await site.certs(api_id="orders")}
        assert configured == {("client", "anna"), ("ca", "team")}
        assert await site.last_observed(api_id="orders") == set()
        member = site.team.issue("member", 10 * DAY)
        assert await site.ask("/orders/x", site.anna) == await site.ask("/orders/x", member) == OK
        row = await site.observed("member")
        assert (row["api_id"], row["cert_id"], row["state"]) == ("orders", member.cert_id, "expiring")
        assert await site.last_observed(api_id="orders") == {("client", "anna"), ("client", "member")}
        [event] = site.world.sink.events
        assert event.message.startswith("Client certificate will expire in ")
        series = await site.world.metric('certificate_days_remaining{api_id="orders",cert_role="client"')
        assert len(series) == len({each.rpartition(" ")[0] for each in series}) == 2


async def test_an_expired_client_is_announced_and_one_that_is_not_allowed_is_not(tmp_path: Path) -> None:
    async with partners(tmp_path) as site:
        assert await site.ask("/billing/x", site.team.issue("uninvited", -DAY)) == NOT_ALLOWED
        assert await site.ask("/orders/x", site.team.issue("late", -DAY)) == EXPIRED
        row = await site.observed("late")
        assert (row["api_id"], row["state"]) == ("orders", "expired")
        assert [event.payload()["cert_name"] for event in site.world.sink.events] == ["late"]


async def test_a_renewed_client_takes_over_its_slot(tmp_path: Path) -> None:
    async with partners(tmp_path) as site:
        for left in (10, 300):
            member = site.team.issue("member", left * DAY)
            assert await site.ask("/orders/x", member) == OK
            async with asyncio.timeout(15):
                while (await site.observed("member"))["cert_id"] != member.cert_id:
                    pass
        async with asyncio.timeout(15):
            while len(site.world.sink.events) < 2:
                site.world.sink.arrived.clear()
                await site.world.sink.arrived.wait()
        assert site.world.sink.kinds == ["CertificateExpiringSoon", "CertificateRenewed"]


async def test_a_reload_that_removes_a_client_counts_for_open_connections_and_for_new_ones(tmp_path: Path) -> None:
    async with partners(tmp_path) as site:
        connection = await asyncio.open_connection(
            "127.0.0.1", site.port, ssl=site._client((site.anna,), ssl.TLSVersion.TLSv1_3), server_hostname="127.0.0.1"
        )
        assert await _on(connection, "/orders/x") == 200
        write(tmp_path, "api-orders.yaml", definition("orders", site.target, client_certificates=["team"]))
        await site.world.ask("POST", "/reload")
        assert await _on(connection, "/orders/x") == 403
        assert await site.ask("/orders/x", site.anna) is None
        assert await site.ask("/orders/x", site.team.issue("member")) == OK
        connection[1].close()
        await connection[1].wait_closed()


async def _on(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str) -> int:
    reader, writer = connection
    writer.write(f"GET {path} HTTP/1.1\r\nhost: gateway.example\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    return int(head.split()[1])


async def test_a_listed_file_that_changes_is_taken(tmp_path: Path) -> None:
    async with partners(tmp_path) as site:
        renewed = site.partners.issue("anna", 300 * DAY)
        assert await site.ask("/orders/x", renewed) is None
        (tmp_path / "anna.pem").write_bytes(renewed.pem)
        await site.world.ask("POST", "/reload")
        assert await site.ask("/orders/x", renewed) == OK
        assert await site.ask("/orders/x", site.anna) is None


async def test_an_api_that_is_put_brings_its_clients_and_takes_them_along(tmp_path: Path) -> None:
    async with partners(tmp_path) as site:
        bert = site.partners.issue("bert")
        assert await site.ask("/put/x", bert) is None
        api = definition("put", site.target, client_certificates=["partners"])
        assert (await site.world.ask("PUT", "/apis/put", json=api))[0] == 201
        assert await site.ask("/put/x", bert, paths=("/orders/x",)) == [OK, NOT_ALLOWED]
        assert (await site.world.ask("DELETE", "/apis/put"))[0] == 204
        assert await site.ask("/put/x", bert) is None
        assert await site.ask("/put/x", site.anna) == (404, "no_such_api")


async def test_a_list_without_tls_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        api = definition("put", client_certificates=["orders-client"])
        status, problem = await world.ask("PUT", "/apis/put", json=api)
        assert (status, [error["path"] for error in problem["errors"]]) == (422, ["client_certificates"])
        assert problem["errors"][0]["message"] == "needs proxy.tls: clients present certificates over TLS only"


async def test_the_last_list_that_goes_ends_the_asking_and_the_first_one_begins_it(tmp_path: Path) -> None:
    async with partners(tmp_path) as site:
        unknown = Authority("unknown").issue("anna")
        for api_id in ("orders", "billing"):
            await site.world.ask("DELETE", f"/apis/{api_id}")
        assert await site.ask("/open/x", unknown) == OK
        api = definition("orders", site.target, client_certificates=["anna"])
        await site.world.ask("PUT", "/apis/orders", json=api)
        assert await site.ask("/open/x", unknown) is None


@pytest.mark.parametrize("content", [b"nothing", None])
async def test_an_entry_that_cannot_be_read_is_announced_and_keeps_nobody_else_out(
    tmp_path: Path, content: bytes | None
) -> None:
    async with partners(tmp_path) as site:
        (tmp_path / "anna.pem").write_bytes(content) if content else (tmp_path / "anna.pem").unlink()
        api = definition("put", site.target, client_certificates=["anna", "team"])
        await site.world.ask("PUT", "/apis/put", json=api)
        assert await site.ask("/put/x", site.anna) == NOT_ALLOWED
        assert await site.ask("/put/x", site.team.issue("member")) == OK
        [row] = [row for row in await site.certs(api_id="put") if row["cert_ref"] == "anna"]
        assert row["state"] == "unreadable"
        assert (await site.world.events())[0]["event"] == "CertificateInvalid"


async def test_an_api_whose_list_cannot_be_read_at_all_serves_nobody(tmp_path: Path) -> None:
    async with partners(tmp_path) as site:
        (tmp_path / "others.pem").write_text("nothing")
        await site.world.ask("PUT", "/apis/put", json=definition("put", site.target, client_certificates=["others"]))
        assert await site.ask("/put/x") == await site.ask("/put/x", site.anna) == NOT_ALLOWED
        assert await site.ask("/orders/x", site.anna) == OK


@pytest.mark.parametrize("content", [b"-----BEGIN CERTIFICATE-----", None])
async def test_a_listed_file_that_is_broken_later_keeps_nobody_out_and_is_announced(
    tmp_path: Path, content: bytes | None
) -> None:
    async with partners(tmp_path) as site:
        (tmp_path / "anna.pem").write_bytes(content) if content else (tmp_path / "anna.pem").unlink()
        status, problem = await site.world.ask("POST", "/reload")
        assert (status, len(problem["errors"])) == (422, 1)
        assert await site.ask("/orders/x", site.anna) == OK
        [row] = [row for row in await site.certs(api_id="orders") if row["cert_ref"] == "anna"]
        assert (row["state"], row["file_in_use"]) == ("valid", False)
        [event] = await site.world.events()
        assert (event["event"], event["cert_ref"]) == ("CertificateInvalid", "anna")


async def test_without_monitoring_clients_are_still_verified(tmp_path: Path) -> None:
    async with partners(tmp_path) as site:
        off = {"certificate_expiry_monitor": {"enabled": False}}
        api = definition("put", site.target, client_certificates=["anna", "team"], **off)
        await site.world.ask("PUT", "/apis/put", json=api)
        for own, answer in ((site.anna, OK), (site.team.issue("late", -DAY), EXPIRED)):
            assert await site.ask("/put/x", own) == answer
        assert await site.certs(api_id="put") == []
        assert await site.world.metric('certificate_observations_total{api_id="put"') == []
