"""Every call of the admin listener, over HTTP."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.datastructures import QueryParams

from exporter.admin.certs import page, parse
from exporter.certcheck.certificate import Certificate, Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import entries_of
from exporter.certcheck.slot import Observation, Role
from tests.authority import DAY, Authority
from tests.fakes import NOON
from tests.served import WITH_CERTIFICATE, configuration, definition, plain_upstream, served, write

PROBLEM = "application/problem+json"


def three_ages(directory: Path) -> dict[str, str]:
    """Three APIs with certificates of three ages; each API's `cert_id`."""
    authority, ids, certificates = Authority(), {}, {}
    for api_id, left in (("old", -5), ("soon", 10), ("young", 400)):
        issued = authority.issue(f"{api_id}.client", left * DAY, "one.example", "10.0.0.1")
        certificate, key = issued.write(directory, api_id)
        certificates[f"{api_id}-client"] = {"cert_file": certificate, "key_file": key}
        ids[api_id] = issued.cert_id
        upstream: dict[str, Any] = {"upstream_certificates": {"*.internal": f"{api_id}-client"}}
        write(directory, f"api-{api_id}.yaml", definition(api_id, **upstream))
    write(directory, "with.yaml", configuration(certificates=certificates))
    return ids


async def test_live_ready_and_the_index_answer(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        assert await world.get("/live") == (200, "ok\n")
        assert await world.get("/ready") == (200, "ok\n")
        status, text = await world.get("/")
        assert status == 200
        assert "DELETE /apis/{api_id}" in text
        assert "PARAMETERS" not in text


async def test_health_passes_warns_and_says_why(tmp_path: Path) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    async with served(tmp_path) as world:
        async with world.client.get(world.running.admin_url + "/health") as response:
            assert response.content_type == "application/health+json"
            assert (response.status, (await response.json())["status"]) == (200, "pass")
        world.authority.issue("orders", 10 * DAY).write(tmp_path, "orders")
        await world.ask("POST", "/reload")
        status, health = await world.get("/health")
        assert (status, health["status"]) == (200, "warn")
        assert health["checks"]["certificates"][0]["observedValue"]["expiring"] == 1
        assert health["checks"]["reload"][0]["status"] == "pass"
        assert health["version"]


async def test_certs_are_sorted_by_expiry_and_carry_the_events_keys(tmp_path: Path) -> None:
    ids = three_ages(tmp_path)
    async with served(tmp_path, _read(tmp_path)) as world:
        _, answer = await world.get("/certs")
        assert [cert["api_id"] for cert in answer["certs"]] == ["old", "soon", "young"]
        assert answer["next"] is None
        first = answer["certs"][0]
        assert first["cert_id"] == ids["old"]
        assert (first["state"], first["days_remaining"]) == ("expired", -6)
        assert (first["cert_role"], first["cert_ref"]) == ("upstream", "old-client")
        assert first["sans"] == ["one.example", "10.0.0.1"]
        assert {"not_before", "expires_at", "issuer", "serial_number", "server_address", "server_port"} <= first.keys()
        assert "last_observed_at" not in first
        assert (first["expired_at"], first["days_since_expiry"]) == (first["expires_at"], 5)
        assert "expired_at" not in answer["certs"][1]


def _read(directory: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((directory / "with.yaml").read_text())
    return document


@pytest.mark.parametrize(
    ("query", "apis"),
    [
        ("api_id=soon", ["soon"]),
        ("role=upstream", ["old", "soon", "young"]),
        ("role=ca", []),
        ("state=expired", ["old"]),
        ("state=valid", ["young"]),
        ("expiring_within_days=30", ["old", "soon"]),
        ("expiring_within_days=0", ["old"]),
        ("sort=expires_at&limit=1", ["old"]),
    ],
)
async def test_certs_are_filtered(tmp_path: Path, query: str, apis: list[str]) -> None:
    three_ages(tmp_path)
    async with served(tmp_path, _read(tmp_path)) as world:
        _, answer = await world.get(f"/certs?{query}")
        assert [cert["api_id"] for cert in answer["certs"]] == apis


async def test_certs_are_paged_without_a_gap_or_a_repeat(tmp_path: Path) -> None:
    three_ages(tmp_path)
    async with served(tmp_path, _read(tmp_path)) as world:
        seen, cursor = [], ""
        while cursor is not None:
            _, answer = await world.get("/certs", params={"limit": "1", "cursor": cursor})
            seen += [cert["api_id"] for cert in answer["certs"]]
            cursor = answer["next"]
        assert seen == ["old", "soon", "young"]


def test_clients_that_expire_together_are_paged_like_others() -> None:
    certificates = [Certificate(name, NOON, NOON + DAY, common_name=name) for name in "abc"]
    observations = [Observation("orders", Role.CLIENT, (Reading(each),)) for each in certificates]
    entries = [entry for each in observations for entry in entries_of(each, ExpiryPolicy())]
    seen, cursor = [], ""
    while cursor is not None:
        answer = page(entries, parse(QueryParams({"limit": "1", "cursor": cursor})), NOON)
        seen += [cert["cert_name"] for cert in answer["certs"]]
        cursor = answer["next"]

    assert seen == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("rolle=ca", "'rolle' is not a parameter; known here: api_id, cursor, expiring_within_days, limit, q, role, "),
        ("role=boss", "role must be one of upstream, upstream_server, client, server, ca"),
        ("state=dead", "state must be one of valid, expiring, expired, not_yet_valid, unreadable"),
        ("limit=0", "limit must be a whole number from 1 to 1000"),
        ("limit=1001", "limit must be a whole number from 1 to 1000"),
        ("limit=%C2%B2", "limit must be a whole number from 1 to 1000"),
        ("expiring_within_days=-1", "expiring_within_days must be a whole number from 0 to 36500"),
        ("sort=name", "sort must be expires_at"),
        ("cursor=%FF", "cursor must be the next of an earlier answer"),
        ("cursor=A", "cursor must be the next of an earlier answer"),
        ("limit=1&limit=2", "limit is given twice"),
    ],
)
async def test_a_wrong_parameter_is_a_problem(tmp_path: Path, query: str, detail: str) -> None:
    async with served(tmp_path) as world:
        status, problem = await world.get(f"/certs?{query}")
        assert status == 400
        assert problem["detail"].startswith(detail)


