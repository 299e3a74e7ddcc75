"""The token lets in who has it: as a bearer for everything, as a password for what changes nothing."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.served import Served, configuration, served

TOKEN = "s3cret-token"
BEARER = f"Bearer {TOKEN}"


@asynccontextmanager
async def guarded(directory: Path) -> AsyncIterator[Served]:
    (directory / "token").write_text(f"{TOKEN}\n")
    async with served(directory, configuration(admin={"listen": "127.0.0.1:0", "token_file": "token"})) as world:
        yield world


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


async def test_only_probes_and_the_scrape_are_open(tmp_path: Path) -> None:
    async with guarded(tmp_path) as world:
        for path in ("/live", "/ready", "/health", "/metrics"):
            assert (await world.get(path))[0] == 200
        for path in ("/", "/certs", "/certs.ics", "/ui/apis/x", "/apis", "/openapi.json", "/nothing", "//metrics"):
            assert (await world.get(path))[0] == 401
        assert (await world.ask("POST", "/reload"))[0] == 401


@pytest.mark.parametrize("given", [BEARER, f"bearer {TOKEN}", basic(f"anybody:{TOKEN}"), basic(f":{TOKEN}")])
async def test_who_has_the_token_may_read(tmp_path: Path, given: str) -> None:
    async with guarded(tmp_path) as world:
        for path in ("/", "/certs", "/certs.ics", "/certs.csv"):
            assert (await world.get(path, headers={"Authorization": given}))[0] == 200
            async with world.client.head(world.running.admin_url + path, headers={"Authorization": given}) as response:
                assert response.status == 200


@pytest.mark.parametrize(
    "given",
    [
        "Bearer",
        "Bearer wrong",
        "bearer  ",
        f"Basic {TOKEN}",
        "Basic",
        "Basic !!!!",
        basic("anybody:wrong"),
        basic(TOKEN),
        basic(f"{TOKEN}:"),
        basic(f"anybody:{TOKEN}x"),
        basic("anybody:"),
        f"Digest {TOKEN}",
    ],
)
async def test_who_has_it_not_may_not(tmp_path: Path, given: str) -> None:
    async with guarded(tmp_path) as world:
        assert (await world.get("/certs", headers={"Authorization": given}))[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("POST", "/reload", 200),
        ("POST", "/events/test", 409),
        ("POST", "/certs/check", 422),
        ("PUT", "/apis/new", 422),
        ("DELETE", "/apis/new", 404),
    ],
)
async def test_what_changes_something_needs_a_bearer(tmp_path: Path, method: str, path: str, answer: int) -> None:
    async with guarded(tmp_path) as world:
        assert (await world.ask(method, path, headers={"Authorization": basic(f"a:{TOKEN}")}))[0] == 401
        assert (await world.ask(method, path, headers={"Authorization": BEARER}))[0] == answer


async def test_a_browser_is_asked_for_a_password_where_one_is_taken(tmp_path: Path) -> None:
    async with guarded(tmp_path) as world:
        url = world.running.admin_url
        async with world.client.get(url + "/") as response:
            assert response.headers.getall("WWW-Authenticate") == [
                "Bearer",
                'Basic realm="certgauge", charset="UTF-8"',
            ]
        async with world.client.post(url + "/reload") as response:
            assert response.headers.getall("WWW-Authenticate") == ["Bearer"]


async def test_two_credentials_are_none(tmp_path: Path) -> None:
    async with guarded(tmp_path) as world:
        both = [("Authorization", BEARER), ("Authorization", basic(f"a:{TOKEN}"))]
        assert (await world.get("/certs", headers=both))[0] == 401


@pytest.mark.parametrize("path", ["/certs", "/apis", "/certs.csv", "/certs.ics", "/openapi.json"])
async def test_what_a_signed_in_browser_gets_is_kept_apart_from_other_sites(tmp_path: Path, path: str) -> None:
    async with guarded(tmp_path) as world:
        headers = {"Authorization": basic(f"a:{TOKEN}")}
        async with world.client.get(world.running.admin_url + path, headers=headers) as response:
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
