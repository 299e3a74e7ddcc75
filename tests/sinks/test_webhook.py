"""One attempt to deliver, against a real receiver that does what it likes; and how many there are of them."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter import __version__
from exporter.attempts import Attempt, Delivered, Failed, Retry, RetryPolicy
from exporter.certificates.tls import client_context, load_pair
from exporter.sinks.body import Body
from exporter.sinks.webhook import Receiver, WebhookSink
from tests.authority import Authority
from tests.fakes import NOON
from tests.sinks.scripted import MIB, Got, Line, Scripted, drip, hang, much, says, scripted, status

PAYLOAD = {"event": "CertificateExpired", "event_id": "e1", "cert_name": "orders"}
SECOND = timedelta(seconds=1)
SLOW = timedelta(seconds=0.3)
"""The timeout where there is to be one."""
LATE = "no answer in time"
OK = "HTTP/1.1 200 OK\r\n"


def no_tls() -> ssl.SSLContext:
    raise AssertionError("no TLS is needed")


@asynccontextmanager
async def sink_to(url: str, tls: Any = no_tls, **more: Any) -> AsyncIterator[WebhookSink]:
    sink = WebhookSink(Receiver(url, allow_private=True, **more), tls)
    try:
        yield sink
    finally:
        await sink.close()


async def tried(*script: Line, **more: Any) -> tuple[Attempt, Scripted]:
    """One attempt."""
    async with scripted(*script) as receiver, sink_to(receiver.url(), **more) as sink:
        return await sink.deliver(PAYLOAD, "e1", NOON), receiver


async def driven(receiver: Scripted, random: float = 1.0, **more: Any) -> list[tuple[timedelta, Attempt]]:
    """Attempts until there is to be no other: how long after the announcement each was, and how it went."""
    policy, made, at = RetryPolicy(lambda: random), [], NOON
    async with sink_to(receiver.url(), **more) as sink:
        while True:
            attempt = await sink.deliver(PAYLOAD, "e1", at)
            made.append((at - NOON, attempt))
            again = policy.next_at(len(made), NOON, at, attempt.after) if isinstance(attempt, Retry) else None
            if again is None:
                return made
            at = again


# What is sent.


async def test_an_event_is_one_request_with_its_payload_as_json() -> None:
    attempt, receiver = await tried(status(200))
    assert attempt == Delivered()
    [got] = receiver.got
    assert (got.method, got.target, got.body) == ("POST", "/", json.dumps(PAYLOAD).encode())
    assert got.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": f"certgauge/{__version__}",
        "content-type": "application/json",
        "content-length": str(len(got.body)),
        "connection": "close",
        "webhook-id": "e1",
        "webhook-timestamp": str(int(NOON.timestamp())),
    }


async def test_method_headers_target_and_body_are_those_that_are_configured() -> None:
    async with scripted() as receiver:
        url = receiver.url("/a%2Fb/../c?x=%20y&z")
        headers = (("X-Key", "one, two"), ("user-agent", "mine"))
        body = Body("{{ cert_name }} é", as_json=False)
        more: dict[str, Any] = {"method": "PUT", "headers": headers, "body": body, "content_type": "text/plain"}
        async with sink_to(url, **more) as sink:
            assert await sink.deliver(PAYLOAD, "e1", NOON) == Delivered()
    [got] = receiver.got
    assert (got.method, got.target, got.body.decode()) == ("PUT", "/a%2Fb/../c?x=%20y&z", "orders é")
    shown = {name: got.headers[name] for name in ("x-key", "user-agent", "content-type")}
    assert shown == {"x-key": "one, two", "user-agent": "mine", "content-type": "text/plain"}


async def test_a_body_that_cannot_be_made_is_final_and_nothing_is_sent() -> None:
    attempt, receiver = await tried(body=Body("{{ cert_name }}"))
    assert (attempt, receiver.connections) == (Failed("the template does not make JSON"), 0)


# What the answer means.


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_any_2xx_is_delivered(code: int) -> None:
    assert (await tried(status(code, content=b"")))[0] == Delivered()


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 507, 599])
async def test_what_may_pass_is_tried_again(code: int) -> None:
    assert (await tried(status(code)))[0] == Retry(None, f"status {code}")


@pytest.mark.parametrize(
    "code", [300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 499]
)
async def test_anything_else_is_final(code: int) -> None:
    assert (await tried(status(code, content=b"")))[0] == Failed(f"status {code}")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_final_and_where_it_leads_is_not_touched(code: int) -> None:
    async with scripted() as trap:
        attempt, receiver = await tried(status(code, f"Location: {trap.url('/trap')}"))
        assert (attempt, receiver.connections, trap.connections) == (Failed(f"status {code}"), 1, 0)


@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("0", 0 * SECOND),
        ("120", 120 * SECOND),
        ("3600", 3600 * SECOND),
        ("3601", 3600 * SECOND),
        ("9" * 1000, 3600 * SECOND),
        ("Tue, 27 Jan 2026 12:01:00 GMT", 60 * SECOND),
        ("Tuesday, 27-Jan-26 12:01:00 GMT", 60 * SECOND),
        ("Tue Jan 27 12:01:00 2026", 60 * SECOND),
        ("Tue, 27 Jan 2026 11:00:00 GMT", 0 * SECOND),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600 * SECOND),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Tue, 99 Jan 2026 12:01:00 GMT", None),
        ("²", None),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(
    code: int, value: str, after: timedelta | None
) -> None:
    assert (await tried(status(code, f"Retry-After: {value}")))[0] == Retry(after, f"status {code}")


async def test_retry_after_makes_nothing_final_pass() -> None:
    assert (await tried(status(400, "Retry-After: 1")))[0] == Failed("status 400")


# Receivers that are not well.

UNWELL: dict[str, tuple[Line, str]] = {
    "hangs": (hang, LATE),
    "says nothing and leaves": (says(b""), "closed without an answer"),
    "resets": (says(b"", reset=True), "connection reset by peer"),
    "resets in the head": (says(b"HTTP/1.1 200 OK\r\nContent-", reset=True), "connection reset by peer"),
    "leaves in the head": (says(b"HTTP/1.1 200 OK\r\nContent-"), "closed without an answer"),
    "says garbage": (says(b"\x00\x01garbage\r\n\r\n" * 20), "the answer is not HTTP"),
    "has a head without an end": (says(OK.encode() + b"X: " + b"y" * MIB), "the answer is not HTTP"),
    "has content that is malformed from the first byte": (
        says(f"{OK}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode()),
        "the answer is not HTTP",
    ),
    "drips its head": (drip(OK.encode(), b"X-A: b\r\n"), LATE),
    "drips interim responses": (drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), LATE),
}


@pytest.mark.parametrize("kind", UNWELL)
async def test_without_an_answer_it_is_tried_again(kind: str) -> None:
    line, error = UNWELL[kind]
    attempt, receiver = await tried(line, timeout=SLOW)
    assert (attempt, receiver.connections) == (Retry(None, error), 1)


@pytest.mark.parametrize(
    "line",
    [
        says(f"{OK}Content-Length: 100\r\n\r\npart".encode(), reset=True),
        says(f"{OK}Content-Length: 100\r\n\r\npart".encode()),
        says(f"{OK}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk".encode()),
        drip(f"{OK}Content-Length: 100000000\r\n\r\n".encode(), b"x"),
        drip(f"{OK}Transfer-Encoding: chunked\r\n\r\n".encode(), b"1\r\nx\r\n"),
    ],
)
async def test_once_there_is_a_2xx_nothing_that_follows_takes_it_back(line: Line) -> None:
    attempt, receiver = await tried(line, timeout=SLOW)
    assert (attempt, receiver.connections) == (Delivered(), 1)


@pytest.mark.parametrize(("code", "expected"), [(200, Delivered()), (503, Retry(None, "status 503"))])
async def test_of_five_megabytes_little_is_read_and_the_connection_is_closed(code: int, expected: Attempt) -> None:
    attempt, receiver = await tried(much(code))
    assert attempt == expected
    # What the kernel takes on both sides comes on top.
    assert receiver.sent < 5 * MIB


async def test_content_is_not_decompressed() -> None:
    bomb = gzip.compress(bytes(50 * MIB))
    async with (
        scripted(status(200, "Content-Encoding: gzip", content=bomb)) as receiver,
        sink_to(receiver.url()) as sink,
    ):
        assert await sink.deliver(PAYLOAD, "e1", NOON) == Delivered()
        assert sink._session is not None
        assert not sink._session.auto_decompress


async def test_a_receiver_that_is_not_there_is_tried_again() -> None:
    async with scripted() as receiver:
        url = receiver.url()
    async with sink_to(url) as sink:
        assert await sink.deliver(PAYLOAD, "e1", NOON) == Retry(None, "connection refused")


async def test_a_name_that_cannot_be_resolved_is_tried_again() -> None:
    async with sink_to("http://receiver.invalid/") as sink:
        assert await sink.deliver(PAYLOAD, "e1", NOON) == Retry(None, "the name cannot be resolved")


async def test_a_lookup_that_hangs_ends_with_the_timeout_and_holds_up_nobody_else() -> None:
    released, all_asked = threading.Event(), threading.Barrier(51)

    def hanging(*_args: Any, **_named: Any) -> list[Any]:
        all_asked.wait()
        released.wait()
        return []

    async with scripted() as receiver, sink_to(receiver.url(host="localhost")) as other:
        slow = [WebhookSink(Receiver("http://slow.test/", timeout=SECOND), no_tls, hanging) for _ in range(50)]
        try:
            async with asyncio.TaskGroup() as group:
                attempts = [group.create_task(each.deliver(PAYLOAD, "e1", NOON)) for each in slow]
                await asyncio.to_thread(all_asked.wait)
                assert await other.deliver(PAYLOAD, "e1", NOON) == Delivered()
                assert not any(each.done() for each in attempts)
            assert {each.result() for each in attempts} == {Retry(None, LATE)}
        finally:
            released.set()
            for each in slow:
                await each.close()


HANGING = """
import asyncio, sys, threading
from datetime import UTC, datetime, timedelta
from exporter.sinks.webhook import Receiver, WebhookSink

