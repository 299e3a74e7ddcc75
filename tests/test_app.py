"""The whole process in one loop: listeners with TLS, readiness, shutdown, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from exporter.problems import ConfigError
from tests.authority import DAY, Authority, Issued
from tests.served import WITH_CERTIFICATE, Served, configuration, definition, plain_upstream, served, write


def with_tls(directory: Path, left: int = 100) -> tuple[Authority, dict[str, Any]]:
    """A configuration whose listeners serve TLS; its CA is written to `ca.pem`."""
    authority = Authority()
    authority.issue("gateway", left * DAY, "127.0.0.1").write(directory, "gateway")
    (directory / "ca.pem").write_bytes(authority.root.pem)
    certificates = {
        "gateway": {"cert_file": "gateway.pem", "key_file": "gateway.key"},
        "partners": {"cert_file": "ca.pem"},
    }
    config = configuration(
        proxy={"listen": "127.0.0.1:0", "tls": {"certificate": "gateway", "client_ca": "partners"}},
        admin={"listen": "127.0.0.1:0", "tls": {"certificate": "gateway"}},
        certificates=certificates,
    )
    return authority, config


async def presented(url: str, authority: Authority) -> str:
    """The serial number of the certificate that a listener presents in a verified handshake."""
    context = ssl.create_default_context(cadata=authority.root.pem.decode())
    port = int(url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    await writer.wait_closed()
    return format(int(certificate["serialNumber"], 16), "x")


def serial(issued: Issued) -> str:
    return format(issued.certificate.serial_number, "x")


def trusting(world: Served, authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.root.pem.decode())


async def test_listeners_serve_tls_and_their_certificates_are_monitored_without_an_api(tmp_path: Path) -> None:
    authority, config = with_tls(tmp_path)
    async with plain_upstream() as target:
        write(tmp_path, "api-orders.yaml", definition("orders", target))
        async with served(tmp_path, config) as world:
            context = trusting(world, authority)
            async with world.client.get(world.running.proxy_url + "/orders/x", ssl=context) as response:
                assert await response.text() == "hello"
            _, answer = await world.get("/certs", ssl=context)
            roles = [(cert["cert_role"], cert["cert_ref"], "api_id" in cert) for cert in answer["certs"]]
            assert roles == [("server", "gateway", False), ("ca", "partners", False)]
            assert answer["certs"][0]["last_observed_at"]
            assert world.running.gateway.batchers == 1


async def test_a_renewed_listener_certificate_is_served_to_the_next_connection(tmp_path: Path) -> None:
    authority, config = with_tls(tmp_path)
    async with served(tmp_path, config) as world:
        context = trusting(world, authority)
        renewed = authority.issue("gateway", 300 * DAY, "127.0.0.1")
        assert await presented(world.running.proxy_url, authority) != serial(renewed)
        renewed.write(tmp_path, "gateway")
        assert (await world.ask("POST", "/reload", ssl=context))[0] == 200
        assert await presented(world.running.proxy_url, authority) == serial(renewed)
        assert await presented(world.running.admin_url, authority) == serial(renewed)


async def test_a_wrong_pair_for_a_listener_is_refused_and_the_old_one_goes_on(tmp_path: Path) -> None:
    authority, config = with_tls(tmp_path)
    async with served(tmp_path, config) as world:
        before = await presented(world.running.proxy_url, authority)
        (tmp_path / "gateway.key").write_bytes(authority.issue("other").key_pem())
        status, problem = await world.ask("POST", "/reload", ssl=trusting(world, authority))
        assert (status, problem["errors"][0]["path"]) == (422, "certificates.gateway")
        assert await presented(world.running.proxy_url, authority) == before


async def test_without_a_usable_listener_certificate_there_is_no_start(tmp_path: Path) -> None:
    _, config = with_tls(tmp_path)
    (tmp_path / "gateway.key").write_text("nothing")
    with pytest.raises(ConfigError, match=r"certificates\.gateway: .*gateway\.key: has no private key"):
        async with served(tmp_path, config):
            pass


async def test_an_address_that_is_taken_is_a_configuration_error(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        port = world.running.proxy_url.rpartition(":")[2]
        config = configuration(proxy={"listen": f"127.0.0.1:{port}"})
        with pytest.raises(ConfigError, match=r"proxy\.listen: cannot listen on .*: Address already in use"):
            async with served(tmp_path, config):
                pass


@pytest.mark.parametrize(("left", "level"), [(100, "DEBUG"), (10, "WARNING"), (-1, "WARNING")])
async def test_server_certificates_are_logged_at_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, left: int, level: str
) -> None:
    _, config = with_tls(tmp_path, left)
    caplog.set_level(logging.DEBUG)
    async with served(tmp_path, config):
        pass
    lines = [record for record in caplog.records if record.message == "certificate in use"]
    levels = {vars(record)["cert_role"]: record.levelname for record in lines}
    assert levels == {"server": level, "ca": "DEBUG"}
    assert len(lines) == 2


async def test_it_is_ready_only_while_it_serves(tmp_path: Path) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    async with served(tmp_path) as world:
        assert await world.get("/ready") == (200, "ok\n")


async def test_an_unusable_pair_leaves_one_api_at_503_until_its_file_changes(tmp_path: Path) -> None:
    write(tmp_path, "api-orders.yaml", definition("orders", **WITH_CERTIFICATE))
    async with plain_upstream() as target:
        write(tmp_path, "api-plain.yaml", definition("plain", target))
        pair = Authority().issue("orders", 100 * DAY)
        (tmp_path / "orders.pem").write_bytes(pair.pem)
        (tmp_path / "orders.key").write_bytes(Authority().issue("other").key_pem())
        async with served(tmp_path) as world:
            status, body = await world.proxied("/orders/x")
            assert (status, '"code": "certificate_unusable"' in body) == (503, True)
            assert await world.proxied("/plain/x") == (200, "hello")
            [cert] = (await world.get("/certs"))[1]["certs"]
            assert (cert["state"], cert["reason"], cert["cert_id"]) == ("unreadable", "key_mismatch", pair.cert_id)
            (tmp_path / "orders.key").write_bytes(pair.key_pem())
            await world.ask("POST", "/reload")
            # Now it gets as far as looking for a host that does not exist.
            assert (await world.proxied("/orders/x"))[0] == 502


def _left() -> tuple[int, int, int]:
    gc.collect()
    return len(asyncio.all_tasks()), threading.active_count(), len(os.listdir("/proc/self/fd"))


async def test_starting_and_stopping_leaves_nothing_behind(tmp_path: Path) -> None:
    authority, config = with_tls(tmp_path)
    config["apis"] = [definition(f"api-{number}") for number in range(20)]

    async def once() -> None:
        async with served(tmp_path, config) as world:
            await world.get("/metrics", ssl=trusting(world, authority))

    await once()  # opens what the process keeps: the executor's threads
    await asyncio.to_thread(int)
    before = _left()
    for _ in range(3):
        await once()
    tasks, threads, descriptors = _left()
    assert (tasks, descriptors) == (before[0], before[2])
    # The default executor may add workers up to its fixed number, and no others are left.
    assert all(thread.name.startswith(("MainThread", "asyncio_")) for thread in threading.enumerate()), threads
