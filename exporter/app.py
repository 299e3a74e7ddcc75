"""The composition root: everything is built here, in one place, and left in reverse order."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import random

from starlette.types import ASGIApp

from exporter import __version__
from exporter.admin.app import build
from exporter.admin.health import Facts
from exporter.admin.sources import Admin
from exporter.attempts import RetryPolicy
from exporter.catalog import Catalog
from exporter.certcheck.inventory import Inventory
from exporter.certcheck.ports import Clock, EventSink
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.certcheck.usage import Usage
from exporter.dispatcher import Dispatcher
from exporter.durations import Durations
from exporter.following import Pace
from exporter.gateway import Gateway
from exporter.listener import bind, serving, url_of
from exporter.listener_tls import ListenerTls
from exporter.monitor import MonitorPorts
from exporter.plan import ListenerPlan
from exporter.problems import ConfigError, Problem
from exporter.proxy.core import CoreFactory
from exporter.proxy.exchange import Proxy
from exporter.proxy.listening import listening, most_connections
from exporter.settings import Settings
from exporter.sinks import otlp as events
from exporter.sinks.fan_out import FanOut
from exporter.sinks.process_log import ProcessLogSink
from exporter.state.place import IN_MEMORY, Place
from exporter.stores import Stores, shared_cooldowns, shown_of, stores
from exporter.subscriptions import Subscriptions
from exporter.telemetry import otlp
from exporter.telemetry.compat import Compat
from exporter.telemetry.environment import Otlp
from exporter.telemetry.sample import Sampler, Sources
from exporter.telemetry.spans import RequestSpans
from exporter.watch import watch
from exporter.watched_file import path_of
from exporter.watchlist import Watchlist

log = logging.getLogger(__name__)


utc_now: Clock = partial(datetime.now, UTC)
"""The wall clock."""


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that serves."""

    proxy_url: str
    admin_url: str
    catalog: Catalog
    gateway: Gateway

    async def reload(self) -> None:
        """Reload because of a signal or a changed file: what is wrong has been logged and counted."""
        try:
            await self.catalog.reload()
        except ConfigError:
            return
        except Exception:  # a bug must not end the watching, nor the process
            log.exception("reload failed")


class _Listeners:
    """The TLS of both listeners, and what their handshakes are noticed by."""

    def __init__(self, gateway: Gateway, tally: Tally) -> None:
        self._plan: ListenerPlan | None = None

        def failed() -> None:
            tally.error(ErrorReason.CLIENT_HANDSHAKE_FAILED)

        self.proxy = ListenerTls(
            lambda: gateway.observe_if_any(self._plan.proxy_observation if self._plan else None), failed
        )
        self.admin = ListenerTls(
            lambda: gateway.observe_if_any(self._plan.admin_observation if self._plan else None), failed
        )

    def usage(self) -> Usage | None:
        """Of the certificate that the proxy's connections begin with now."""
        observation = self._plan.proxy_observation if self._plan else None
        return observation.usage if observation else None

    def use(self, plan: ListenerPlan) -> None:
        self._plan = plan
        for tls, context in ((self.proxy, plan.proxy), (self.admin, plan.admin)):
            if context is not None:
                tls.use(context)


@dataclass(slots=True)
class _Parts:
    """Everything that is built before anything runs."""

    settings: Settings
    state: str
    clock: Clock
    tally: Tally
    durations: Durations
    inventory: Inventory
    stores: Stores
    dispatcher: Dispatcher
    gateway: Gateway
    listeners: _Listeners
    catalog: Catalog
    exporters: otlp.Exporters
    sampler: Sampler
    not_ready: str | None = "loading"
    """Why no traffic may come; None: it may."""

    def health(self) -> Facts:
        return Facts(
            self.clock(),
            self.inventory.entries(),
            self.state,
            self.stores.failing(),
            [(status.signal, status.last_successful) for status in self.exporters.statuses],
            self.catalog.last_reload_successful,
            self.catalog.reloaded_at,
        )

    def administration(self) -> ASGIApp:
        return build(
            Admin(
                self.catalog,
                self.gateway,
                self.inventory,
                self.sampler,
                self.clock,
                token=lambda: (self.catalog.settings or self.settings).token,
                not_ready=lambda: self.not_ready,
                health=self.health,
                outbox=self.stores.outbox,
                dispatcher=self.dispatcher,
            )
        )

    def proxy(self) -> Proxy:
        traces = self.exporters.traces
        spans = RequestSpans(traces.get_tracer("certgauge", __version__)) if traces else None
        usage = self.listeners.usage
        return Proxy(self.gateway, self.durations, self.clock, spans, most_connections(), usage=usage)