async def test_one_certificate_shows_the_slots_that_use_it(tmp_path: Path) -> None:
    for api_id in ("a", "b"):
        write(tmp_path, f"api-{api_id}.yaml", definition(api_id, **WITH_CERTIFICATE))
    async with served(tmp_path) as world:
        cert_id = (await world.get("/certs"))[1]["certs"][0]["cert_id"]
        status, certificate = await world.get(f"/certs/{cert_id}")
        assert status == 200
        assert [slot["api_id"] for slot in certificate["slots"]] == ["a", "b"]
        assert certificate["key_type"] == "ec-secp256r1"
        assert (await world.get("/certs/" + "0" * 64))[0] == 404


async def test_an_api_is_put_used_replaced_and_deleted(tmp_path: Path) -> None:
    async with plain_upstream() as target, served(tmp_path) as world:
        body = {"listen_path": "/new/", "target_url": target}
        assert (await world.ask("PUT", "/apis/new", json=body))[0] == 201
        assert await world.proxied("/new/x") == (200, "hello")
        body["listen_path"] = "/newer/"
        status, shown = await world.ask("PUT", "/apis/new", json=body)
        assert (status, shown["listen_path"]) == (200, "/newer/")
        assert (await world.proxied("/new/x"))[0] == 404
        assert await world.proxied("/newer/x") == (200, "hello")
        assert await world.get("/apis") == (200, {"apis": [shown]})
        assert await world.ask("DELETE", "/apis/new") == (204, "")
        assert (await world.proxied("/newer/x"))[0] == 404
        assert (await world.ask("DELETE", "/apis/new"))[0] == 404
        assert (await world.get("/apis/new"))[0] == 404


