"""Redis as it is when it answers: how keys look, what is refused, passwords, TLS, many requests at once."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.certcheck.fail_open import FailOpenCooldowns
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.cooldowns.connection import Server, StoreRefusedError, StoreUnreachableError
from exporter.cooldowns.redis import RedisCooldowns
from tests.authority import Authority
from tests.certcheck.cooldown_conformance import HOUR, KEY, MINUTE, ZERO, claim, tell
from tests.fakes import FakeClock
from tests.pauses import longest_pause_ms
from tests.redis_server import RedisServer, redis

CANARY = "canary-7d1f"
EVENT_ID = "a6f8a885-bf06-4b09-8108-6f9be0ddc5d0"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def served(shared: RedisServer) -> RedisServer:
    """A server with nothing in it."""
    shared.command("FLUSHALL")
    return shared


@asynccontextmanager
async def opened(server: Server, **options: object) -> AsyncIterator[RedisCooldowns]:
    store = RedisCooldowns(server, **options)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.close()


async def refusal(store: RedisCooldowns) -> str:
    """What the server said."""
    with pytest.raises(StoreRefusedError) as caught:
        await claim(store)
    return str(caught.value.__cause__)


def name_of_the_key(server: RedisServer) -> str:
    [name] = re.findall(r"certgauge:\S+", server.command("KEYS", "*"))
    return str(name)


# What is in it.


async def test_a_key_is_a_digest_under_the_prefix_and_lives_as_long_as_it_is_needed(served: RedisServer) -> None:
    async with opened(served.server("prod")) as store:
        await claim(store, event_id=EVENT_ID)
        name = name_of_the_key(served)
        assert re.fullmatch(r"certgauge:prod:cooldown:[0-9a-f]{64}", name)
        value = served.command("GET", name)
        assert re.fullmatch(rf"\$\d+\r\nclaim \d{{13}} \d{{13}} 3600000 {store._owner} {EVENT_ID}\r\n", value)
        assert 3_600_000 < int(served.command("PTTL", name)[1:]) <= 3_660_001

        await store.start(KEY, HOUR)
        assert re.fullmatch(r"\$\d+\r\ntold \d{13} \d{13}\r\n", served.command("GET", name))
        assert 3_590_000 < int(served.command("PTTL", name)[1:]) <= 3_600_000


async def test_nothing_is_left_of_what_was_released_or_has_no_cooldown(served: RedisServer) -> None:
    async with opened(served.server()) as store:
        await claim(store)
        await store.release(KEY)
        await claim(store)
        await store.start(KEY, ZERO)
        await store.renew([], MINUTE)

    assert served.command("DBSIZE") == ":0\r\n"


async def test_other_prefixes_and_other_databases_do_not_share_cooldowns(served: RedisServer) -> None:
    other = served.server("staging")
    for server in (served.server("prod"), other, replace(other, url=replace(other.url, database=3))):
        async with opened(server) as store:
            assert await tell(store)
            assert not await tell(store)


# What it refuses.


async def test_another_type_under_a_key_is_refused_and_left_alone(served: RedisServer) -> None:
    async with opened(served.server()) as store:
        await store.start(KEY, HOUR)
        name = name_of_the_key(served)
        served.command("DEL", name)
        served.command("RPUSH", name, "a", "b")
        assert "WRONGTYPE" in await refusal(store)
        with pytest.raises(StoreRefusedError):
            await store.start(KEY, HOUR)
        with pytest.raises(StoreRefusedError):
            await store.release(KEY)

    assert served.command("LLEN", name) == ":2\r\n"


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "1", "told", "told 1", "told a b", "told 1 2 3", "told -1 2", "told 1.5 2", "TOLD 1 2", " told 1 2"),
        *("claim", "claim 1 2 3 owner", "claim 1 2 3 owner ", "claim 1 2 x owner id", "told 1 2\n", '{"told": 1}'),
        *("claim 1 2 3 owner ä", "claim 1 2 3 owner a\nb", f"claim 1 2 3 owner {'x' * 129}"),
    ],
)
async def test_a_value_that_is_none_of_ours_is_refused(served: RedisServer, value: str) -> None:
    async with opened(served.server()) as store:
        await store.start(KEY, HOUR)
        served.command("SET", name_of_the_key(served), value)
        await refusal(store)


@pytest.mark.parametrize(
    "value", [f"told 0 {'9' * 400}", f"told {'9' * 400} {'9' * 400}", f"claim 0 {'9' * 15} 1 o id"]
)
async def test_a_value_that_would_silence_for_ever_does_not(served: RedisServer, value: str) -> None:
    async with opened(served.server()) as store:
        await store.start(KEY, HOUR)
        served.command("SET", name_of_the_key(served), value)
        assert await claim(store) in {"first", "id"}
        assert await claim(store) is None


async def test_a_read_only_replica_is_refused_also_when_it_is_only_asked_whether_it_is_there(tmp_path: Path) -> None:
    with redis(tmp_path, "--replicaof", "127.0.0.1", "1") as server:
        async with opened(server.server()) as store:
            assert "read only replica" in await refusal(store)
            with pytest.raises(StoreRefusedError):
                await store.renew([], MINUTE)


async def test_what_is_refused_goes_out_once_and_does_not_keep_others_from_being_shared(served: RedisServer) -> None:
    tally = Tally()
    async with opened(served.server()) as store, opened(served.server()) as elsewhere:
        await store.start(KEY, HOUR)
        name = name_of_the_key(served)
        served.command("DEL", name)
        served.command("RPUSH", name, "a")
        cooldowns = FailOpenCooldowns(store, FakeClock(), tally)
        assert [await tell(cooldowns) for _ in range(5)] == [True, False, False, False, False]
        assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] >= 2
        other = KEY._replace(cert_id="other")
        assert await tell(cooldowns, other)
        assert not await tell(elsewhere, other)


# How it is asked.


async def test_a_server_that_has_forgotten_the_scripts_is_given_them_again(served: RedisServer) -> None:
    async with opened(served.server()) as store:
        for number in range(3):
            served.command("SCRIPT", "FLUSH")
            assert await tell(store, KEY._replace(cert_id=str(number)))


async def test_a_connection_that_the_server_has_ended_is_made_anew_without_a_failure(served: RedisServer) -> None:
    async with opened(served.server()) as store:
        for number in range(3):
            assert await tell(store, KEY._replace(cert_id=str(number)))
            served.command("CLIENT", "KILL", "TYPE", "normal")
            # The end is read by the loop, not by us.
            while not await store._connection._connection.can_read():  # type: ignore[union-attr]  # noqa: ASYNC110
                await asyncio.sleep(0)


async def test_a_connection_that_was_idle_for_long_is_made_anew(served: RedisServer) -> None:
    now = [0.0]
    async with opened(served.server(), clock=lambda: now[0]) as store:
        await tell(store)
        first = store._connection._connection
        now[0] += 30
        await tell(store)
        assert store._connection._connection is first
        now[0] += 30.1
        await tell(store)
        assert store._connection._connection is not first


async def test_two_thousand_who_ask_at_once_share_one_connection_and_do_not_hold_up_the_loop(
    served: RedisServer,
) -> None:
    keys = [KEY._replace(cert_id=str(number)) for number in range(2000)]
    tally = Tally()
    connections = int(served.command("INFO", "stats").split("total_connections_received:")[1].split("\r")[0])
    cooldowns = FailOpenCooldowns(RedisCooldowns(served.server()), FakeClock(), tally)
    async with longest_pause_ms() as pause, asyncio.TaskGroup() as tasks:
        started_at = time.monotonic()
        for at in range(0, len(keys), 100):
            for key in keys[at : at + 100]:
                tasks.create_task(tell(cooldowns, key))
            await asyncio.sleep(0)
    print(f"2,000 told in {time.monotonic() - started_at:.2f} s, longest pause {pause.ms:.1f} ms")  # noqa: T201
    await cooldowns.close()

    assert tally.errors[ErrorReason.COOLDOWN_STORE_FAILED] == 0
    assert served.command("DBSIZE") == ":2000\r\n"
    stats = served.command("INFO", "stats")
    # Ours, and those that this test has made to ask.
    assert int(stats.split("total_connections_received:")[1].split("\r")[0]) - connections == 3
    assert pause.ms < 100


async def test_what_nobody_waits_for_any_more_is_not_sent(served: RedisServer) -> None:
    async with opened(served.server()) as store:
        await tell(store)
        async with store._connection._turn, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(claim(store, KEY._replace(cert_id="other")))
            await asyncio.sleep(0)
            waiting.cancel()
        assert await claim(store, KEY._replace(cert_id="third"), "third") == "third"

    assert served.command("DBSIZE") == ":2\r\n"


async def test_an_answer_is_never_taken_for_that_of_a_request_that_was_cut_midway(served: RedisServer) -> None:
    async with opened(served.server()) as store:
        await tell(store)
        for number in range(50):
            async with asyncio.TaskGroup() as tasks:
                cut = tasks.create_task(claim(store, KEY._replace(cert_id="cut"), f"cut {number}"))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                cut.cancel()
            assert await claim(store, KEY._replace(cert_id=str(number)), str(number)) == str(number)


# Passwords.


async def test_the_password_is_read_from_its_file_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with redis(tmp_path, "--requirepass", CANARY) as server:
        file.write_text(f"{CANARY}\n")
        async with opened(replace(server.server(), password_file=file)) as store:
            assert await tell(store)
            await store.close()
            file.write_text("another")
            with pytest.raises(StoreUnreachableError) as caught:
                await claim(store)
            assert type(caught.value.__cause__).__name__ == "AuthenticationError"
            file.unlink()
            with pytest.raises(StoreUnreachableError):
                await claim(store)
            file.write_text(CANARY)
            assert not await tell(store)


async def test_a_user_of_an_access_control_list_needs_no_more_than_the_documented_commands(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(CANARY)
    (tmp_path / "acl").write_text(
        f"user default off\nuser certgauge on >{CANARY} ~certgauge:prod:* +evalsha +eval +get +set +del +time +select\n"
    )
    with redis(tmp_path, "--aclfile", str(tmp_path / "acl")) as server:
        url = replace(server.server("prod").url, user="certgauge", database=1)
        async with opened(Server(url, tmp_path / "password")) as store:
            assert await tell(store)
            assert not await tell(store)
            await store.renew([], MINUTE)
            await store.renew([KEY], MINUTE)
            await store.release(KEY)
        async with opened(Server(replace(url, prefix="other"), tmp_path / "password")) as store:
            assert "key" in await refusal(store)


async def test_a_wrong_password_fails_open_and_is_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "password").write_text(f"wrong-{CANARY}")
    with redis(tmp_path, "--requirepass", "right") as server:
        store = RedisCooldowns(replace(server.server(), password_file=tmp_path / "password"))
        cooldowns = FailOpenCooldowns(store, FakeClock(), Tally())
        assert [await tell(cooldowns) for _ in range(3)] == [True, False, False]

    assert [vars(record)["error"] for record in caplog.records] == ["AuthenticationError"]
    assert CANARY not in str([vars(record) for record in caplog.records])


# TLS.


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[RedisServer]:
    authority = Authority()
    authority.issue("localhost").write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(authority.root.pem)
    (tmp_path / "other-ca.pem").write_bytes(Authority("other CA").root.pem)
    files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
    options = [word for name, file in files.items() for word in (f"--tls-{name}-file", str(tmp_path / file))]
    with redis(tmp_path, "--tls-port", "PORT", "--port", "0", "--tls-auth-clients", "no", *options) as server:
        yield server


def over_tls(server: RedisServer, host: str = "localhost", ca_file: Path | None = None) -> Server:
    return Server(replace(server.server().url, host=host, tls=True), ca_file=ca_file)


async def test_cooldowns_go_over_tls_that_is_verified(secured: RedisServer, tmp_path: Path) -> None:
    async with opened(over_tls(secured, ca_file=tmp_path / "ca.pem")) as store:
        assert await tell(store)
        assert not await tell(store)


@pytest.mark.parametrize(("host", "ca"), [("localhost", "other-ca.pem"), ("localhost", None), ("127.0.0.1", "ca.pem")])
async def test_a_server_that_cannot_be_verified_is_told_nothing(
    secured: RedisServer, tmp_path: Path, host: str, ca: str | None
) -> None:
    (tmp_path / "password").write_text(CANARY)
    server = replace(over_tls(secured, host, tmp_path / ca if ca else None), password_file=tmp_path / "password")
    async with opened(server) as store:
        with pytest.raises(StoreUnreachableError) as caught:
            await claim(store)
    assert type(caught.value.__cause__).__name__ == "SSLCertVerificationError"


async def test_trust_anchors_that_were_replaced_are_read_after_a_failure(secured: RedisServer, tmp_path: Path) -> None:
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes((tmp_path / "other-ca.pem").read_bytes())
    async with opened(over_tls(secured, ca_file=anchors)) as store:
        with pytest.raises(StoreUnreachableError):
            await claim(store)
        anchors.write_bytes((tmp_path / "ca.pem").read_bytes())
        assert await tell(store)


async def test_plain_text_is_not_spoken_with_a_server_of_tls_nor_tls_with_one_of_plain_text(
    secured: RedisServer, served: RedisServer, tmp_path: Path
) -> None:
    for server in (secured.server(), over_tls(served, ca_file=tmp_path / "ca.pem")):
        async with opened(server) as store:
            with pytest.raises(StoreUnreachableError):
                await claim(store)
