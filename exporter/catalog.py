"""What is configured now, by files and by hand, and getting the gateway to serve just that: whole, or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from exporter.certcheck.certificate import Reading
from exporter.certcheck.events import rfc3339
from exporter.certcheck.expiry import ExpiryPolicy, State, days_remaining, judge
from exporter.certcheck.ports import Clock
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.tally import ErrorReason, Tally
from exporter.gateway import Gateway
from exporter.plan import ApiPlan, ListenerPlan
from exporter.planning import Planner
from exporter.problems import ConfigError, Problem
from exporter.settings import Defined, Settings, definition_problems, read_definition, warnings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """The `api_id`s that a reload touched, each sorted."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class PartlyRefusedError(ConfigError):
    """A reload was applied, but for APIs whose new certificates cannot be used: their old generations stay."""

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
        *,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self._gateway = gateway
        self._read = read
        self._use_listeners = use_listeners
        self._planner = Planner()
        self._tally = tally
        self._clock = clock
        self._by_hand: dict[str, Defined] = {}
        self._listeners: ListenerPlan | None = None
        self._changing = asyncio.Lock()
        self.settings: Settings | None = None
        self.reloaded_at: datetime | None = None
        """The last time that a configuration was taken."""
        self.last_reload_successful = False
        self.problems: tuple[Problem, ...] = ()
        """Of the last reload, if it failed."""

    async def start(self, settings: Settings) -> None:
        """Load everything, also what has certificates that cannot be used.

        Raises:
            ConfigError: a listener's certificate cannot be used.
        """
        async with self._changing:
            await self._use(settings, await asyncio.to_thread(self._planner.listeners, settings))
            plans = await asyncio.to_thread(self._planner.apis, settings, [each.api for each in settings.apis])
            await self._gateway.change(load=plans)
            self._succeeded(settings)

    async def reload(self) -> Changes:
        """Read the configuration again and serve it.

        Raises:
            ConfigError: it is wrong; nothing has changed.
            PartlyRefusedError: some certificates cannot be used; everything else has changed.
        """
        async with self._changing:
            try:
                changes = await self._reload()
            except ConfigError as exc:
                self.last_reload_successful = False
                self.problems = exc.problems
                self._tally.error(ErrorReason.RELOAD_FAILED)
                for problem in exc.problems:
                    log.error("configuration refused; the old one stays", extra={"problem": str(problem)})
                raise
            log.info("configuration reloaded", extra=asdict(changes))
            return changes

    async def put(self, api_id: str, body: bytes) -> bool:
        """Load or replace an API by hand; True if it is new. Lasts until `delete`, a reload that defines it, restart.

        Raises:
            ConfigError: the definition is wrong, or its certificates cannot be used.
        """
        async with self._changing:
            defined = await asyncio.to_thread(read_definition, body, api_id)
            others = [each for each in self._served() if each.api.api_id != api_id]
            problems = definition_problems(self._now.configuration, [*others, defined])
            if problems:
                raise ConfigError(problems)
            [plan] = await asyncio.to_thread(self._planner.apis, self._now, [defined.api])
            if plan.unusable is not None:
                raise ConfigError([defined.problem((), plan.unusable)])
            created = api_id not in self._gateway.apis
            await self._gateway.change(load=[plan])
            self._by_hand[api_id] = defined
            return created

    async def delete(self, api_id: str) -> bool:
        """Unload an API; returns when its batcher has been awaited. False if there is none."""
        async with self._changing:
            if api_id not in self._gateway.apis:
                return False
            self._by_hand.pop(api_id, None)
            finishing = await self._gateway.change(unload=[api_id])
        await asyncio.shield(finishing)
        return True

    @property
    def _now(self) -> Settings:
        if self.settings is None:
            raise RuntimeError("not started")
        return self.settings

    def _served(self) -> list[Defined]:
        by_id = {each.api.api_id: each for each in self._now.apis} | self._by_hand
        return [each for api_id, each in by_id.items() if api_id in self._gateway.apis]

    def _defined(self, settings: Settings) -> list[Defined]:
        """What the files define, and what was put by hand and no file defines."""
        in_files = {each.api.api_id for each in settings.apis}
        return [*settings.apis, *(each for api_id, each in self._by_hand.items() if api_id not in in_files)]

    async def _reload(self) -> Changes:
        settings = await asyncio.to_thread(self._read)
        defined = self._defined(settings)
        problems = [*_needs_restart(self._now, settings), *definition_problems(settings.configuration, defined)]
        if problems:
            raise ConfigError(problems)
        listeners = await asyncio.to_thread(self._planner.listeners, settings)
        plans = await asyncio.to_thread(self._planner.apis, settings, [each.api for each in defined])
        loaded = {api_id: api.plan for api_id, api in self._gateway.apis.items()}
        refused = [plan for plan in plans if _is_worse(plan, loaded.get(plan.api_id))]
        fresh = [plan for plan in plans if plan not in refused and _differs(plan, loaded.get(plan.api_id))]
        removed = loaded.keys() - {plan.api_id for plan in plans}
        await self._use(settings, listeners)
        await self._gateway.change(load=fresh, unload=removed)
        self._by_hand = {each.api.api_id: each for each in defined if each not in settings.apis}
        changes = Changes(
            tuple(sorted(plan.api_id for plan in fresh if plan.api_id not in loaded)),
            tuple(sorted(plan.api_id for plan in fresh if plan.api_id in loaded)),
            tuple(sorted(removed)),
        )
        self._succeeded(settings)
        if refused:
            by_id = {each.api.api_id: each for each in defined}
            wrong = [by_id[plan.api_id].problem((), plan.unusable or "") for plan in refused]
            raise PartlyRefusedError(wrong, changes)
        return changes

    async def _use(self, settings: Settings, listeners: ListenerPlan) -> None:
        self._gateway.limit_certificates(settings.configuration.certificate_expiry_monitor.max_certificates)
        if self._listeners is None or listeners.fingerprint != self._listeners.fingerprint:
            self._listeners = listeners
            self._use_listeners(listeners)
            await self._gateway.monitor_own(listeners.monitor)

    def _succeeded(self, settings: Settings) -> None:
        self.settings = settings
        self.last_reload_successful = True
        self.reloaded_at = self._clock()
        self.problems = ()
        for warning in warnings(settings):
            log.warning("configuration", extra={"problem": str(warning)})
        self._log_anchors()

    def _log_anchors(self) -> None:
        """One line for each certificate that we serve or trust: a person at the log sees what the alerts will say."""
        monitors = [api.plan.monitor for api in self._gateway.apis.values()]
        monitors.append(self._listeners.monitor if self._listeners else None)
        now = self._clock()
        lines = {
            (observation.role, reading.certificate.cert_id): (observation, reading, monitor.policy)
            for monitor in monitors
            if monitor is not None
            for observation in monitor.observations
            for reading in observation.chain
            if observation.role in (Role.SERVER, Role.CA) and reading.certificate is not None
        }
        for observation, reading, policy in lines.values():
            _log_certificate(observation, reading, policy, now)


