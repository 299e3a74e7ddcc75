"""What Prometheus itself makes of `/metrics`."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from exporter.telemetry.prometheus import OPENMETRICS, TEXT
from tests.authority import DAY, Authority
from tests.prometheus import SCRAPE_SECONDS, program, prometheus
from tests.telemetry.kit import EXPIRED, EXPIRING, Site, get, upstream
from tests.telemetry.measured import scraped

# The linter wants seconds; the name is the one that users know. `certificate_not_after_timestamp_seconds` is beside it.
ACCEPTED = [
    f'{name} use base unit "seconds" instead of "days"'
    for name in ("certificate_days_remaining", "certificate_path_days_remaining")
]


def site_of_every_kind(directory: Path) -> Site:
    """Every role, every state, a chain, an API that cannot be served."""
    site = Site(directory).standard()
    authority, other = site.authority, Authority("other CA")
    site.certificate("gateway", 80 * DAY, "localhost", "127.0.0.1")
    site.anchors("partners", authority.root.pem, other.root.pem)
    site.document["proxy"]["tls"] = {"certificate": "gateway", "client_ca": "partners"}
    site.certificate("future", 80 * DAY)
    future = authority.issue("future.example.com", not_before=authority.now + DAY)
    future.write(directory, "future")
    site.api("future", upstream_certificates={"*": "future"}, upstream_ca="partners")
    site.certificate("broken", 80 * DAY)
    (directory / "broken.pem").write_text("no certificate")
    site.api("broken", upstream_certificates={"*": "broken"})
    site.certificate("partner", 80 * DAY)
    site.api("closed", client_certificates=["partners", "partner"])
    return site


@pytest.mark.parametrize("content", [TEXT, OPENMETRICS])
async def test_the_linter_finds_nothing_in_the_output_but_a_name_that_is_kept(content: str, tmp_path: Path) -> None:
    promtool, site = program("promtool"), site_of_every_kind(tmp_path)
    context = ssl.create_default_context(cadata=site.authority.root.pem.decode())
    async with upstream() as reached:
        site.api("plain", reached.url)
        async with site.serve() as serves, aiohttp.ClientSession() as session:
            for path in ("plain/", "plain/", "future/", "broken/", "closed/", "nothing"):
                async with session.get(f"{serves.proxy_url}/{path}", ssl=context) as response:
                    await response.read()
            output = await get(f"{serves.admin_url}/metrics", accept=content)
    series = scraped(output, content)
    assert {dict(labels).get("cert_role") for _, labels in series} >= {"upstream", "client", "server", "ca"}
    states = {dict(labels).get("state") for _, labels in series} - {None}
    assert states == {"valid", "expiring", "expired", "not_yet_valid", "unreadable"}
    if content == TEXT:
        assert await asyncio.to_thread(lint, promtool, output) == ACCEPTED


def lint(promtool: str, output: str) -> list[str]:
    """What it says, line by line."""
    linted = subprocess.run([promtool, "check", "metrics"], input=output, capture_output=True, text=True, check=False)
    return (linted.stdout + linted.stderr).splitlines()


async def test_the_series_of_an_api_go_stale_as_soon_as_it_is_deleted(tmp_path: Path) -> None:
    query = f'certificate_days_remaining{{api_id="{EXPIRED}"}}'
    async with site_of_every_kind(tmp_path).serve() as serves, aiohttp.ClientSession() as session:
        with prometheus(tmp_path, serves.admin_url.removeprefix("http://")) as server:
            await asyncio.to_thread(server.wait, query, series=1, seconds=15)
            async with session.delete(f"{serves.admin_url}/apis/{EXPIRED}") as response:
                assert response.status == 204
            # Not the five minutes for which Prometheus shows the last value of what it can no longer scrape.
            await asyncio.to_thread(server.wait, query, series=0, seconds=3 * SCRAPE_SECONDS + 2)
            left = await asyncio.to_thread(server.query, f'certificate_days_remaining{{api_id="{EXPIRING}"}}')
            (up,) = await asyncio.to_thread(server.query, "up")
            (read,) = await asyncio.to_thread(server.query, "scrape_samples_scraped")
            log = (tmp_path / "prometheus.log").read_text()
        output = scraped(await get(f"{serves.admin_url}/metrics"))
    assert (len(left), up["value"][1]) == (1, "1")
    # Nothing was refused as a duplicate or for its form.
    assert read["value"][1] == str(len(output))
    assert "level=warn" not in log
