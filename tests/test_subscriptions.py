"""Which handlers the dispatcher has, as what is served changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from exporter.certcheck.events import EventKind
from exporter.delivery import Handler, Routes
from exporter.dispatcher import Dispatcher
from exporter.planning import Planner
from exporter.settings import read_settings
from exporter.subscriptions import Subscriptions
from exporter.transition import to_start
from tests.served import configuration, definition, served, write

SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Told(Dispatcher):
    """Keeps what it was told to use."""

    def __init__(self) -> None:
        self.handlers: Mapping[str, Handler] = {}
        self.routes: Routes = {}

    async def use(self, handlers: Mapping[str, Handler], routes: Routes) -> None:
        self.handlers, self.routes = handlers, routes


def webhook(name: str = "ops", **more: object) -> dict[str, Any]:
    return {"CertificateExpired": [{"name": name, "webhook": {"url": "https://hooks.example.com/", **more}}]}


class World:
    """A directory whose configuration is used again and again."""

    def __init__(self, directory: Path) -> None:
        self.told = Told()
        self._subscriptions = Subscriptions(self.told)
        self._file = directory / "certgauge.yaml"

    async def use(self, *apis: Mapping[str, Any], **gateway: object) -> dict[str, Handler]:
        write(self._file.parent, self._file.name, {"apis": list(apis), **gateway})
        settings = read_settings(self._file, {}, ["httptools"])
        await self._subscriptions.use(to_start(settings, Planner()).to)
        return dict(self.told.handlers)

    def expired(self) -> dict[str | None, tuple[str, ...]]:
        """Who is told of what has expired."""
        return {api_id: kinds[EventKind.EXPIRED] for api_id, kinds in self.told.routes.items() if kinds}


async def test_a_handler_that_stays_the_same_is_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)
    apis = [definition("a", event_handlers=webhook()), definition("b", event_handlers=webhook(timeout_seconds=3))]
    first = await world.use(*apis)
    again = await world.use(apis[0], definition("b", event_handlers=webhook(timeout_seconds=4)))
    assert first.keys() == again.keys() == {"a/ops", "b/ops"}
    assert first["a/ops"] is again["a/ops"]
    assert first["b/ops"] is not again["b/ops"]


async def test_an_api_that_is_removed_has_its_handlers_until_the_next_change(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = await world.use(definition("a", event_handlers=webhook()), definition("b", event_handlers=webhook()))
    last = await world.use(definition("b", event_handlers=webhook()))
    assert (last, world.expired()) == (first, {"a": ("a/ops",), "b": ("b/ops",)})
    assert (await world.use(definition("b", event_handlers=webhook()))).keys() == {"b/ops"}
    assert world.expired() == {"b": ("b/ops",)}


async def test_a_handler_that_cannot_be_used_any_more_is_named_and_not_there(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "secret").write_text(SECRET)
    api = definition("a", event_handlers=webhook(secret_file="secret"))
    assert (await world.use(api)).keys() == {"a/ops"}
    (tmp_path / "secret").unlink()
    assert (await world.use(api)).keys() == set()
    assert world.expired() == {"a": ("a/ops",)}


async def test_also_if_an_api_that_had_it_is_removed(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "secret").write_text(SECRET)
    handlers = webhook(secret_file="secret")
    assert (await world.use(definition("a"), event_handlers=handlers)).keys() == {"/ops"}
    (tmp_path / "secret").unlink()
    assert (await world.use(event_handlers=handlers)).keys() == set()


async def test_what_cannot_be_used_or_is_disabled_is_logged_at_the_start_and_at_each_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    handlers = webhook("broken", secret_file="none")
    handlers["CertificateExpired"].append({**webhook("off")["CertificateExpired"][0], "disabled": True})
    async with served(tmp_path, configuration(event_handlers=handlers)) as world:
        assert len(problems(caplog)) == 2
        caplog.clear()
        await world.ask("POST", "/reload")
        broken, off = problems(caplog)
    assert "CertificateExpired[0].webhook.secret_file: " in broken
    assert broken.endswith("nothing is sent to 'broken' until that is right")
    assert off.endswith("CertificateExpired[1].disabled: nothing is sent to 'off'")


async def test_what_is_put_by_hand_with_a_handler_that_cannot_be_used_is_loaded_and_that_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    anchors = {"partners": {"cert_file": "none.pem"}}
    config = configuration(certificates=anchors, event_handlers=webhook("broken", ca="partners"))
    async with served(tmp_path, config) as world:
        caplog.clear()
        body = definition("orders", event_handlers=webhook("mine", ca="partners"))
        assert (await world.ask("PUT", "/apis/orders", json=body))[0] == 201
        [mine] = problems(caplog)
    assert mine.endswith("nothing is sent to 'mine' until that is right")


def problems(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(each)["problem"] for each in caplog.records if each.getMessage() == "configuration"]
