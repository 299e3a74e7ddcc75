"""The page, over HTTP: what it shows, what it is asked with, and what it comes with."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from exporter.app import utc_now
from tests.admin.page.worlds import HTML, few, many
from tests.pauses import longest_pause
from tests.served import Served, configuration, definition, served, write

MOST = timedelta(milliseconds=20)


async def shown(world: Served, path: str = "/") -> str:
    """The text of a page, without the elements."""
    status, text = await world.get(path, headers=HTML)
    assert status == 200, text
    return visible(text)


def visible(html: str) -> str:
    body = html.partition("</style>")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


def names(html: str) -> list[str]:
    """Of the certificates in the rows, in their order."""
    return re.findall(r'class="c-name">\s*(?:<a[^>]*>)?<bdi>([^<]*)', html)


async def names_at(world: Served, path: str) -> list[str]:
    return names((await world.get(path, headers=HTML))[1])


async def test_a_browser_gets_the_page_and_a_script_the_list_of_calls(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        for accept, kind in (("text/html", "text/html"), ("*/*", "text/plain"), ("application/json", "text/plain")):
            async with world.client.get(world.running.admin_url + "/", headers={"Accept": accept}) as response:
                assert response.content_type == kind
                assert response.headers["Vary"] == "accept"


async def test_nothing_but_its_own_style_is_let_in(tmp_path: Path) -> None:
    async with few(tmp_path) as world, world.client.get(world.running.admin_url + "/", headers=HTML) as response:
        style = (await response.text()).partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(sha256(style.encode()).digest()).decode()
        assert response.headers["Content-Security-Policy"] == (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_it_shows_every_certificate_once_soonest_first(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        assert await names_at(world, "/") == ["legacy-client", "billing-client", "orders-client", "Example CA"]
        text = await shown(world)
        assert "1 ✕ expired 1 ▲ expiring 0 ⊘ unusable 2 ✓ fine" in text
        assert "✕ expired 4 days ago legacy-client upstream leaf legacy legacy.internal:8443" in text
        assert "▲ expiring 10 days billing-client upstream leaf billing billing.internal:8443" in text
        assert "used 2 min ago 4,711 requests/h" in text
        assert "billing , legacy , orders" in text


async def test_it_says_what_was_announced_and_who_was_told(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        text = await shown(world)
        assert "✕ expired legacy-client on legacy" in text
        assert "▲ expiring soon billing-client on billing" in text
        assert text.count("ops : ✓ delivered") == 2
        assert text.count("pager : ◷ pending") == 2


async def test_it_says_whether_the_monitor_works(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        assert "✓ The monitor works" in await shown(world)
        world.write("certgauge.yaml", "nonsense: true")
        await world.ask("POST", "/reload")
        world.inventory.limit = 0
        text = await shown(world)
        assert "✕ The monitor needs a look: Configuration, Slots" in text
        assert "the last reload was refused" in text


async def test_a_handler_that_takes_nothing_is_a_reason_to_look(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        text = await shown(world)
        assert "The monitor needs a look: Deliveries" in text
        assert "2 deliveries pending billing/pager: connection refused legacy/pager: connection refused" in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=expired", ["legacy-client"]),
        ("api_id=billing", ["billing-client", "Example CA"]),
        ("role=ca", ["Example CA"]),
        ("expiring_within_days=30", ["legacy-client", "billing-client"]),
        ("q=EXAMPLE.CA&role=ca", []),
        ("q=bIlLiNg-c", ["billing-client"]),
        ("q=orders.internal", ["orders-client"]),
        ("q=cn%3Dexample", ["legacy-client", "billing-client", "orders-client", "Example CA"]),
        ("q=&api_id=&role=&state=expiring&expiring_within_days=", ["billing-client"]),
    ],
)
async def test_filters_are_in_the_url(tmp_path: Path, query: str, found: list[str]) -> None:
    async with few(tmp_path) as world:
        assert await names_at(world, f"/?{query}") == found


async def test_a_filter_shows_can_be_taken_away_and_holds_for_the_downloads(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        _, html = await world.get("/?state=expired&role=upstream&q=cl%26", headers=HTML)
        assert "0 of 4 certificates" in html
        assert 'value="cl&amp;"' in html
        assert '<option value="expired" selected>' in html
        assert 'href="/?role=upstream&amp;q=cl%26"' in html
        assert 'href="/certs.csv?state=expired&amp;role=upstream&amp;q=cl%26"' in html
        assert 'href="/certs.ics?state=expired&amp;role=upstream&amp;q=cl%26"' in html
        assert "No certificate fits these filters" in html


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("state=dead", "state must be one of valid, expiring"),
        ("cursor=%FF", "cursor must be the next of an earlier answer."),
        ("limit=0", "limit must be a whole number from 1 to 1000."),
        ("q=a&q=b", "q is given twice."),
        ("x%3Cscript%3E=1", "&#39;x&lt;script&gt;&#39; is not a parameter"),
    ],
)
async def test_a_wrong_filter_is_a_page_that_says_so(tmp_path: Path, query: str, detail: str) -> None:
    async with served(tmp_path) as world:
        status, text = await world.get(f"/?{query}", headers=HTML)
        assert status == 400
        assert detail in text


async def test_a_state_that_is_a_link_shows_as_many_as_it_says(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        world.inventory.put(many(300, utc_now()))
        _, html = await world.get("/", headers=HTML)
        counts = re.findall(r'href="(/\?state=\w+)"><span class="many">([\d,]+)', html)
        assert len(counts) == 4
        for link, number in counts:
            assert len(await names_at(world, f"{link}&limit=1000")) == int(number)


async def test_every_row_can_be_reached_forwards_and_back(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        world.inventory.put(many(450, utc_now()))
        whole = await names_at(world, "/?limit=1000")
        pages, path = [], "/"
        while path:
            _, html = await world.get(path, headers=HTML)
            pages.append((path, names(html)))
            path = link(html, "next")
        assert [len(found) for _, found in pages] == [200, 200, 54]
        assert [name for _, found in pages for name in found] == whole
        for (before, _), (path, _) in pairwise(pages):
            assert link((await world.get(path, headers=HTML))[1], "prev") == before


def link(html: str, kind: str) -> str:
    found = re.search(rf'rel="{kind}" href="([^"]*)"', html)
    return found[1].replace("&amp;", "&") if found else ""


async def test_a_cursor_behind_the_last_row_leads_back(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        last = base64.urlsafe_b64encode(b"9999" + b"\0x" * 8).decode()
        text = await shown(world, f"/?cursor={last}")
        assert "Nothing comes after this" in text


async def test_the_next_90_days_are_drawn_and_told(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        text = await shown(world)
        assert "Certificates that expire within 7 days: none, 30 days: 1, 90 days: 1." in text
        assert "billing-client, 10 days" in text
        filtered = await shown(world, "/?state=expired")
        assert "The next 90 days, of what fits the filters Nothing expires in the next 90 days." in filtered


async def test_a_certificate_has_a_page(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        _, answer = await world.get("/certs?role=ca&api_id=orders")
        cert_id = answer["certs"][0]["cert_id"]
        text = await shown(world, f"/ui/certs/{cert_id}")
        assert "Example CA" in text
        assert f"SHA-256 {cert_id}" in text
        assert "orders 2 min ago 52,340 billing 2 min ago 4,711 legacy 2 min ago 27" in text
        assert text.count("✓ fine CA") == 3
        assert "Nothing has been announced yet." in text


async def test_what_was_announced_of_a_certificate_is_on_its_page(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        _, answer = await world.get("/certs?state=expired")
        text = await shown(world, f"/ui/certs/{answer['certs'][0]['cert_id']}")
        assert "Upstream certificate expired 4 days ago" in text
        assert "billing" not in text


async def test_an_api_has_a_page(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        text = await shown(world, "/ui/apis/billing")
        assert "Forwards to https://billing.internal:8443/" in text
        assert "Told of an expiry ops, pager" in text
        assert "Limited by, as upstream billing-client : ▲ expiring · 10 days" in text
        assert "Upstream certificate will expire in 10 days" in text
        assert "legacy-client" not in text


async def test_an_api_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    config = configuration(certificates={"mine": {"cert_file": "missing.pem", "key_file": "missing.key"}})
    write(tmp_path, "api-x.yaml", definition("x", upstream_certificates={"*.internal": "mine"}))
    async with served(tmp_path, config) as world:
        text = await shown(world, "/ui/apis/x")
        assert "✕ not sent" in text
        assert "Told of an expiry the log only" in text
        text = await shown(world)
        assert "⊘ unusable unknown mine a file is missing:" in text
        assert "missing.pem: no such file" in text


@pytest.mark.parametrize("path", [f"/ui/certs/{'0' * 64}", "/ui/certs/x", "/ui/apis/nobody"])
async def test_what_is_not_there_is_a_page_that_says_so(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as world:
        status, text = await world.get(path, headers=HTML)
        assert status == 404
        assert "has this id." in visible(text)


async def test_nothing_is_there_yet_is_said(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        assert "No certificate is in use or watched yet." in await shown(world)


async def test_no_secret_is_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token-canary")
    admin = {"listen": "127.0.0.1:0", "token_file": "token"}
    async with few(tmp_path, admin=admin) as world:
        headers: dict[str, Any] = {**HTML, "Authorization": "Bearer token-canary"}
        _, certs = await world.get("/certs", headers=headers)
        paths = [f"/ui/certs/{each['cert_id']}" for each in certs["certs"]]
        for path in ("/", "/ui/apis/billing", "/certs.csv", "/certs.ics", *paths):
            status, text = await world.get(path, headers=headers)
            assert status == 200
            assert "canary" not in text


async def test_five_thousand_certificates_do_not_stop_the_loop(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        world.inventory.put(many(5000, utc_now()))
        for path in ("/", "/?q=reports-19", "/certs.csv", "/certs.ics"):
            asked = partial(world.get, path, headers=HTML)
            await asked()
            pauses = [await longest_pause(asked) for _ in range(3)]
            assert min(pauses) < MOST, path
