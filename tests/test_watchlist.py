"""Watched files: found, followed however they change, and told, in a whole gateway."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from exporter.certcheck.certificate import InvalidReason
from exporter.certcheck.slot import Observation
from exporter.following import Changes, Following, Pace
from exporter.settings import Settings, read_settings
from exporter.watched_file import entries_of
from exporter.watchlist import Watchlist
from tests.authority import DAY, Authority, Issued
from tests.served import Served, configuration, served, write
from tests.test_globs import deep
from tests.test_reload import RENEWED, SOON, events

FAST = Pace(round=0.05, expansion=0.05, rest=0.02, longest=0.02, shortest=0.005)


@asynccontextmanager
async def watching(directory: Path, *watch: Any, **more: Any) -> AsyncIterator[Served]:
    async with served(directory, configuration(apis=[], certificates={}, watch=[*watch], **more), pace=FAST) as world:
        yield world


async def rows(world: Served) -> list[dict[str, Any]]:
    _, document = await world.get("/certs?limit=1000")
    certs: list[dict[str, Any]] = document["certs"]
    return certs


async def rows_when(world: Served, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The rows as soon as something holds of them."""
    async with asyncio.timeout(15):
        while not holds(found := await rows(world)):
            pass
    return found


def refs(certs: Iterable[dict[str, Any]]) -> set[str]:
    return {each["cert_ref"] for each in certs}


def put(path: Path, issued: Issued) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(issued.pem)
    return path


async def test_every_watched_file_has_slots_from_the_start_that_belong_to_no_api(tmp_path: Path) -> None:
    authority = Authority()
    put(tmp_path / "w" / "one.pem", authority.issue("one"))
    (tmp_path / "w" / "two.crt").write_bytes(authority.issue("two").pem + authority.root.pem)
    async with watching(tmp_path, "w") as world:
        found = {(each["cert_ref"], each["cert_name"]) for each in await rows(world)}
        one, two = (str(tmp_path / "w" / name) for name in ("one.pem", "two.crt"))
        assert found == {(one, "one"), (two, "two"), (two, "test CA")}
        assert not any("api_id" in each for each in await rows(world))
        assert {each["cert_role"] for each in await rows(world)} == {"server"}


async def test_what_is_only_watched_limits_no_listener_and_is_not_in_use(tmp_path: Path) -> None:
    authority = Authority()
    authority.issue("gateway", 100 * DAY, "127.0.0.1").write(tmp_path, "gateway")
    put(tmp_path / "old.pem", authority.issue("old", -DAY))
    certificates = {"gateway": {"cert_file": "gateway.pem", "key_file": "gateway.key"}}
    config = configuration(
        apis=[], certificates=certificates, watch=["old.pem"], admin={"listen": "127.0.0.1:0"},
        proxy={"listen": "127.0.0.1:0", "tls": {"certificate": "gateway"}},
    )  # fmt: skip
    async with served(tmp_path, config, pace=FAST) as world:
        [path] = await world.metric("certificate_path_days_remaining{")
        assert 'cert_name="gateway"' in path
        assert {each["cert_name"]: each.get("file_in_use") for each in await rows(world)} == {
            "gateway": True,
            "old": None,
        }
        assert len(await world.metric("certificate_file_in_use{")) == 1


