"""Addresses that a webhook must not reach, in every spelling: nothing connects, on a listener that would notice."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from ssl import SSLContext
from typing import Any

import pytest

from exporter.attempts import Attempt, Delivered, Failed, Retry
from exporter.handler_entry import Webhook
from exporter.problems import ConfigError
from exporter.sinks.webhook import Receiver, WebhookSink
from exporter.validation import validate
from tests.fakes import NOON
from tests.sinks.scripted import scripted, status

NOT_ALLOWED = Failed("the address is not allowed")
NO_HOST = Failed("the URL has no usable host")
# What the configuration refuses, and what this machine's resolver does not know, is not connected to either.
REFUSED = (None, NOT_ALLOWED, NO_HOST, Retry(None, "the name cannot be resolved"))
LOOPBACK = [
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.1",
    "017700000001", "0177.0.0.1", "0177.1", "00000177.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.0.0.1.",
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]",
]  # fmt: skip
ALWAYS = [
    "0.0.0.0", "0", "0x0", "00", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:FFFF:7F00:0001]",
    "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
    "[2001:0:7f00:1::80ff:fffe]", "169.254.169.254", "169.254.43518", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376", "169.254.169.254.", "[::ffff:169.254.169.254]", "[fe80::1]",
    "[fe80::1%25lo]", "[fe80::1%lo]", "[fd00:ec2::254]",
    "100.100.100.200", "168.63.129.16", "224.0.0.1", "[ff02::1]", "255.255.255.255",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "127\u30020\u30020\u30021", "[::ffff:0.0.0.0]",
]  # fmt: skip


class Counting:
    """A listener on every address there is, for both families, on one port."""

    def __init__(self) -> None:
        self._sockets = [socket.socket(socket.AF_INET), socket.socket(socket.AF_INET6)]
        self.port = 0
        for each, address in zip(self._sockets, ("0.0.0.0", "::"), strict=True):
            if each.family is socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind((address, self.port))
            each.listen()
            each.setblocking(False)
            self.port = each.getsockname()[1]

    def connections(self) -> int:
        """How many there have been since the last time."""
        count = 0
        for each in self._sockets:
            while True:
                try:
                    each.accept()[0].close()
                except BlockingIOError:
                    break
                count += 1
        return count

    def close(self) -> None:
        for each in self._sockets:
            each.close()


@pytest.fixture
def listener() -> Iterator[Counting]:
    with closing(Counting()) as counting:
        yield counting


def no_tls() -> SSLContext:
    raise AssertionError("no TLS is needed")


async def attempt(url: str, *, private: bool, lookup: Any = socket.getaddrinfo) -> Attempt | None:
    """As from a configuration with this URL. None: it is refused there."""
    try:
        webhook = validate(Webhook, {"url": url, "allow_private": private}, "f")
    except ConfigError:
        return None
    receiver = Receiver(webhook.url.get_secret_value(), timeout=timedelta(seconds=0.5), allow_private=private)
    sink = WebhookSink(receiver, no_tls, lookup)
    try:
        return await sink.deliver({}, "e", NOON)
    finally:
        await sink.close()


@pytest.mark.parametrize("host", LOOPBACK)
async def test_no_spelling_of_loopback_is_reached_unless_private_addresses_are_allowed(
    listener: Counting, host: str
) -> None:
    made = await attempt(f"http://{host}:{listener.port}/", private=False)
    assert (made in REFUSED, listener.connections()) == (True, 0)


@pytest.mark.parametrize("host", ALWAYS)
@pytest.mark.parametrize("private", [False, True])
async def test_no_spelling_of_what_is_forbidden_is_reached(listener: Counting, host: str, private: bool) -> None:  # noqa: FBT001
    made = await attempt(f"http://{host}:{listener.port}/", private=private)
    assert (made in REFUSED, listener.connections()) == (True, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]"])
async def test_the_listener_would_have_noticed(listener: Counting, host: str) -> None:
    # Nobody accepts, so there is no answer; the connection is there all the same.
    made = await attempt(f"http://{host}:{listener.port}/", private=True, lookup=known)
    assert isinstance(made, Retry)
    assert listener.connections() >= 1


def known(_host: str, port: int, **_named: Any) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


def leading_to(*answers: list[str]) -> Any:
    """A resolver that answers with these addresses, the next ones each time; the last ones from then on."""
    left = list(answers)

    def lookup(_host: str, port: int, **_named: Any) -> list[Any]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in addresses
        ]

    return lookup


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "::", "::ffff:127.0.0.1", "fd00:ec2::254"])
@pytest.mark.parametrize("private", [False, True])
async def test_no_name_leads_to_what_is_forbidden(listener: Counting, address: str, private: bool) -> None:  # noqa: FBT001
    made = await attempt(f"http://name.test:{listener.port}/", private=private, lookup=leading_to([address]))
    assert (made, listener.connections()) == (NOT_ALLOWED, 0)


async def test_a_name_that_has_become_another_address_is_judged_by_that(listener: Counting) -> None:
    lookup = leading_to(["127.0.0.1"], ["0.0.0.0"], ["127.0.0.1"])
    async with scripted(status(200)) as receiver:
        sink = WebhookSink(Receiver(receiver.url(host="name.test"), allow_private=True), no_tls, lookup)
        made = [await sink.deliver({}, "e", NOON) for _ in range(3)]
        await sink.close()
    assert made == [Delivered(), NOT_ALLOWED, Delivered()]


async def test_of_several_addresses_the_allowed_one_is_used() -> None:
    async with scripted(status(200)) as receiver:
        url = receiver.url(host="name.test")
        made = await attempt(url, private=True, lookup=leading_to(["169.254.169.254", "::", "127.0.0.1"]))
    assert (made, receiver.got[0].headers["host"]) == (Delivered(), f"name.test:{receiver.port}")


@pytest.mark.parametrize("forbidden", ["169.254.169.254", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("last", [False, True])
async def test_beside_a_forbidden_address_one_that_does_not_answer_is_tried_again(forbidden: str, last: bool) -> None:  # noqa: FBT001
    async with scripted() as receiver:
        url = receiver.url(host="name.test")
    addresses = ["127.0.0.1", forbidden] if last else [forbidden, "127.0.0.1"]
    assert await attempt(url, private=True, lookup=leading_to(addresses)) == Retry(None, "connection refused")


async def test_a_redirect_leads_nowhere_either(listener: Counting) -> None:
    async with scripted(status(302, f"Location: http://127.0.0.1:{listener.port}/")) as receiver:
        assert await attempt(receiver.url(), private=True) == Failed("status 302")
    assert listener.connections() == 0
