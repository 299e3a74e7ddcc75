"""The page in a real browser: whatever certificates are called, whoever reads it, however small the screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.app import utc_now
from exporter.certcheck.certificate import Certificate, InvalidReason, Reading
from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.inventory import Entry, entries_of
from exporter.certcheck.slot import Observation, Role
from tests.admin.page.worlds import few, many
from tests.authority import DAY
from tests.browser import browse, require_browser
from tests.served import Served

HOSTILE = [
    "<script>window.marked = 1</script>",
    '"><img src=x onerror="window.marked = 1">',
    "' onmouseover='window.marked = 1",
    '" autofocus onfocus="window.marked = 1',
    "</title></style><script>window.marked = 1</script>",
    "]]><svg onload=window.marked=1>",
    "--><iframe srcdoc='<script>parent.marked = 1</script>'>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.marked=1",
    "&lt;b&gt;&#x3c;b>",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.evil",
    "two\nlines\r\nand\ta tab",
    "a \0 in it",
    "half a \ud83d character",
    "l" * 5000,
    "<b>" * 300,
]

ELEMENTS = {
    "a", "bdi", "body", "br", "button", "caption", "code", "datalist", "dd", "details", "div", "dl", "dt", "footer",
    "form", "h1", "h2", "head", "header", "html", "input", "label", "li", "line", "link", "main", "meta", "nav",
    "ol", "option", "p", "rect", "section", "select", "span", "strong", "style", "summary", "svg", "table", "tbody",
    "td", "text", "th", "thead", "time", "title", "tr", "ul",
}  # fmt: skip
"""All that our templates have."""


@pytest.fixture(autouse=True)
def _chromium() -> None:
    require_browser()


def hostile(cert_id: str, name: str) -> list[Entry]:
    now = utc_now()
    certificate = Certificate(
        cert_id, now - DAY, now + 10 * DAY, name, (name, name), f"CN={name}", f"CN={name}", name, name, name
    )
    reading = Reading(certificate, InvalidReason.OTHER, name)
    return entries_of(Observation(None, Role.UPSTREAM_SERVER, (reading,), name, name, 1), ExpiryPolicy())


def as_read(name: str) -> str:
    """What HTML makes of it: line ends are one character, U+0000 is none, and half a character cannot be sent."""
    lines = name.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return lines.encode("utf-8", "replace").decode()


async def test_no_name_does_anything_but_be_read(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        ids = [f"{at:064x}" for at in range(len(HOSTILE))]
        for cert_id, name in zip(ids, HOSTILE, strict=True):
            world.inventory.put(hostile(cert_id, name))
        url = world.running.admin_url
        seen = await browse({"url": f"{url}/"}, *({"url": f"{url}/ui/certs/{cert_id}"} for cert_id in ids))
        for each in seen:
            assert_calm(each, url)
        assert {as_read(name) for name in HOSTILE} <= {*seen[0]["names"]}
        for name, page in zip(HOSTILE, seen[1:], strict=True):
            assert {as_read(name), as_read(f"CN={name}")} <= {*page["names"]}


async def test_no_filter_does_anything_but_be_read(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        url = world.running.admin_url
        asked = HOSTILE[:10]
        seen = await browse(*({"url": f"{url}/?q={quoted(name)}&api_id={quoted(name)}"} for name in asked))
        for name, each in zip(asked, seen, strict=True):
            assert_calm(each, url)
            assert f"“{name}”" in each["names"]


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def assert_calm(seen: dict[str, Any], url: str) -> None:
    """Nothing ran, nothing was fetched, nothing was refused, and no element or link is there that is not ours."""
    assert seen["status"] == 200
    assert (seen["console"], seen["dialogs"], seen["failures"], seen["handlers"]) == ([], [], [], [])
    assert seen["marked"] == "undefined"
    assert {*seen["elements"]} <= ELEMENTS
    assert all(each.startswith((url, "data:image/svg+xml,")) for each in seen["requests"])
    assert all(each.startswith(("/", "#", "data:image/svg+xml,")) for each in seen["links"])
    assert seen["width"] <= 1280


async def pages(world: Served) -> list[str]:
    _, answer = await world.get("/certs?api_id=billing&role=upstream")
    cert_id = answer["certs"][0]["cert_id"]
    return ["/", f"/ui/certs/{cert_id}", "/ui/apis/billing", "/?state=expired&role=upstream", "/?q=nothing"]


def visits(url: str, paths: list[str], **more: Any) -> Iterator[dict[str, Any]]:
    for path in paths:
        for scheme in ("light", "dark"):
            yield {"url": url + path, "scheme": scheme, **more}


async def test_axe_finds_nothing_on_any_page_light_or_dark(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        paths = [*await pages(world), "/?state=nonsense", f"/ui/certs/{'0' * 64}"]
        wide = [*visits(world.running.admin_url, paths, axe=True)]
        narrow = [*visits(world.running.admin_url, paths[:3], axe=True, width=390)]
        for visit, seen in zip([*wide, *narrow], await browse(*wide, *narrow), strict=True):
            assert seen["violations"] == [], visit


async def test_axe_finds_nothing_among_thousands(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        world.inventory.put(many(3000, utc_now()))
        for seen in await browse(*visits(world.running.admin_url, ["/?limit=50"], axe=True)):
            assert seen["violations"] == []


@pytest.mark.parametrize("width", [320, 640])
async def test_nothing_is_wider_than_a_small_screen(tmp_path: Path, width: int) -> None:
    """640 pixels are what a screen of 1280 has at 200 %."""
    async with few(tmp_path) as world:
        world.inventory.put([*many(300, utc_now()), *hostile("0" * 64, "l" * 5000)])
        for seen in await browse(*visits(world.running.admin_url, await pages(world), width=width)):
            assert seen["width"] == width


async def test_it_works_without_javascript_and_fetches_nothing_else(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        url = f"{world.running.admin_url}/"
        (seen,) = await browse({"url": url, "script": False})
        assert "script" not in seen["elements"]
        assert [each for each in seen["requests"] if not each.startswith("data:")] == [url]
        assert "billing-client" in seen["text"]


async def test_the_keyboard_skips_to_the_content_and_on_to_the_first_certificate(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        keys = ["Tab", "Enter", *["Tab"] * 12]
        (seen,) = await browse({"url": f"{world.running.admin_url}/", "keys": keys})
        focused = seen["focused"]
        assert focused[0] == "Skip to the content"
        assert focused[2] == "1 ✕ expired"
        assert focused[6].startswith("✕ The monitor needs a look")
        assert focused[7] == "Week by week"
        assert focused[13] == "Filter"


async def test_a_browser_signs_in_with_the_token_as_its_password(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    async with few(tmp_path, admin={"listen": "127.0.0.1:0", "token_file": "token"}) as world:
        (seen,) = await browse({"url": f"{world.running.admin_url}/", "token": "s3cret"})
        assert seen["status"] == 200
        assert "billing-client" in seen["text"]


async def test_five_thousand_certificates_are_there_in_less_than_a_second(tmp_path: Path) -> None:
    async with few(tmp_path) as world:
        world.inventory.put(many(5000, utc_now()))
        visit = {"url": f"{world.running.admin_url}/"}
        seen = await browse(*[visit] * 6)
        assert "5,004 certificates" in seen[0]["text"]
        assert min(each["loadedMs"] for each in seen) < 1000
