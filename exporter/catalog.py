"""What is configured now, by files and by hand, and getting the gateway to serve just that: whole, or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import NoReturn

from exporter.certcheck.expiry import State, days_remaining
from exporter.certcheck.inventory import Entry, entries_of
from exporter.certcheck.ports import Clock
from exporter.certcheck.slot import Role
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.certcheck.text import rfc3339
from exporter.gateway import Gateway
from exporter.handlers import read_handlers
from exporter.plan import ListenerPlan, MonitorPlan
from exporter.planning import Planner
from exporter.problems import ConfigError, Problem
from exporter.settings import Settings, UnreadSettingsError, read_definition, warnings
from exporter.sight import Watched
from exporter.transition import Changes, Serving, Transition, to_delete, to_put, to_reload, to_rotate, to_start

log = logging.getLogger(__name__)


class PartlyRefusedError(ConfigError):
    """A reload was applied, but for what has new certificates that cannot be used: the old ones stay."""

    def __init__(self, problems: Iterable[Problem], changes: Changes) -> None:
        super().__init__(problems)
        self.changes = changes


class Catalog:
    """The APIs that should be served: those of the files, replaced or removed by hand until a reload says otherwise.

    One change at a time. A wrong one raises `ConfigError` and changes nothing.
    """

    def __init__(
        self,
        gateway: Gateway,
        read: Callable[[], Settings],
        use_listeners: Callable[[ListenerPlan], None],
        use_handlers: Callable[[Serving], Awaitable[object]],
        *,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self._gateway = gateway
        self._read = read
        self._use_listeners = use_listeners
        self._use_handlers = use_handlers
        self._planner = Planner()
        self._tally = tally
        self._clock = clock
        self._serving: Serving | None = None
        self._changing = asyncio.Lock()
        self.watched = Watched()
        """What the last reading looked at, successful or not."""
        self.reloaded_at: datetime | None = None
        """The last time that a configuration was taken as it was."""
        self.last_reload_successful = False

    @property
    def settings(self) -> Settings | None:
        """Those that are served; None before the start."""
        return self._serving.settings if self._serving else None

    @property
    def serving(self) -> Serving | None:
        """What is served; None before the start."""
        return self._serving

    async def start(self, settings: Settings) -> None:
        """Load everything, also what has certificates that cannot be used.

        Raises:
            ConfigError: a listener's certificate cannot be used.
        """
        async with self._changing:
            self.watched = settings.watched
            await self._make(await asyncio.to_thread(to_start, settings, self._planner))
            self._succeeded()
            await self._tell()

    async def reload(self) -> Changes:
        """Read the configuration again and serve it.

        Raises:
            ConfigError: it is wrong; nothing has changed, but for certificates that were replaced in their files.
            PartlyRefusedError: some certificates cannot be used; everything else has changed.
        """
        async with self._changing:
            try:
                transition = await self._reread()
            except Exception as exc:  # whatever it is: what is on disk is not what is served
                self.last_reload_successful = False
                self._tally.error(ErrorReason.RELOAD_FAILED)
                for problem in exc.problems if isinstance(exc, ConfigError) else ():
                    log.error("configuration refused; the old one stays", extra={"problem": str(problem)})
                raise
            self._succeeded()
            log.info("configuration reloaded", extra=asdict(transition.changes))
            await self._tell()
            return transition.changes

    async def put(self, api_id: str, body: bytes) -> bool:
        """Load or replace an API by hand; True if it is new. Lasts until `delete`, a reload that defines it, restart.

        Raises:
            ConfigError: the definition is wrong, or its certificates cannot be used.
        """
        defined = await asyncio.to_thread(read_definition, body, api_id)
        async with self._changing:
            now = self._now
            await self._make(await asyncio.to_thread(to_put, now, defined, self._planner))
            found = await asyncio.to_thread(read_handlers, now.settings, [defined])
            _warn(each for each in found.problems if each.file == defined.file)
            return api_id not in now.plans

    async def delete(self, api_id: str) -> bool:
        """Unload an API; returns when its batcher has been awaited. False if there is none."""
        async with self._changing:
            if api_id not in self._now.plans:
                return False
            finishing = await self._make(await asyncio.to_thread(to_delete, self._now, api_id))
        await asyncio.shield(finishing)
        return True

    @property
    def _now(self) -> Serving:
        if self._serving is None:
            raise RuntimeError("not started")
        return self._serving

    async def _reread(self) -> Transition:
        last = self.watched
        # Looked at before it is read, in case the reading does not get so far as to look itself.
        looked = await asyncio.to_thread(last.look)
        self.watched = last = Watched(last.files, last.globs, looked)
        try:
            settings = await asyncio.to_thread(self._read)
            self.watched = last | settings.watched
            transition = await asyncio.to_thread(to_reload, self._now, settings, self._planner)
        except UnreadSettingsError as exc:
            self.watched = last | exc.watched
            await self._rotate(exc)
        except ConfigError as exc:
            await self._rotate(exc)
        self.watched = settings.watched
        await self._renew(transition)
        if transition.refused:
            raise PartlyRefusedError(transition.refused, transition.changes)
        return transition

    async def _rotate(self, exc: ConfigError) -> NoReturn:
        """Follow the certificates of what is served all the same: they expire, whatever is wrong with a new document.

        Raises:
            ConfigError: what was wrong, and what is wrong with the certificates.
        """
        transition = await asyncio.to_thread(to_rotate, self._now, self._planner)
        await self._renew(transition)
        raise ConfigError([*exc.problems, *transition.refused]) from None

    async def _renew(self, transition: Transition) -> None:
        """Make a change that comes from files, and have what was not taken of them announced."""
        await self._make(transition)
        self._gateway.compare(transition.not_taken)
        self._tally.errors[ErrorReason.CERTIFICATE_UNUSABLE] += len(transition.not_taken)

    async def _make(self, transition: Transition) -> asyncio.Task[None]:
        """Change what is served. Returns the task that finishes what no longer is."""
        last, to = self._serving, transition.to
        self._gateway.limit_certificates(to.settings.configuration.certificate_expiry_monitor.max_certificates)
        # Before anything is announced of what is loaded.
        await self._use_handlers(to)
        finishing = await self._gateway.change(transition.load, transition.unload)
        self._serving = to
        # Nothing has waited since the routes have changed: no connection begins with one and not the other.
        if last is None or to.listeners is not last.listeners:
            self._use_listeners(to.listeners)
        if last is None or to.listeners.fingerprint != last.listeners.fingerprint:
            await self._gateway.monitor_own(to.listeners.monitor)
        return finishing

    def _succeeded(self) -> None:
        self.last_reload_successful = True
        self.reloaded_at = self._clock()

    async def _tell(self) -> None:
        """Log what is hardly meant, and each certificate that we serve or trust: what the alerts will say."""
        now, at = self._now, self._clock()
        _warn(await asyncio.to_thread(lambda: list(warnings(now.settings))))
        _warn((await asyncio.to_thread(read_handlers, now.settings, now.defined.values())).problems)
        for level, fields in await asyncio.to_thread(lambda: _anchors(now, at)):
            log.log(level, "certificate in use", extra=fields)


def _warn(problems: Iterable[Problem]) -> None:
    for each in problems:
        log.warning("configuration", extra={"problem": str(each)})


def _anchors(serving: Serving, now: datetime) -> list[tuple[int, dict[str, object]]]:
    """A line for each certificate of roles `server` and `ca`: WARNING if any of its thresholds says so, else DEBUG."""
    monitors = [serving.listeners.monitor, *(plan.monitor for plan in serving.plans.values())]
    lines: dict[tuple[Role, str], tuple[int, dict[str, object]]] = {}
    for monitor in monitors:
        for entry in _served_and_trusted(monitor):
            if (certificate := entry.reading.certificate) is not None:
                alarming = entry.state(now) in {State.EXPIRING, State.EXPIRED}
                level = logging.WARNING if alarming else logging.DEBUG
                fields: dict[str, object] = {
                    "cert_role": entry.slot.role.value,
                    "cert_ref": entry.slot.cert_ref,
                    "cert_name": certificate.cert_name,
                    "expires_at": rfc3339(certificate.not_after),
                    "days_remaining": days_remaining(certificate.not_after, now),
                }
                key = (entry.slot.role, certificate.cert_id)
                lines[key] = max(lines.get(key, (0, fields)), (level, fields), key=lambda line: line[0])
    return list(lines.values())


def _served_and_trusted(monitor: MonitorPlan | None) -> Iterator[Entry]:
    for observation in monitor.observations if monitor else ():
        if monitor is not None and observation.role in {Role.SERVER, Role.CA}:
            yield from entries_of(observation, monitor.policy)