def _log_certificate(observation: Observation, reading: Reading, policy: ExpiryPolicy, now: datetime) -> None:
    certificate = reading.certificate
    if certificate is None:
        return
    alarming = judge(reading, policy, now) in (State.EXPIRING, State.EXPIRED)
    fields = {
        "cert_role": observation.role,
        "cert_ref": observation.cert_ref,
        "cert_name": certificate.cert_name,
        "expires_at": rfc3339(certificate.not_after),
        "days_remaining": days_remaining(certificate.not_after, now),
    }
    log.log(logging.WARNING if alarming else logging.DEBUG, "certificate in use", extra=fields)


def _differs(plan: ApiPlan, loaded: ApiPlan | None) -> bool:
    return loaded is None or plan.fingerprint != loaded.fingerprint


def _is_worse(plan: ApiPlan, loaded: ApiPlan | None) -> bool:
    """Whether an API that works would stop working."""
    return plan.unusable is not None and loaded is not None and loaded.unusable is None


def _needs_restart(old: Settings, new: Settings) -> Iterable[Problem]:
    """What a running process cannot change about itself."""
    before, after = old.configuration, new.configuration
    fixed = {
        "proxy.listen": (before.proxy.listen, after.proxy.listen),
        "proxy.core": (before.proxy.core, after.proxy.core),
        "proxy.tls": (before.proxy.tls is None, after.proxy.tls is None),
        "proxy.drain_timeout_seconds": (before.proxy.drain_timeout_seconds, after.proxy.drain_timeout_seconds),
        "admin.listen": (before.admin.listen, after.admin.listen),
        "admin.tls": (before.admin.tls is None, after.admin.tls is None),
        "state": (before.state, after.state),
    }
    for path, (was, is_now) in fixed.items():
        if was != is_now:
            yield Problem(str(new.files[0]), path, "cannot be changed by a reload; restart certgauge")
