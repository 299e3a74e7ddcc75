"""Reload: by POST, by a changed file however it is replaced; changed APIs only, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.sight import Sight, Watched
from exporter.watch import watch
from tests.authority import DAY, Authority, Issued
from tests.served import WITH_CERTIFICATE, Served, configuration, definition, plain_upstream, served, write

SOON, RENEWED = "CertificateExpiringSoon", "CertificateRenewed"


async def events(world: Served, count: int) -> list[str]:
    async with asyncio.timeout(15):
        while len(world.sink.events) < count:
            world.sink.arrived.clear()
            await world.sink.arrived.wait()
    return world.sink.kinds


async def test_a_reload_tells_what_it_added_changed_and_removed(tmp_path: Path) -> None:
    write(tmp_path, "api-a.yaml", definition("a"))
    write(tmp_path, "api-b.yaml", definition("b"))
    write(tmp_path, "api-c.yaml", definition("c"))
    async with served(tmp_path) as world:
        same = world.running.gateway.apis["c"]
        write(tmp_path, "api-a.yaml", definition("a", strip_listen_path=False))
        (tmp_path / "api-b.yaml").unlink()
        write(tmp_path, "api-d.yaml", definition("d"))
        assert await world.ask("POST", "/reload") == (200, {"added": ["d"], "changed": ["a"], "removed": ["b"]})
        assert world.running.gateway.apis["c"] is same
        assert await world.ask("POST", "/reload") == (200, {"added": [], "changed": [], "removed": []})


async def test_changed_certificate_bytes_are_a_change(tmp_path: Path) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    async with served(tmp_path) as world:
        issued = world.authority.issue("orders", 50 * DAY)
        issued.write(tmp_path, "orders")
        _, changes = await world.ask("POST", "/reload")
        assert changes["changed"] in (["orders"], [])  # [] where the watcher was first
        _, certs = await world.get("/certs")
        assert [cert["cert_id"] for cert in certs["certs"]] == [issued.cert_id]


async def test_a_renewed_file_takes_over_its_slot_and_the_renewal_is_announced(tmp_path: Path) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    old = Authority().issue("orders", 10 * DAY)
    old.write(tmp_path, "orders")
    async with served(tmp_path) as world:
        assert await events(world, 1) == [SOON]
        new = world.authority.issue("orders", 300 * DAY)
        new.write(tmp_path, "orders")
        await world.ask("POST", "/reload")
        assert await events(world, 2) == [SOON, RENEWED]
        assert world.sink.events[1].payload()["previous_cert_id"] == old.cert_id
        [series] = await world.metric("certificate_days_remaining")
        assert 299 < float(series.rpartition(" ")[2]) <= 300


def in_place(directory: Path, issued: Issued) -> None:
    issued.write(directory, "orders")


def by_rename(directory: Path, issued: Issued) -> None:
    for name, content in (("orders.key", issued.key_pem()), ("orders.pem", issued.pem)):
        (directory / f"{name}.new").write_bytes(content)
        (directory / f"{name}.new").rename(directory / name)


def by_data_symlink(directory: Path, issued: Issued) -> None:
    """As Kubernetes swaps a mounted secret: `..data` is re-pointed, the files' own symlinks stay."""
    fresh = directory / f"..{issued.cert_id[:8]}"
    fresh.mkdir()
    issued.write(fresh, "orders")
    (directory / "..data.new").symlink_to(fresh.name)
    (directory / "..data.new").rename(directory / "..data")


@pytest.mark.parametrize("replace", [in_place, by_rename, by_data_symlink])
async def test_a_changed_file_is_noticed_however_it_was_replaced(
    tmp_path: Path, replace: Callable[[Path, Issued], None]
) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    first = Authority().issue("orders", 10 * DAY)
    if replace is by_data_symlink:
        by_data_symlink(tmp_path, first)
        for name in ("orders.pem", "orders.key"):
            (tmp_path / name).symlink_to(f"..data/{name}")
    else:
        first.write(tmp_path, "orders")
    async with served(tmp_path) as world:
        await events(world, 1)
        replace(tmp_path, world.authority.issue("orders", 300 * DAY))
        assert await events(world, 2) == [SOON, RENEWED]


