"""The composition root: everything is built here, in one place, and left in reverse order."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.routing import Route

from exporter import __version__
from exporter.admin.app import Admin, build
from exporter.admin.health import Facts
from exporter.catalog import Catalog
from exporter.certcheck.cooldown import FailOpenCooldowns, MemoryCooldowns
from exporter.certcheck.inventory import Inventory
from exporter.certcheck.ports import Clock, EventSink
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.gateway import Gateway
from exporter.listener import ListenerTls, bind, serving, url_of
from exporter.monitor import MonitorPorts
from exporter.plan import ListenerPlan
from exporter.problems import ConfigError, Problem
from exporter.proxy.core import CoreFactory
from exporter.proxy.endpoint import ProxyEndpoint
from exporter.requests import Durations
from exporter.settings import Settings
from exporter.sinks.fan_out import FanOut
from exporter.sinks.otel import OtelLogSink
from exporter.sinks.process_log import ProcessLogSink
from exporter.telemetry import otlp
from exporter.telemetry.environment import Otlp
from exporter.telemetry.sample import Sampler, Sources
from exporter.telemetry.spans import RequestSpans
from exporter.watch import Watched, watch

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


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

    def __init__(self, gateway: Gateway) -> None:
        self._plan: ListenerPlan | None = None
        self.proxy = ListenerTls(lambda: gateway.observe_if_any(self._plan.proxy_observation if self._plan else None))
        self.admin = ListenerTls(lambda: gateway.observe_if_any(self._plan.admin_observation if self._plan else None))

    def use(self, plan: ListenerPlan) -> None:
        self._plan = plan
        for tls, context in ((self.proxy, plan.proxy), (self.admin, plan.admin)):
            if context is not None:
                tls.use(context)


class _Phase:
    """Whether traffic may come."""

    def __init__(self) -> None:
        self.not_ready: str | None = "loading"


@asynccontextmanager
async def running(
    settings: Settings,
    read: Callable[[], Settings],
    *,
    cores: Mapping[str, CoreFactory],
    telemetry: Otlp,
    sinks: Sequence[EventSink] = (),
    clock: Clock = utc_now,
) -> AsyncIterator[Running]:
    """Serve a configuration; leaving drains, stops the batchers, flushes.

    `read` reads the configuration again, for a reload. `sinks` get every event, besides the log.

    Raises:
        ConfigError: an address cannot be bound, or a listener's certificate cannot be used.
    """
    proxy, admin = settings.configuration.proxy, settings.configuration.admin
    tally, durations = Tally(), Durations()
    inventory = Inventory(tally, settings.configuration.certificate_expiry_monitor.max_certificates)
    events: list[EventSink] = [ProcessLogSink(), *sinks]
    cooldowns = FailOpenCooldowns(MemoryCooldowns(clock), clock, tally)
    ports = MonitorPorts(clock, cooldowns, FanOut(events), tally, inventory)
    gateway = Gateway(cores[proxy.core], ports, durations, proxy.drain_timeout_seconds)
    listeners, phase = _Listeners(gateway), _Phase()
    catalog = Catalog(gateway, read, listeners.use, tally=tally, clock=clock)

    def last_reload() -> tuple[bool, datetime | None]:
        return catalog.last_reload_successful, catalog.reloaded_at

    async with AsyncExitStack() as stack:
        proxy_socket = stack.enter_context(_bound(proxy.listen, "proxy.listen", settings))
        admin_socket = stack.enter_context(_bound(admin.listen, "admin.listen", settings))
        exporters = otlp.Exporters()
        sampler = Sampler(
            Sources(inventory, tally, durations, clock, lambda: gateway.batchers, exporters.failures, last_reload)
        )
        exporters.start(telemetry, sampler.sample)
        stack.push_async_callback(exporters.close)
        if exporters.logs is not None:
            events.append(OtelLogSink(exporters.logs.get_logger("certgauge", __version__)))
        await stack.enter_async_context(gateway)
        administration = Admin(
            catalog=catalog,
            gateway=gateway,
            inventory=inventory,
            sampler=sampler,
            clock=clock,
            token=lambda: (catalog.settings or settings).token,
            not_ready=lambda: phase.not_ready,
            health=lambda: Facts(
                clock(),
                inventory.entries(),
                settings.configuration.state,
                tally.errors[ErrorReason.COOLDOWN_STORE_FAILED],
                [(status.signal, status.last_successful) for status in exporters.statuses],
                *last_reload(),
            ),
        )
        admin_tls = listeners.admin.context if admin.tls else None
        await stack.enter_async_context(serving(build(administration), admin_socket, admin_tls, 1))
        await catalog.start(settings)
        spans = RequestSpans(exporters.traces.get_tracer("certgauge", __version__)) if exporters.traces else None
        endpoint = Starlette(routes=[Route("/{path:path}", ProxyEndpoint(gateway, durations, spans))])
        proxy_tls = listeners.proxy.context if proxy.tls else None
        await stack.enter_async_context(serving(endpoint, proxy_socket, proxy_tls, proxy.drain_timeout_seconds))
        serves = Running(
            url_of(proxy_socket, tls=proxy.tls is not None),
            url_of(admin_socket, tls=admin.tls is not None),
            catalog,
            gateway,
        )
        await stack.enter_async_context(_watching(serves, settings))
        phase.not_ready = None
        log.info("ready", extra={"proxy": serves.proxy_url, "admin": serves.admin_url, "apis": len(gateway.apis)})
        try:
            yield serves
        finally:
            phase.not_ready = "draining"
            log.info("stopping")
            # Before anything is unloaded, which ends its series.
            await asyncio.to_thread(exporters.sample_last)


@asynccontextmanager
async def _watching(serves: Running, settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()

    def watched() -> Watched:
        now = serves.catalog.settings or settings
        return Watched(now.watched(), now.globs)

    group = asyncio.TaskGroup()
    await group.__aenter__()
    group.create_task(watch(watched, settings.sight, serves.reload, stop), name="watch")
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
        raise ConfigError(
            [Problem(str(settings.files[0]), path, f"cannot listen on {listen}: {exc.strerror}")]
        ) from None
    with bound:
        yield bound
