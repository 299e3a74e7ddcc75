"""With a traces exporter, a server and a client span for each request, in the caller's trace; without, nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import aiohttp
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from exporter.telemetry.environment import Otlp, read_otlp
from tests.receivers import Received, attributes, http_receiver
from tests.telemetry.kit import Site, Upstream, get, upstream
from tests.telemetry.measured import scraped

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


@dataclass
class Traced:
    """A gateway with a traces exporter, its upstream, and what has been exported."""

    url: str
    upstream: Upstream
    received: Received

    async def request(self, path: str = "/orders/1", *fields: tuple[str, str]) -> int:
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers=fields) as response:
            await response.read()
            return response.status

    async def spans(self, count: int = 2) -> dict[int, Span]:
        """So many spans, by kind."""
        await self.received.until(lambda: len(self.received.spans()) >= count)
        assert len(self.received.spans()) == count
        return {span.kind: span for span in self.received.spans()}


@pytest.fixture
async def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Traced]:
    async with gateway(tmp_path, monkeypatch) as serves:
        yield serves


@asynccontextmanager
async def gateway(directory: Path, environment: pytest.MonkeyPatch, answer: int = 200) -> AsyncIterator[Traced]:
    with http_receiver() as receiver:
        environment.setenv("OTEL_TRACES_EXPORTER", "otlp")
        environment.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/v1/traces")
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        async with upstream(answer) as reached:
            site = Site(directory)
            site.api("orders", reached.url)
            site.api("dead", "http://127.0.0.1:1/")
            async with site.serve(read_otlp(os.environ)) as serves:
                yield Traced(serves.proxy_url, reached, receiver.received)


async def test_a_request_has_a_server_span_and_a_client_span_in_it(traced: Traced) -> None:
    assert await traced.request() == 200
    spans = await traced.spans()
    server, client = spans[Span.SPAN_KIND_SERVER], spans[Span.SPAN_KIND_CLIENT]
    assert (client.trace_id, client.parent_span_id) == (server.trace_id, server.span_id)
    assert server.parent_span_id == b""
    assert server.start_time_unix_nano <= client.start_time_unix_nano
    assert client.end_time_unix_nano <= server.end_time_unix_nano


async def test_the_spans_say_what_was_asked_and_answered(traced: Traced) -> None:
    await traced.request("/orders/1?token=secret")
    spans = await traced.spans()
    server, client = spans[Span.SPAN_KIND_SERVER], spans[Span.SPAN_KIND_CLIENT]
    assert (server.name, client.name) == ("GET /orders/", "GET")
    assert attributes(server.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/orders/1",
        "http.route": "/orders/",
        "http.response.status_code": 200,
    }
    assert attributes(client.attributes) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(traced.upstream.url.rstrip("/").rpartition(":")[2]),
        "api_id": "orders",
        "http.response.status_code": 200,
    }
    assert {span.status.code for span in (server, client)} == {Status.STATUS_CODE_UNSET}


async def test_an_incoming_trace_is_continued_to_the_upstream(traced: Traced) -> None:
    await traced.request("/orders/1", ("traceparent", SAMPLED), ("tracestate", "vendor=1,other=2"))
    spans = await traced.spans()
    server, client = spans[Span.SPAN_KIND_SERVER], spans[Span.SPAN_KIND_CLIENT]
    assert {span.trace_id.hex() for span in (server, client)} == {TRACE}
    assert server.parent_span_id.hex() == PARENT
    assert traced.upstream.values(b"traceparent") == [f"00-{TRACE}-{client.span_id.hex()}-01".encode()]
    assert traced.upstream.values(b"tracestate") == [b"vendor=1,other=2"]


async def test_without_an_incoming_trace_the_upstream_gets_the_one_that_begins_here(traced: Traced) -> None:
    await traced.request()
    client = (await traced.spans())[Span.SPAN_KIND_CLIENT]
    version, trace, parent, flags = traced.upstream.values(b"traceparent")[0].decode().split("-")
    assert (version, trace, parent) == ("00", client.trace_id.hex(), client.span_id.hex())
    assert int(flags, 16) & 1, "sampled"
    assert traced.upstream.values(b"tracestate") == []


async def test_a_tracestate_in_several_lines_is_kept_whole(traced: Traced) -> None:
    lines = [("traceparent", SAMPLED), ("tracestate", "vendor=1"), ("tracestate", "other=2")]
    await traced.request("/orders/1", *lines)
    assert traced.upstream.values(b"tracestate") == [b"vendor=1,other=2"]


@pytest.mark.parametrize(
    "malformed", ["", "00", f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", SAMPLED + "-x"]
)
async def test_a_malformed_traceparent_begins_a_new_trace_and_drops_its_state(traced: Traced, malformed: str) -> None:
    await traced.request("/orders/1", ("traceparent", malformed), ("tracestate", "vendor=1"))
    client = (await traced.spans())[Span.SPAN_KIND_CLIENT]
    assert client.trace_id.hex() != TRACE
    (sent,) = traced.upstream.values(b"traceparent")
    assert sent.decode().split("-")[1] == client.trace_id.hex()
    assert traced.upstream.values(b"tracestate") == []


async def test_a_trace_that_is_not_sampled_is_carried_on_and_not_exported(traced: Traced) -> None:
    await traced.request("/orders/1", ("traceparent", UNSAMPLED), ("tracestate", "vendor=1"))
    (sent,) = traced.upstream.values(b"traceparent")
    assert (sent.decode().split("-")[1], sent[-2:]) == (TRACE, b"00")
    assert traced.upstream.values(b"tracestate") == [b"vendor=1"]
    await traced.request()
    spans = await traced.spans(2)
    assert TRACE not in {span.trace_id.hex() for span in spans.values()}


async def test_concurrent_requests_do_not_mix_their_traces(traced: Traced) -> None:
    ids = [f"{number:032x}" for number in range(1, 21)]
    await asyncio.gather(
        *(traced.request(f"/orders/{each}", ("traceparent", f"00-{each}-{PARENT}-01")) for each in ids)
    )
    await traced.received.until(lambda: len(traced.received.spans()) >= 40)
    found = sorted((span.trace_id.hex(), span.kind) for span in traced.received.spans())
    assert found == sorted((each, kind) for each in ids for kind in (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT))
    paths = {attributes(span.attributes).get("url.path"): span.trace_id.hex() for span in traced.received.spans()}
    assert all(paths[f"/orders/{each}"] == each for each in ids)


async def test_a_request_that_no_api_matches_has_no_client_span(traced: Traced) -> None:
    assert await traced.request("/nothing") == 404
    server = (await traced.spans(1))[Span.SPAN_KIND_SERVER]
    assert server.name == "GET"
    assert attributes(server.attributes)["error.type"] == "no_such_api"


async def test_a_failure_is_on_both_spans(traced: Traced) -> None:
    assert await traced.request("/dead/") == 502
    spans = await traced.spans()
    assert {attributes(span.attributes)["error.type"] for span in spans.values()} == {"upstream_unreachable"}
    assert {span.status.code for span in spans.values()} == {Status.STATUS_CODE_ERROR}
    assert not any(span.events for span in spans.values())


@pytest.mark.parametrize(
    ("answer", "failed"),
    [(204, []), (302, []), (404, [Span.SPAN_KIND_CLIENT]), (503, [Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT])],
)
async def test_a_status_is_a_failure_as_the_semantic_conventions_have_it(
    answer: int, failed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path, monkeypatch, answer) as serves:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{serves.url}/orders/", allow_redirects=False) as response,
        ):
            assert response.status == answer
        spans = await serves.spans()
    assert sorted(kind for kind, span in spans.items() if span.status.code == Status.STATUS_CODE_ERROR) == failed
    types = {kind: attributes(span.attributes).get("error.type") for kind, span in spans.items()}
    assert types == {kind: str(answer) if kind in failed else None for kind in spans}


@pytest.mark.parametrize(("answer", "failed"), [(204, []), (404, ["client"]), (503, ["client", "server"])])
async def test_durations_name_the_same_failures_as_spans(answer: int, failed: list[str], tmp_path: Path) -> None:
    async with upstream(answer) as reached:
        site = Site(tmp_path)
        site.api("orders", reached.url)
        async with site.serve() as serves:
            await get(f"{serves.proxy_url}/orders/")
            series = scraped(await get(f"{serves.admin_url}/metrics"))
    errors = {
        name.split("_")[1]: dict(labels)["error_type"]
        for name, labels in series
        if name.endswith("duration_seconds_count") and "error_type" in dict(labels)
    }
    assert errors == dict.fromkeys(failed, str(answer))


async def test_without_a_traces_exporter_the_fields_pass_untouched_and_no_line_of_opentelemetry_runs(
    tmp_path: Path,
) -> None:
    fields = [("traceparent", "00-not-a-valid-one"), ("tracestate", "a=1"), ("tracestate", "b=2")]
    called: set[str] = set()

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        called.add(str(frame.f_globals.get("__name__")))

    async with upstream() as reached:
        site = Site(tmp_path)
        site.api("orders", reached.url)
        async with site.serve(Otlp()) as serves:
            traced = Traced(serves.proxy_url, reached, Received())
            await traced.request()
            sys.setprofile(note)
            try:
                await traced.request("/orders/1", *fields)
            finally:
                sys.setprofile(None)
    assert [
        (name.decode(), value.decode()) for name, value in reached.headers[-1] if name.startswith(b"trace")
    ] == fields
    # The request was served under the profile, in this thread.
    assert "exporter.proxy.exchange" in called
    assert not [name for name in called if name.startswith(("opentelemetry", "exporter.telemetry"))]
