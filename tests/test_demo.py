"""The demo, as a person starts it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys

import aiohttp

from tests.receivers import attributes, http_receiver


async def test_the_demo_shows_three_ages_two_events_and_an_unload_and_stops_cleanly() -> None:
    demo = await started({})
    assert demo.stdout is not None
    printed = ""
    async with asyncio.timeout(30):
        while "Ctrl-C stops" not in printed or printed.count("event ") < 2:
            printed += (await demo.stdout.readline()).decode()
    assert "CertificateExpiringSoon  billing  Upstream certificate will expire in 10 days" in printed
    assert "CertificateExpired       legacy   Upstream certificate expired 5 days ago" in printed
    [admin] = re.findall(r"(http://\S+)/metrics", printed)
    async with aiohttp.ClientSession() as client:
        days = await _days(client, admin)
        assert {api_id: int(left) for api_id, left in days.items()} == {"orders": 400, "billing": 10, "legacy": -5}
        async with asyncio.timeout(10):
            while 'certificate_last_observed_timestamp_seconds{api_id="legacy"' not in await _text(client, admin):
                pass
        async with client.get(f"{admin}/certs?role=upstream") as response:
            rows = (await response.json())["certs"]
            assert [row["api_id"] for row in rows] == ["legacy", "billing", "orders"]
        async with client.delete(f"{admin}/apis/legacy") as response:
            assert response.status == 204
        # A request that was under way may have been counted; nothing else is left.
        left = [line for line in (await _text(client, admin)).splitlines() if "legacy" in line]
        assert [line for line in left if 'outcome="after_unload"' not in line] == []
        assert "certificate_batchers 2" in await _text(client, admin)
    demo.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(demo.communicate(), 30)
    assert (demo.returncode, errors.decode()) == (0, "")


async def test_with_an_endpoint_set_the_demo_pushes_too() -> None:
    with http_receiver() as receiver:
        demo = await started({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_METRIC_EXPORT_INTERVAL": "500"})
        events = {"certificate.expiring_soon", "certificate.expired"}
        await receiver.received.until(lambda: {log.event_name for log in receiver.received.records()} == events)
        await receiver.received.until(lambda: receiver.received.metric("certificate.days_remaining"))
        demo.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(demo.communicate(), 30)
    assert (demo.returncode, errors.decode()) == (0, "")
    assert {attributes(log.attributes)["cert_role"] for log in receiver.received.records()} == {"upstream"}


async def started(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "exporter",
        "demo",
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _text(client: aiohttp.ClientSession, admin: str) -> str:
    async with client.get(f"{admin}/metrics") as response:
        return await response.text()


async def _days(client: aiohttp.ClientSession, admin: str) -> dict[str, float]:
    pattern = r'certificate_days_remaining\{api_id="(\w+)",cert_role="upstream".*\} (\S+)'
    return {api_id: float(left) for api_id, left in re.findall(pattern, await _text(client, admin))}