async def test_a_new_definition_file_is_noticed(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        Authority().issue("late", 10 * DAY).write(tmp_path, "orders")
        write(tmp_path, "api-late.yaml", definition("late", **WITH_CERTIFICATE))
        assert await events(world, 1) == [SOON]
        assert world.sink.events[0].slot.api_id == "late"


async def test_a_wrong_configuration_changes_nothing_and_is_reported(tmp_path: Path) -> None:
    async with plain_upstream() as target:
        write(tmp_path, "api-orders.yaml", definition("orders", target))
        async with served(tmp_path) as world:
            write(tmp_path, "api-new.yaml", definition("new", target))
            write(tmp_path, "api-orders.yaml", definition("orders", "ftp://nowhere/"))
            status, problem = await world.ask("POST", "/reload")
            assert status == 422
            message = "must begin with https:// or http://"
            file = str(tmp_path / "api-orders.yaml")
            assert problem["errors"] == [{"file": file, "path": "target_url", "message": message}]
            assert await world.proxied("/orders/x") == (200, "hello")
            assert (await world.proxied("/new/x"))[0] == 404
            assert await world.metric("certgauge_config_last_reload_successful") == [
                "certgauge_config_last_reload_successful 0"
            ]
            write(tmp_path, "api-orders.yaml", definition("orders", target))
            assert (await world.ask("POST", "/reload"))[0] == 200
            assert (await world.proxied("/new/x"))[0] == 200
            assert await world.metric("certgauge_config_last_reload_successful") == [
                "certgauge_config_last_reload_successful 1"
            ]


async def test_an_api_whose_new_certificate_is_unusable_keeps_its_old_generation_and_the_others_move_on(
    tmp_path: Path,
) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    write(tmp_path, "api-billing.yaml", definition("billing"))
    async with served(tmp_path) as world:
        [before] = (await world.get("/certs"))[1]["certs"]
        (tmp_path / "orders.key").write_bytes(world.authority.issue("other").key_pem())
        write(tmp_path, "api-billing.yaml", definition("billing", strip_listen_path=False))
        # Whether this reload or the watcher's is first, the outcome is the same.
        status, problem = await world.ask("POST", "/reload")
        assert status == 422
        assert [error["file"] for error in problem["errors"]] == [str(tmp_path / "api-orders.yaml")]
        assert "is not the key of" in problem["errors"][0]["message"]
        assert before["file_in_use"] is True
        assert (await world.get("/certs"))[1]["certs"] == [{**before, "file_in_use": False}]
        assert world.running.gateway.apis["orders"].plan.unusable is None
        assert (await world.get("/apis/billing"))[1]["strip_listen_path"] is False


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("proxy.listen", {"proxy": {"listen": "127.0.0.1:1"}}),
        ("admin.listen", {"admin": {"listen": "127.0.0.2:0"}}),
        ("proxy.drain_timeout_seconds", {"proxy": {"listen": "127.0.0.1:0", "drain_timeout_seconds": 3}}),
    ],
)
async def test_what_needs_a_restart_is_refused_by_a_reload(tmp_path: Path, path: str, change: dict[str, Any]) -> None:
    async with served(tmp_path) as world:
        write(tmp_path, "certgauge.yaml", configuration(**change))
        status, problem = await world.ask("POST", "/reload")
        assert status == 422
        assert {"file": str(tmp_path / "certgauge.yaml"), "path": path} == {
            key: problem["errors"][0][key] for key in ("file", "path")
        }
        assert problem["errors"][0]["message"] == "cannot be changed by a reload; restart certgauge"


async def test_a_reload_takes_a_new_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    config = configuration(admin={"listen": "127.0.0.1:0", "token_file": "token"})
    async with served(tmp_path, config) as world:
        (tmp_path / "token").write_text("second\n")
        old, new = {"Authorization": "Bearer first"}, {"Authorization": "Bearer second"}
        async with asyncio.timeout(15):
            while (await world.get("/certs", headers=new))[0] != 200:
                await world.ask("POST", "/reload", headers=old)
        assert (await world.get("/certs", headers=old))[0] == 401


async def test_a_file_that_vanishes_between_two_looks_is_no_failure_of_the_watcher(tmp_path: Path) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    async with served(tmp_path) as world:
        (tmp_path / "orders.key").unlink()
        status, problem = await world.ask("POST", "/reload")
        assert status == 422
        assert problem["errors"][0]["message"].endswith("orders.key: no such file")


async def test_two_apis_never_share_a_listen_path_though_one_keeps_its_old_generation(tmp_path: Path) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", listen_path="/a/", **WITH_CERTIFICATE))
    write(tmp_path, "api-billing.yaml", definition("billing", listen_path="/b/"))
    async with served(tmp_path) as world:
        before = world.running.gateway.apis
        (tmp_path / "orders.key").write_text("nothing")
        write(tmp_path, "api-orders.yaml", definition("orders", listen_path="/b/", **WITH_CERTIFICATE))
        write(tmp_path, "api-billing.yaml", definition("billing", listen_path="/a/"))
        status, problem = await world.ask("POST", "/reload")
        assert status == 422
        assert any("'/a/' is taken already" in error["message"] for error in problem["errors"])
        assert world.running.gateway.apis == before


async def test_a_definition_put_by_hand_is_what_others_are_compared_with(tmp_path: Path) -> None:
    write(tmp_path, "api-a.yaml", definition("a"))
    async with served(tmp_path) as world:
        assert (await world.ask("PUT", "/apis/a", json=definition("a", listen_path="/hand/")))[0] == 200
        assert (await world.ask("PUT", "/apis/z", json=definition("z", listen_path="/hand/")))[0] == 422
        assert (await world.ask("PUT", "/apis/z", json=definition("z", listen_path="/a/")))[0] == 201


async def test_the_correction_of_a_refused_configuration_is_noticed(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        write(tmp_path, "late.yaml", "api_id: [")
        write(tmp_path, "certgauge.yaml", configuration(apis=["late.yaml"]))
        assert (await world.ask("POST", "/reload"))[0] == 422
        write(tmp_path, "late.yaml", definition("late"))
        async with asyncio.timeout(15):
            while (await world.get("/apis/late"))[0] != 200:
                pass


class Scripted(Watched):
    """Looks as it is told, one time after the other."""

    def __init__(self, *looks: str) -> None:
        super().__init__(sight={"file": "old"})
        object.__setattr__(self, "looks", iter(looks))

    def parts(self) -> Iterator[Sight]:
        yield {"file": next(self.looks)}  # type: ignore[attr-defined]


async def test_a_file_is_read_when_it_has_come_to_rest() -> None:
    stop, watched = asyncio.Event(), Scripted("old", "half", "more", "whole", "whole", "too late")
    seen: list[str] = []

    async def changed() -> None:
        seen.append(watched.look()["file"] or "")
        stop.set()

    async with asyncio.timeout(15):
        await watch(lambda: watched, changed, stop)
    # Five looks were enough, and none was spared.
    assert seen == ["too late"]