async def main():
    receiver = Receiver("http://slow.test/", timeout=timedelta(seconds=0.1))
    sink = WebhookSink(receiver, None, lambda *a, **n: forever.wait())
    print(await sink.deliver({}, "e1", datetime.now(UTC)))
    await sink.close()

forever = threading.Event()
asyncio.run(main())
"""


def test_a_lookup_that_hangs_does_not_keep_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=30, check=True)
    assert (ended.stdout, ended.stderr) == (f"{Retry(None, LATE)}\n", "")


# Nothing is remembered, and nothing comes from the environment.


async def test_no_cookie_is_kept() -> None:
    async with scripted(status(200, "Set-Cookie: a=b; Path=/")) as receiver, sink_to(receiver.url()) as sink:
        for _ in range(2):
            await sink.deliver(PAYLOAD, "e1", NOON)
    assert [each.headers.get("cookie") for each in receiver.got] == [None, None]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted() as trap:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, trap.url())
        attempt, receiver = await tried(status(200))
        assert (attempt, receiver.connections, trap.connections) == (Delivered(), 1, 0)


async def test_each_attempt_has_a_connection_of_its_own() -> None:
    async with scripted(status(200, "Connection: keep-alive")) as receiver, sink_to(receiver.url()) as sink:
        for _ in range(3):
            assert await sink.deliver(PAYLOAD, "e1", NOON) == Delivered()
    assert receiver.connections == 3


# TLS.


def served_by(authority: Authority, *names: str) -> ssl.SSLContext:
    issued = authority.issue("receiver", timedelta(days=9), *names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, issued.pem, issued.key_pem(), b"")
    return context


async def over_tls(context: ssl.SSLContext, trusted: Authority, host: str = "localhost") -> tuple[Attempt, Scripted]:
    def tls() -> ssl.SSLContext:
        return client_context(None, trusted.root.pem)

    async with scripted(tls=context) as receiver, sink_to(receiver.url(scheme="https", host=host), tls) as sink:
        return await sink.deliver(PAYLOAD, "e1", NOON), receiver


async def test_the_receiver_is_verified_and_asked_for_by_its_name() -> None:
    authority = Authority()
    attempt, receiver = await over_tls(served_by(authority, "localhost"), authority)
    assert (attempt, receiver.names) == (Delivered(), ["localhost"])
    assert receiver.got[0].headers["host"] == f"localhost:{receiver.port}"


@pytest.mark.parametrize(
    ("names", "host", "why"),
    [(["other.test"], "localhost", "it is for another name"), (["localhost"], "127.0.0.1", "it is for another name")],
)
async def test_a_receiver_of_another_name_gets_nothing(names: list[str], host: str, why: str) -> None:
    authority = Authority()
    attempt, receiver = await over_tls(served_by(authority, *names), authority, host)
    assert (attempt, receiver.got) == (Retry(None, f"certificate not verified: {why}"), [])


async def test_a_receiver_of_another_authority_gets_nothing() -> None:
    attempt, receiver = await over_tls(served_by(Authority("theirs"), "localhost"), Authority("ours"))
    assert attempt == Retry(None, "certificate not verified: unable to get local issuer certificate")
    assert receiver.got == []


async def test_a_receiver_that_speaks_no_tls_is_tried_again() -> None:
    async with scripted() as plain, sink_to(plain.url(scheme="https"), lambda: client_context(None, b"")) as sink:
        assert isinstance(await sink.deliver(PAYLOAD, "e1", NOON), Retry)


# How many attempts there are.


@pytest.mark.parametrize("random", [0.5, 1.0])
async def test_503_503_200_is_three_attempts(random: float) -> None:
    async with scripted(status(503), status(503), status(200)) as receiver:
        made = await driven(receiver, random)
    unwell = Retry(None, "status 503")
    assert made == [(0 * SECOND, unwell), (random * SECOND, unwell), (random * 3 * SECOND, Delivered())]
    assert receiver.connections == 3
    assert {each.headers["webhook-id"] for each in receiver.got} == {"e1"}


async def test_400_is_one_attempt() -> None:
    async with scripted(status(400)) as receiver:
        assert await driven(receiver) == [(0 * SECOND, Failed("status 400"))]
    assert receiver.connections == 1


async def test_a_redirect_is_one_attempt_and_the_trap_is_never_touched() -> None:
    async with scripted() as trap, scripted(status(307, f"Location: {trap.url()}")) as receiver:
        assert await driven(receiver) == [(0 * SECOND, Failed("status 307"))]
    assert (receiver.connections, trap.connections) == (1, 0)


async def test_429_is_tried_again_when_the_receiver_says() -> None:
    script = [status(429, "Retry-After: 600"), status(429, "Retry-After: Tue, 27 Jan 2026 12:30:00 GMT"), status(200)]
    async with scripted(*script) as receiver:
        made = await driven(receiver)
    assert [since for since, _ in made] == [0 * SECOND, 601 * SECOND, 1802 * SECOND]
    assert made[-1][1] == Delivered()


async def test_what_hangs_resets_and_is_garbage_is_tried_until_it_is_well() -> None:
    script = [hang, says(b"", reset=True), says(b"\x00garbage\r\n\r\n"), much(503), status(204, content=b"")]
    async with scripted(*script) as receiver:
        made = await driven(receiver, timeout=SLOW)
    assert [since for since, _ in made] == [each * SECOND for each in (0, 1, 3, 7, 15)]
    assert made[-1][1] == Delivered()
    assert receiver.connections == 5


async def test_what_is_never_well_is_tried_for_a_day() -> None:
    async with scripted(status(503)) as receiver:
        made = await driven(receiver)
    times = [since for since, _ in made]
    # 1, 2, 4 ... 256 seconds apart, and then five minutes.
    assert len(made) == receiver.connections == 10 + (86400 - 511) // 300
    assert timedelta(days=1) - timedelta(minutes=5) < times[-1] <= timedelta(days=1)


# Nothing leaks.


def descriptors() -> dict[str, str]:
    return {each.name: str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists()}


async def quiet() -> None:
    """What was closed is closed at the next turn of the loop, or the one after; threads of single calls end."""
    for each in threading.enumerate():
        if each.name == "webhook":
            each.join()
    for _ in range(5):
        await asyncio.sleep(0)


async def every_kind(authority: Authority) -> None:
    """An attempt of each kind, one cut off midway, with and without TLS; all is closed then."""
    anchors = authority.root.pem
    lines = [status(200), status(503), status(302, "Location: /"), much(200), *(line for line, _ in UNWELL.values())]
    for tls in (None, served_by(authority, "localhost")):
        scheme = "https" if tls else "http"
        for line in lines:
            async with (
                scripted(line, tls=tls) as receiver,
                sink_to(
                    receiver.url(scheme=scheme, host="localhost"),
                    lambda: client_context(None, anchors),
                    timeout=SLOW / 3,
                ) as sink,
            ):
                await sink.deliver(PAYLOAD, "e1", NOON)
        async with (
            scripted(hang, tls=tls) as receiver,
            sink_to(receiver.url(scheme=scheme, host="localhost"), lambda: client_context(None, anchors)) as sink,
        ):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await sink.deliver(PAYLOAD, "e1", NOON)


async def test_every_descriptor_task_and_thread_ends_with_its_attempt() -> None:
    authority = Authority()
    await every_kind(authority)
    await quiet()
    before = descriptors()
    await every_kind(authority)
    await quiet()
    assert descriptors() == before
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [each.name for each in threading.enumerate()] == [threading.current_thread().name]


async def test_what_was_closed_opens_again_when_it_is_needed() -> None:
    async with scripted() as receiver, sink_to(receiver.url()) as sink:
        for _ in range(2):
            assert await sink.deliver(PAYLOAD, "e1", NOON) == Delivered()
            await sink.close()
            await sink.close()


# Secrets.


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    asyncio_log = logging.getLogger("asyncio")
    level = asyncio_log.level
    asyncio_log.setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    yield caplog
    asyncio_log.setLevel(level)


async def test_neither_url_nor_headers_nor_secrets_are_shown(debug: pytest.LogCaptureFixture) -> None:
    shown: list[str] = []
    secret: dict[str, Any] = {
        "headers": (("X-Key", "canary-header"),),
        "body": Body('"{{ vars.key }}"', variables=(("key", "canary-variable"),)),
        "keys": (b"canary-signing-key-of-32-bytes...",),
    }
    lines = [
        status(200),
        status(400),
        status(503),
        status(302, "Location: /canary-location"),
        *(x for x, _ in UNWELL.values()),
    ]
    for line in lines:
        async with scripted(line) as receiver, sink_to(receiver.url("/canary-path"), timeout=SLOW, **secret) as sink:
            shown += [str(await sink.deliver(PAYLOAD, "e1", NOON)), repr(sink), repr(sink._receiver)]
        assert receiver.got[0].headers["x-key"] == "canary-header"
        assert receiver.got[0].body == b'"canary-variable"'
    for url in ("http://canary-host.invalid/", "https://127.0.0.1:1/canary-path", "http://[::ffff:127.0.0.1]/canary"):
        async with sink_to(url, lambda: client_context(None, b""), **secret) as sink:
            shown.append(str(await sink.deliver(PAYLOAD, "e1", NOON)))
    shown.append(debug.text)
    assert [each for each in shown if "canary" in each] == []


def at(got: Got) -> datetime:
    return datetime.fromtimestamp(int(got.headers["webhook-timestamp"]), NOON.tzinfo)


async def test_the_time_of_a_signature_is_that_of_the_attempt() -> None:
    async with scripted(status(503)) as receiver, sink_to(receiver.url(), keys=(bytes(32),)) as sink:
        for seconds in (0, 7):
            await sink.deliver(PAYLOAD, "e1", NOON + seconds * SECOND)
    assert [at(each) - NOON for each in receiver.got] == [0 * SECOND, 7 * SECOND]
    assert len({each.headers["webhook-signature"] for each in receiver.got}) == 2