async def test_what_was_put_survives_a_reload_that_does_not_define_it(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        body = {"listen_path": "/new/", "target_url": "http://localhost:1/"}
        await world.ask("PUT", "/apis/new", json=body)
        assert await world.ask("POST", "/reload") == (200, {"added": [], "changed": [], "removed": []})
        write(tmp_path, "api-new.yaml", definition("new", "http://localhost:2/"))
        await world.ask("POST", "/reload")
        assert (await world.get("/apis/new"))[1]["target_url"] == "http://localhost:2/"


async def test_a_reload_restores_what_was_deleted_and_replaced_by_hand(tmp_path: Path) -> None:
    write(tmp_path, "api-a.yaml", definition("a", "http://localhost:1/"))
    write(tmp_path, "api-b.yaml", definition("b", "http://localhost:1/"))
    async with served(tmp_path) as world:
        await world.ask("DELETE", "/apis/a")
        await world.ask("PUT", "/apis/b", json=definition("b", "http://localhost:9/"))
        assert await world.ask("POST", "/reload") == (200, {"added": ["a"], "changed": ["b"], "removed": []})
        assert (await world.get("/apis/b"))[1]["target_url"] == "http://localhost:1/"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"listen_path": "new", "target_url": "http://x/"}, [("listen_path", "must begin with a slash")]),
        ({"listen_path": "/n/"}, [("target_url", "is required")]),
        ({"api_id": "other", "listen_path": "/n/", "target_url": "http://x/"}, [("api_id", "must be the one in the")]),
        ({"listen_path": "/orders/", "target_url": "http://x/"}, [("listen_path", "'/orders/' is taken already, by")]),
        (
            {"listen_path": "/n/", "target_url": "https://x/", "upstream_ca": "nobody"},
            [("upstream_ca", "no certificate is named 'nobody'")],
        ),
        (
            {"listen_path": "/n/", "target_url": "https://x/", "upstream_certificates": {"x": "broken"}},
            [("", "certificate 'broken': ")],
        ),
        (
            {"listen_path": "/n/", "target_url": "<redacted>"},
            [("target_url", "is <redacted>: give its value")],
        ),
        ("not json", [("", "is not JSON")]),
        ([1], [("", "must be a mapping, of keys and values")]),
        ("[" * 100_000, [("", "is not JSON")]),
    ],
)
async def test_a_wrong_definition_is_refused_with_every_error(
    tmp_path: Path, body: Any, errors: list[tuple[str, str]]
) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders"))
    certificates = configuration()["certificates"] | {"broken": {"cert_file": "none.pem"}}
    async with served(tmp_path, configuration(certificates=certificates)) as world:
        data = body if isinstance(body, str) else json.dumps(body)
        status, problem = await world.ask("PUT", "/apis/new", data=data)
        assert status == 422
        got = [(error["path"], error["message"]) for error in problem["errors"]]
        assert len(got) == len(errors)
        assert all(g[0] == w[0] and g[1].startswith(w[1]) for g, w in zip(got, errors, strict=True)), got
        assert list(world.running.gateway.apis) == ["orders"]


async def test_a_definition_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        assert (await world.ask("PUT", "/apis/new", data=io.BytesIO(b" " * (1024 * 1024 + 1))))[0] == 413


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/certs", 405)])
async def test_what_is_not_there_is_a_problem_too(tmp_path: Path, method: str, path: str, status: int) -> None:
    async with served(tmp_path) as world, world.client.request(method, world.running.admin_url + path) as response:
        assert (response.status, response.content_type) == (status, PROBLEM)


async def test_openapi_describes_every_route(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        _, document = await world.get("/openapi.json")
        _, index = await world.get("/")
        calls = [(verb, path) for path, verbs in document["paths"].items() for verb in verbs if verb != "parameters"]
        assert len(calls) == 20
        for verb, path in calls:
            method, concrete = verb.upper(), path.format(cert_id="0" * 64, api_id="none")
            status, _ = await world.ask(method, concrete)
            assert str(status) in document["paths"][path][verb]["responses"], (method, path, status)
            assert f"{method:6} {path}" in index


async def test_an_apis_series_end_when_it_is_deleted(tmp_path: Path) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    async with served(tmp_path) as world:
        assert await world.metric('certificate_days_remaining{api_id="orders"')
        assert await world.metric("certificate_batchers") == ["certificate_batchers 1"]
        await world.ask("DELETE", "/apis/orders")
        _, text = await world.get("/metrics")
        assert "orders" not in text
        assert "certificate_batchers 0" in text