async def test_files_that_take_long_to_read_keep_nobody_from_serving_and_are_read_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A key store may ask for seconds of work, and there may be any number of them."""
    authority = Authority()
    files = {str(put_store(tmp_path / "w" / f"{number}.p12", authority.issue("a"), b"any")) for number in range(3)}
    document = configuration(apis=[], certificates={}, watch=["w"])
    async with served(tmp_path, document, pace=replace(FAST, start=0)) as world:
        assert await rows(world) == []
        await rows_when(world, lambda certs: refs(certs) == files)
    assert "watched files are still being read" in caplog.messages


async def test_an_entry_may_give_a_name_a_role_and_exceptions(tmp_path: Path) -> None:
    issued = Authority().issue("a")
    for name in ("t1/tls.crt", "t2/tls.crt", "t2/old/tls.crt", "t2/x-old.crt"):
        put(tmp_path / "secrets" / name, issued)
    entry = {"files": "secrets/**/*.crt", "name": "tenants", "role": "client", "exclude": ["*-old.crt", "**/old/**"]}
    async with watching(tmp_path, entry, {"files": "secrets/**/x*.crt", "name": "again"}) as world:
        found = {(each["cert_ref"], each["cert_role"]) for each in await rows(world)}
        assert found == {
            ("tenants/t1/tls.crt", "client"),
            ("tenants/t2/tls.crt", "client"),
            ("again/t2/x-old.crt", "server"),
        }


async def test_a_file_that_two_entries_match_is_watched_once_by_the_first(tmp_path: Path) -> None:
    put(tmp_path / "w" / "a.pem", Authority().issue("a"))
    async with watching(tmp_path, {"files": "w/*.pem", "role": "ca"}, "w", {"files": "w/a.pem", "name": "n"}) as world:
        [row] = await rows(world)
        assert (row["cert_role"], row["cert_ref"]) == ("ca", str(tmp_path / "w" / "a.pem"))


async def test_each_entry_is_judged_by_its_own_threshold_where_it_has_one(tmp_path: Path) -> None:
    put(tmp_path / "a.pem", Authority().issue("a", 20 * DAY))
    put(tmp_path / "b.pem", Authority().issue("b", 20 * DAY))
    put(tmp_path / "c.pem", Authority().issue("c", 20 * DAY))
    own = {"files": "b.pem", "warning_threshold_days": 14}
    part = {"files": "c.pem", "warning_lifetime_fraction": 0.01}
    async with watching(tmp_path, "a.pem", own, part) as world:
        states = {Path(each["cert_ref"]).name: each["state"] for each in await rows(world)}
        assert states == {"a.pem": "expiring", "b.pem": "valid", "c.pem": "valid"}


def put_store(path: Path, issued: Issued, passphrase: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    encryption = BestAvailableEncryption(passphrase)
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"a", issued.key, issued.certificate, None, encryption))
    return path


async def test_a_store_is_opened_by_its_entrys_passphrase_whichever_it_is_now(tmp_path: Path) -> None:
    authority = Authority()
    put_store(tmp_path / "w" / "a.p12", authority.issue("a"), b"first")
    put_store(tmp_path / "v" / "b.p12", authority.issue("b"), b"second")
    (tmp_path / "w.pass").write_text("wrong\n")
    watch = [{"files": "w", "passphrase_file": "w.pass"}, {"files": "v", "passphrase": "wrong"}]
    async with watching(tmp_path, *watch) as world:
        assert [each.get("reason") for each in await rows(world)] == ["bad_passphrase"] * 2
        (tmp_path / "w.pass").write_text("first\n")
        await rows_when(world, lambda certs: {each.get("cert_name") for each in certs} == {"a", None})
        watch[1]["passphrase"] = "second"
        write(tmp_path, "certgauge.yaml", configuration(apis=[], certificates={}, watch=watch))
        await rows_when(world, lambda certs: {each.get("cert_name") for each in certs} == {"a", "b"})


def in_place(file: Path, issued: Issued) -> None:
    file.write_bytes(issued.pem)


def by_rename(file: Path, issued: Issued) -> None:
    put(file.with_name("fresh"), issued).rename(file)


def by_link(file: Path, issued: Issued) -> None:
    fresh = file.parent / f"..{issued.cert_id[:8]}"
    put(fresh / "tls.crt", issued)
    (file.parent / "..data.new").symlink_to(fresh.name)
    (file.parent / "..data.new").rename(file.parent / "..data")


@pytest.mark.parametrize("replace", [in_place, by_rename, by_link])
@pytest.mark.parametrize("files", ["w/tls.crt", "w", "w/*.crt"])
async def test_a_renewed_file_is_noticed_however_it_was_replaced_and_the_renewal_is_announced(
    tmp_path: Path, replace: Callable[[Path, Issued], None], files: str
) -> None:
    authority, file = Authority(), tmp_path / "w" / "tls.crt"
    (tmp_path / "w").mkdir()
    replace(file, authority.issue("a", 10 * DAY))
    if replace is by_link:
        file.symlink_to("..data/tls.crt")
    async with watching(tmp_path, files) as world:
        assert await events(world, 1) == [SOON]
        renewed = authority.issue("a", 300 * DAY)
        replace(file, renewed)
        [row] = await rows_when(world, lambda certs: [each["cert_id"] for each in certs] == [renewed.cert_id])
        assert row["state"] == "valid"
        assert await events(world, 2) == [SOON, RENEWED]


async def test_a_new_file_of_a_glob_is_found_and_one_that_vanishes_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    authority = Authority()
    first = put(tmp_path / "w" / "a.pem", authority.issue("a"))
    async with watching(tmp_path, "w/**/*.pem") as world:
        second = put(tmp_path / "w" / "new" / "b.pem", authority.issue("b"))
        await rows_when(world, lambda certs: refs(certs) == {str(first), str(second)})
        first.unlink()
        await rows_when(world, lambda certs: refs(certs) == {str(second)})
        assert [record.__dict__["cert_refs"] for record in caplog.records if "are gone" in record.message] == [
            str(first)
        ]
        series = await world.metric("certificate_days_remaining{")
        assert len(series) == 1
        assert str(second) in series[0]


async def test_a_file_that_is_named_and_missing_is_loud_until_it_is_there(tmp_path: Path) -> None:
    async with watching(tmp_path, "later.pem") as world:
        [row] = await rows(world)
        assert (row["state"], row["reason"], row["cert_ref"]) == ("unreadable", "missing", str(tmp_path / "later.pem"))
        file = put(tmp_path / "later.pem", Authority().issue("later"))
        await rows_when(world, lambda certs: [each["state"] for each in certs] == ["valid"])
        file.unlink()
        await rows_when(world, lambda certs: [each.get("reason") for each in certs] == ["missing"])


async def test_a_pipe_a_loop_and_a_directory_too_deep_to_list_are_told_and_hold_up_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pem")
    os.mkfifo(tmp_path / "w-pipe.pem")
    (tmp_path / "loop.pem").symlink_to("loop.pem")
    file = put(tmp_path / "deep" / "a.pem", Authority().issue("a"))
    deep(tmp_path / "deep")
    async with watching(tmp_path, "pipe.pem", "w-*.pem", "loop.pem", "deep/**/*.pem") as world:
        found = {each["cert_ref"]: (each["state"], each.get("detail")) for each in await rows(world)}
        pipe, loop = tmp_path / "pipe.pem", tmp_path / "loop.pem"
        assert found.pop(str(file)) == ("valid", None)
        assert found.pop(str(pipe)) == ("unreadable", f"{pipe}: is not a file")
        assert found.pop(str(loop)) == ("unreadable", f"{loop}: cannot be read: Too many levels of symbolic links")
        [(directory, (state, detail))] = found.items()
        assert state == "unreadable"
        assert detail == f"{directory}: cannot be listed: File name too long"


async def test_a_name_that_cannot_be_looked_at_is_told_and_ends_nothing(tmp_path: Path) -> None:
    put(tmp_path / "good.pem", Authority().issue("good"))
    too_long = "n" * 300 + ".pem"
    async with watching(tmp_path, too_long, {"files": too_long, "name": "team", "role": "client"}, "good.pem") as world:
        found = {each["cert_ref"]: (each["state"], each.get("detail")) for each in await rows(world)}
        path = tmp_path / too_long
        assert found[str(tmp_path / "good.pem")] == ("valid", None)
        assert found[str(path)] == ("unreadable", f"{path}: cannot be read: File name too long")


async def test_names_that_are_no_text_and_files_of_any_size_are_shown_safely(tmp_path: Path) -> None:
    authority = Authority()
    names = [b"a\xff.pem", b"a\xfe.pem", b"line\nbreak.pem", b"n" * 251 + b".pem"]
    for name in names:
        put(tmp_path / "w" / os.fsdecode(name), authority.issue("a"))
    (tmp_path / "w" / "empty.pem").write_bytes(b"")
    broken = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
    (tmp_path / "w" / os.fsdecode(b"broken\xff\n.pem")).write_bytes(broken)
    with (tmp_path / "w" / "huge.pem").open("wb") as huge:
        huge.truncate(100 * 1024 * 1024)
    async with watching(tmp_path, "w") as world:
        found = await rows(world)
        assert all(each["cert_ref"].isprintable() for each in found)
        # Two names that are written alike are still two slots.
        assert len(refs(found)) == len(names) + 3
        [detail] = [each["detail"] for each in found if each["cert_ref"].endswith("huge.pem")]
        assert detail.endswith("huge.pem: larger than 4 MiB")
        assert len(await world.metric("certificate_state{")) == len(found)


async def test_a_file_that_was_changed_twice_in_one_tick_of_the_clock_is_read_again(tmp_path: Path) -> None:
    authority = Authority()
    first, second = authority.issue("a"), authority.issue("a")
    while len(second.pem) != len(first.pem):
        second = authority.issue("a")
    file = put(tmp_path / "w" / "a.pem", first)
    async with watching(tmp_path, "w") as world:
        seen = file.stat()
        file.write_bytes(second.pem)
        os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        assert file.stat().st_mtime_ns == seen.st_mtime_ns
        await rows_when(world, lambda certs: certs[0]["cert_id"] == second.cert_id)


async def test_a_changed_watch_section_is_a_difference(tmp_path: Path) -> None:
    authority = Authority()
    kept, left, new = (put(tmp_path / d / "a.pem", authority.issue(d, 10 * DAY)) for d in ("kept", "left", "new"))
    async with watching(tmp_path, "kept", "left") as world:
        assert await events(world, 2) == [SOON, SOON]
        changes = configuration(apis=[], certificates={}, watch=[{"files": "kept", "role": "ca"}, "new"])
        write(tmp_path, "certgauge.yaml", changes)
        assert (await world.ask("POST", "/reload"))[0] == 200
        found = await rows_when(world, lambda certs: refs(certs) == {str(kept), str(new)})
        assert {(each["cert_ref"], each["cert_role"]) for each in found} == {(str(kept), "ca"), (str(new), "server")}
        assert str(left) not in refs(found)


async def test_where_nothing_is_monitored_nothing_is_watched(tmp_path: Path) -> None:
    put(tmp_path / "a.pem", Authority().issue("a"))
    async with watching(tmp_path, "a.pem", certificate_expiry_monitor={"enabled": False}) as world:
        assert await rows(world) == []


async def test_what_matches_nothing_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    async with watching(tmp_path, "none/*.pem", "empty", "missing.pem"):
        warned = [str(record.__dict__["problem"]) for record in caplog.records if record.message == "configuration"]
        file = tmp_path / "certgauge.yaml"
        assert warned == [f"{file}: watch[{index}]: matches no file" for index in (0, 1)]


def settings_of(directory: Path, *watch: Any) -> Settings:
    write(directory, "certgauge.yaml", configuration(apis=[], certificates={}, watch=[*watch]))
    return read_settings(directory / "certgauge.yaml", {}, ["httptools"])


async def test_changes_come_a_few_hundred_at_a_time(tmp_path: Path) -> None:
    pem = Authority().issue("a").pem
    for number in range(450):
        (tmp_path / f"{number}.pem").write_bytes(pem)
    settings = settings_of(tmp_path, "*.pem")
    batches: list[int] = []
    await Watchlist(lambda: settings, lambda taken, gone: batches.append(len(taken) + len(gone))).start()
    assert sum(batches) == 450
    assert max(batches) <= 200


def followed(directory: Path, *watch: Any, rest: float = 0) -> tuple[Following, list[Observation]]:
    """Everything found and read, at a pace at which everything is due at once."""
    following = Following(Pace(round=1e-9, expansion=0, rest=rest, longest=0, shortest=0))
    following.follow(entries_of(settings_of(directory, *watch)))
    taken: list[Observation] = []
    while not following.has_read_all:
        taken += following.find(1).taken
    return following, taken


def steps(following: Following, holds: Callable[[Changes], bool]) -> Changes:
    """Everything that changes until something holds of it."""
    all_changes, ends_at = Changes(), time.monotonic() + 15
    while not holds(all_changes):
        assert time.monotonic() < ends_at
        changes = following.step(1)
        all_changes.taken += changes.taken
        all_changes.gone += changes.gone
    return all_changes


def age(file: Path) -> None:
    """Let it have been written a minute ago."""
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns - 60 * 10**9))


def test_a_file_is_not_read_before_it_has_looked_the_same_twice(tmp_path: Path) -> None:
    authority = Authority()
    file = put(tmp_path / "a.pem", authority.issue("a"))
    age(file)
    following, _ = followed(tmp_path, "a.pem", rest=0.01)
    for _ in range(5):
        file.write_bytes(authority.issue("half").pem)
        assert not following.step(1)
    whole = authority.issue("whole")
    file.write_bytes(whole.pem)
    while not (changes := following.step(1)):
        pass
    [reading] = changes.taken[0].chain
    assert reading.certificate is not None
    assert reading.certificate.cert_id == whole.cert_id


def test_a_file_that_never_rests_is_read_all_the_same(tmp_path: Path) -> None:
    authority = Authority()
    file = put(tmp_path / "a.pem", authority.issue("a"))
    following, _ = followed(tmp_path, "a.pem", rest=0.001)
    steps = 0
    while not following.step(1):
        file.write_bytes(authority.issue(f"a{'x' * (steps % 7)}").pem)
        steps += 1
        assert steps < 500


def test_what_has_not_changed_is_not_handed_over_again(tmp_path: Path) -> None:
    file = put(tmp_path / "a.pem", Authority().issue("a"))
    following, [first] = followed(tmp_path, "a.pem")
    file.write_bytes(file.read_bytes())
    assert not any(following.step(1) for _ in range(10))
    age(file)
    assert not any(following.step(1) for _ in range(10))
    assert first.chain[0].certificate is not None


def test_an_entry_that_is_only_judged_otherwise_is_not_read_again(tmp_path: Path) -> None:
    put(tmp_path / "a.pem", Authority().issue("a"))
    following, [first] = followed(tmp_path, "*.pem")
    following.follow(entries_of(settings_of(tmp_path, {"files": "*.pem", "warning_threshold_days": 3})))
    changes = following.find(1)
    assert changes.gone == [first]
    [second] = changes.taken
    assert second.chain is first.chain
    assert second.policy is not None
    assert second.policy.warning_threshold == 3 * DAY


def test_a_directory_that_cannot_be_listed_any_more_keeps_what_was_found_in_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    put(tmp_path / "real" / "a.pem", Authority().issue("a"))
    (tmp_path / "w").symlink_to("real")
    following, [first] = followed(tmp_path, "w/*.pem")
    (tmp_path / "w").unlink()
    (tmp_path / "w").symlink_to("w")
    # Both are told as unreadable, each in its own slot.
    told = {first.cert_ref, str(tmp_path / "w")}
    changes = steps(following, lambda changes: {each.cert_ref for each in changes.taken} == told)
    assert changes.gone == [first]
    assert {each.chain[0].invalid for each in changes.taken} == {InvalidReason.UNREADABLE}
    (tmp_path / "w").unlink()
    (tmp_path / "w").symlink_to("real")
    changes = steps(following, lambda changes: len(changes.gone) == 2)
    [again] = changes.taken
    assert again.chain[0].certificate == first.chain[0].certificate