def _build(
    settings: Settings,
    read: Callable[[], Settings],
    core: CoreFactory,
    *,
    sinks: Sequence[EventSink],
    clock: Clock,
    tally: Tally,
    stores: Stores,
    state: str,
) -> _Parts:
    durations, exporters = Durations(), otlp.Exporters()
    inventory = Inventory(tally, settings.configuration.certificate_expiry_monitor.max_certificates)
    logs = FanOut([ProcessLogSink(), *sinks])
    policy = RetryPolicy(random)
    dispatcher = Dispatcher(stores.outbox, stores.cooldowns, logs, tally=tally, clock=clock, policy=policy)
    ports = MonitorPorts(clock, stores.cooldowns, dispatcher, tally, inventory)
    gateway = Gateway(core, ports, durations, settings.configuration.proxy.drain_timeout_seconds)
    listeners = _Listeners(gateway, tally)
    catalog = Catalog(gateway, read, listeners.use, Subscriptions(dispatcher).use, tally=tally, clock=clock)

    def in_force() -> Settings:
        return catalog.settings or settings

    sources = Sources(
        inventory,
        tally,
        durations,
        clock,
        batchers=lambda: gateway.batchers,
        export_failures=exporters.failures,
        last_reload=lambda: (catalog.last_reload_successful, catalog.reloaded_at),
        pending=dispatcher.pending,
        foreign=Compat(
            lambda: dict.fromkeys(in_force().configuration.compat_metrics), lambda ref: path_of(in_force(), ref)
        ).families,
    )
    return _Parts(
        settings,
        state,
        clock,
        tally,
        durations,
        inventory,
        stores,
        dispatcher,
        gateway,
        listeners,
        catalog,
        exporters,
        Sampler(sources),
    )


@asynccontextmanager
async def running(
    settings: Settings,
    read: Callable[[], Settings],
    *,
    core: CoreFactory,
    telemetry: Otlp,
    sinks: Sequence[EventSink] = (),
    clock: Clock = utc_now,
    pace: Pace | None = None,
    place: Place = IN_MEMORY,
) -> AsyncIterator[Running]:
    """Serve a configuration; leaving drains, stops the batchers, flushes.

    `read` reads the configuration again, for a reload. `sinks` get every event, besides the log. `pace` is how fast
    watched files are followed; `place` is where events and cooldowns are kept.

    Raises:
        ConfigError: an address cannot be bound, or a listener's certificate cannot be used.
    """
    proxy, admin = settings.configuration.proxy, settings.configuration.admin
    tally = Tally()
    async with AsyncExitStack() as stack:
        proxy_socket = stack.enter_context(_bound(proxy.listen, "proxy.listen", settings))
        admin_socket = stack.enter_context(_bound(admin.listen, "admin.listen", settings))
        kept = await stack.enter_async_context(stores(place, shared_cooldowns(settings), clock, tally))
        parts = _build(
            settings, read, core, sinks=sinks, clock=clock, tally=tally, stores=kept, state=shown_of(settings, place)
        )
        stack.push_async_callback(parts.exporters.close)
        # Stays over a restart, where the port does; what a scrape of it would be called.
        instance = f"{socket.gethostname()}:{admin_socket.getsockname()[1]}"
        parts.exporters.start(telemetry, parts.sampler.sample, instance)
        if parts.exporters.events is not None:
            parts.dispatcher.tell_all(events.NAME, events.OtlpHandler(parts.exporters.events.export))
        await stack.enter_async_context(parts.dispatcher)
        stack.callback(parts.exporters.begin_closing)
        await stack.enter_async_context(parts.gateway)
        admin_tls = parts.listeners.admin.context if admin.tls else None
        await stack.enter_async_context(serving(parts.administration(), admin_socket, admin_tls, 1))
        await parts.catalog.start(settings)
        watchlist = Watchlist(lambda: parts.catalog.settings, parts.gateway.exchange_own, pace)
        await watchlist.start()
        proxy_tls = parts.listeners.proxy.context if proxy.tls else None
        await stack.enter_async_context(listening(parts.proxy(), proxy_socket, proxy_tls, proxy.drain_timeout_seconds))
        urls = url_of(proxy_socket, tls=proxy.tls is not None), url_of(admin_socket, tls=admin.tls is not None)
        serves = Running(*urls, parts.catalog, parts.gateway)
        await stack.enter_async_context(_watching(serves, watchlist))
        parts.not_ready = None
        log.info("ready", extra={"proxy": urls[0], "admin": urls[1], "apis": len(parts.gateway.apis)})
        try:
            yield serves
        finally:
            parts.not_ready = "draining"
            log.info("stopping")
            # Before anything is unloaded, which ends its series.
            await asyncio.to_thread(parts.exporters.sample_last)


@asynccontextmanager
async def _watching(serves: Running, watchlist: Watchlist) -> AsyncIterator[None]:
    stop = asyncio.Event()

    group = asyncio.TaskGroup()
    await group.__aenter__()
    group.create_task(watch(lambda: serves.catalog.watched, serves.reload, stop), name="watch")
    group.create_task(watchlist.run(stop), name="watchlist")
    try:
        yield
    finally:
        stop.set()
        # Without the block's exception: that stays what it is, and is not put into a group.
        await group.__aexit__(None, None, None)


@contextmanager
def _bound(listen: str, path: str, settings: Settings) -> Iterator[socket.socket]:
    try:
        bound = bind(listen)
    except OSError as exc:
        raise ConfigError([Problem(str(settings.file), path, f"cannot listen on {listen}: {exc.strerror}")]) from None
    with bound:
        yield bound
