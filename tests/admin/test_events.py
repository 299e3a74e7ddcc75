"""What was announced, as `/events` shows it, and the event that only tests its handlers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.authority import DAY, Authority
from tests.served import WITH_CERTIFICATE, Served, configuration, definition, served, write


class Receiver:
    """Takes what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.arrived = asyncio.Event()
        self.url = ""


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    took = Receiver()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        took.bodies.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()
        took.arrived.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        took.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?secret=canary"
        yield took


@asynccontextmanager
async def told(directory: Path, url: str) -> AsyncIterator[Served]:
    """Two APIs, of which one tells somebody that its certificate expires soon."""
    Authority().issue("orders", 10 * DAY).write(directory, "orders")
    handlers = {"CertificateExpiringSoon": [{"name": "ops", "webhook": {"url": url, "allow_private": True}}]}
    write(directory, "api-orders.yaml", definition("orders", event_handlers=handlers, **WITH_CERTIFICATE))
    write(directory, "api-billing.yaml", definition("billing"))
    async with served(directory, configuration()) as world:
        yield world


async def delivered(world: Served, **query: str) -> list[dict[str, Any]]:
    """The events, once none has a delivery pending."""
    async with asyncio.timeout(10):
        while True:
            _, answer = await world.get("/events", params=query)
            events: list[dict[str, Any]] = answer["events"]
            if events and all(each["outcome"] != "pending" for event in events for each in event["deliveries"]):
                return events


async def test_an_event_is_shown_with_how_its_delivery_went_and_without_where_to(tmp_path: Path) -> None:
    async with receiver() as took, told(tmp_path, took.url) as world:
        [event] = await delivered(world)
        [delivery] = event.pop("deliveries")
        assert took.bodies == [event]
        assert delivery.pop("settled_at").endswith("Z")
        assert delivery == {"handler": "ops", "outcome": "delivered", "attempts": 1}
        assert "canary" not in json.dumps((await world.get("/events"))[1])
        assert await world.metric("certificate_event_deliveries_total{") == [
            'certificate_event_deliveries_total{api_id="orders",handler="ops",outcome="delivered"} 1'
        ]
        assert (await world.get("/events", params={"api_id": "billing"}))[1] == {"events": []}


async def test_an_event_that_nobody_is_told_is_shown(tmp_path: Path) -> None:
    Authority().issue("orders", 10 * DAY).write(tmp_path, "orders")
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    async with served(tmp_path, configuration()) as world:
        [event] = await delivered(world)
        assert (event["event"], event["api_id"], event["deliveries"]) == ("CertificateExpiringSoon", "orders", [])


async def test_a_test_goes_the_way_of_an_event_and_says_what_it_is(tmp_path: Path) -> None:
    async with receiver() as took, told(tmp_path, took.url) as world:
        await delivered(world)
        status, answer = await world.ask("POST", "/events/test", params={"api_id": "orders"})
        assert (status, answer["handlers"]) == (202, ["ops"])
        newest, _ = await delivered(world)
        assert (newest["event_id"], newest["test"], newest["api_id"]) == (answer["event_id"], True, "orders")
        assert took.bodies[1]["event_id"] == answer["event_id"]
        # It has silenced nothing, and is no event of the API.
        assert world.running.gateway.apis["orders"]
        assert await world.metric("certificate_events_total{") == [
            'certificate_events_total{api_id="orders",cert_role="upstream",event="CertificateExpiringSoon"} 1'
        ]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"api_id": "billing"}, 409),
        ({}, 409),
        ({"api_id": "orders", "event": "CertificateExpired"}, 409),
        ({"api_id": "nobody"}, 404),
        ({"event": "soon"}, 400),
        ({"what": "ever"}, 400),
    ],
)
async def test_a_test_that_nobody_would_be_told_of_is_refused(
    tmp_path: Path, query: dict[str, str], status: int
) -> None:
    async with receiver() as took, told(tmp_path, took.url) as world:
        found, problem = await world.ask("POST", "/events/test", params=query)
        assert (found, problem["status"]) == (status, status)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"sort": "x"}])
async def test_a_wrong_query_is_refused(tmp_path: Path, query: dict[str, str]) -> None:
    async with receiver() as took, told(tmp_path, took.url) as world:
        assert (await world.get("/events", params=query))[0] == 400
