"""The APIs: loaded, matched, forwarded to, unloaded. Owns every batcher's task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from exporter.certcheck.announcer import Announced
from exporter.certcheck.slot import Observation
from exporter.certcheck.tally import ErrorReason
from exporter.durations import Durations, Histogram
from exporter.monitor import Monitor, MonitorPorts
from exporter.plan import ApiPlan, MonitorPlan
from exporter.proxy.core import Call, CoreFactory, Failure, Responder, Upstream, UpstreamError, UpstreamRequest
from exporter.routes import Routes

log = logging.getLogger(__name__)

_AT_ONCE = 200


class Api:
    """One loaded generation of an API."""

    def __init__(self, plan: ApiPlan, monitor: Monitor) -> None:
        self.plan = plan
        self.monitor = monitor
        self.finished = False
        """Its series have ended: what is measured now must not bring them back."""
        self.route = plan.listen_path.decode()
        target = plan.upstream.target
        self.authority = target.authority.encode()
        """The target's, for a Host field."""
        self.base = target.path.encode()
        self.durations: dict[tuple[str, str, int | None], tuple[Histogram, Histogram]] = {}
        """Those of the server and of the client, by method, scheme and status, where nothing went wrong."""
        self._in_flight = 0
        self._idle = asyncio.Event()

    def calls(self, observation: Observation) -> bool:
        """Whether what was seen in a handshake may be its own: one of the generation before may end only now."""
        target = self.plan.upstream.target
        return observation.server_address is None or observation.address == (target.host, target.port)

    def begin(self) -> None:
        """A request has begun that will have to finish before the generation is gone."""
        self._in_flight += 1

    def end(self) -> None:
        """One such request is done."""
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no request is in flight."""
        while self._in_flight:
            self._idle.clear()
            await self._idle.wait()


class Gateway:
    """Serves APIs through a proxy core and monitors their certificates.

    An async context manager: leaving it unloads everything, awaits every batcher, and closes the core. All methods are
    to be called on its event loop.
    """

    def __init__(
        self, core: CoreFactory, ports: MonitorPorts, durations: Durations, drain_timeout_seconds: float = 30.0
    ) -> None:
        self._ports = ports
        self._durations = durations
        self._drain_timeout = drain_timeout_seconds
        self._core = core(self.observe)
        self._apis: dict[str, Api] = {}
        self._routes: Routes[Api] = Routes({})
        self._announced: dict[str | None, Announced] = {}
        self._upstreams: set[Upstream] = set()
        self._configured: dict[Observation, Monitor] = {}
        self._changing = asyncio.Lock()
        self._applying = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self._monitors: set[Monitor] = set()
        self._watched: dict[Observation, None] = {}
        self._own = self._monitor(None, None)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.unload(*self._apis)
            await self._own.stop()
        finally:
            # Whatever is being finished still needs the core.
            await self._tasks.__aexit__(None, None, None)
            await self._core.close()

    @property
    def apis(self) -> dict[str, Api]:
        """What is loaded, by `api_id`."""
        return dict(self._apis)

    @property
    def batchers(self) -> int:
        """How many batchers run, also while they are being stopped. May be called from any thread."""
        return sum(monitor.running for monitor in tuple(self._monitors))

    def match(self, path: bytes) -> Api | None:
        """The API for a raw request path. It is in use from now on: a batcher that waits for that starts."""
        api = self._routes.match(path)
        if api is not None:
            api.monitor.wake()
        return api

    def call(self, api: Api, request: UpstreamRequest, responder: Responder) -> Call:
        """Send a request to the API's upstream. Whoever calls tells the API by `end()` when the call is over.

        Raises:
            UpstreamError: nothing is sent, and there is nothing to end.
        """
        if api.plan.unusable is not None:
            # It never gets as far as the core; the first use is noticed all the same.
            self.observe_if_any(api.plan.upstream.observation)
            raise UpstreamError(Failure.CERTIFICATE_UNUSABLE)
        upstream = api.plan.upstream
        call = self._core.call(upstream, request, responder)
        upstream.usage.requests += 1
        api.begin()
        return call

    def observe_if_any(self, observation: Observation | None) -> None:
        """Observe, where something is monitored."""
        if observation is not None:
            self.observe(observation)

    def observe(self, observation: Observation | None) -> None:
        """Note a chain in use. O(1), never waits, never raises: cores call it on the request path."""
        if observation is None:
            self._ports.tally.error(ErrorReason.NIL_CERTIFICATE)
        elif (configured := self._configured.get(observation)) is not None:
            configured.observe(observation)
        elif not observation.chain:
            self._ports.tally.error(ErrorReason.NO_LEAF)
        elif (monitor := self._monitor_of(observation)) is None:
            self._ports.tally.after_unload(observation.api_id, observation.role)
        else:
            monitor.observe(observation)

    async def change(self, load: Collection[ApiPlan] = (), unload: Collection[str] = ()) -> asyncio.Task[None]:
        """Load or replace some APIs and unload others: requests move over in one assignment, with no moment between.

        Returns the task that finishes what is out of the routes: its requests, its batchers, its series. The gateway
        awaits it; so may the caller, shielded. Unknown ids are none to unload.
        """
        async with self._changing:
            await self._carry(add={plan.upstream for plan in load if plan.unusable is None})
            apis = {plan.api_id: Api(plan, self._monitor(plan.api_id, plan.monitor)) for plan in load}
            gone = [api for api_id, api in self._apis.items() if api_id in apis or api_id in unload]
            self._swap({**{key: api for key, api in self._apis.items() if key not in unload}, **apis}, gone)
            for api in apis.values():
                self._announce_load(api)
            return self._tasks.create_task(self._finish(gone), name="finish")

    async def load(self, *plans: ApiPlan) -> None:
        """Load APIs, or replace those that are loaded under the same id."""
        await self.change(load=plans)

    async def unload(self, *api_ids: str) -> None:
        """Unload APIs; returns when their requests are done, batchers awaited, series ended. Idempotent."""
        # Whoever asked may leave; what was begun is finished.
        await asyncio.shield(await self.change(unload=api_ids))

    async def monitor_own(self, plan: MonitorPlan | None) -> None:
        """Monitor the gateway's own certificates: those that belong to no API."""
        previous, self._own = self._own, self._monitor(None, plan)
        self._open(self._own)
        self._close(previous)
        self._own.observe_loaded()
        watched = list(self._watched)
        for start in range(0, len(watched), _AT_ONCE):
            # Some may have gone meanwhile.
            self._own.exchange([each for each in watched[start : start + _AT_ONCE] if each in self._watched], ())
            await asyncio.sleep(0)
        await self._stop(previous)

    def exchange_own(self, taken: Sequence[Observation], gone: Collection[Observation]) -> None:
        """Monitor other certificates besides the gateway's own: those of `gone` no more.

        What takes over the slot of another keeps its history. A few hundred in one call: each takes a few microseconds.
        """
        for each in gone:
            self._watched.pop(each, None)
        self._watched.update(dict.fromkeys(taken))
        self._own.exchange(taken, gone)

    def compare(self, not_taken: Mapping[str | None, Sequence[Observation]]) -> None:
        """What the files of APIs (None: of the gateway's own) hold and was not taken; all others are as in their files.

        What cannot be used is announced until the next call.
        """
        for api in self._apis.values():
            api.monitor.compare(not_taken.get(api.plan.api_id, ()))
        self._own.compare(not_taken.get(None, ()))

    def limit_certificates(self, most: int) -> None:
        """How many slots have series; what is there already stays."""
        self._ports.inventory.limit = most

    def _monitor(self, api_id: str | None, plan: MonitorPlan | None) -> Monitor:
        announced = self._announced.setdefault(api_id, {})
        return Monitor(api_id, plan, announced=announced, ports=self._ports, tasks=self._tasks)

    def _monitor_of(self, observation: Observation) -> Monitor | None:
        """Of what was seen in a handshake. What was configured belongs to one generation and ends with it."""
        if observation.cert_ref is not None:
            return None
        if observation.api_id is None:
            return self._own
        api = self._apis.get(observation.api_id)
        return api.monitor if api is not None and api.calls(observation) else None

    def _swap(self, apis: dict[str, Api], retired: Collection[Api]) -> None:
        """From one set of APIs to another, without a moment between."""
        for api in apis.values():
            loaded = self._apis.get(api.plan.api_id)
            if api is not loaded:
                if loaded is not None:
                    api.monitor.inherit(loaded.monitor, api.plan.upstream.target)
                self._open(api.monitor)
        self._apis = apis
        self._routes = Routes({api.plan.listen_path: api for api in apis.values()})
        for api in retired:
            self._close(api.monitor)

    def _open(self, monitor: Monitor) -> None:
        self._monitors.add(monitor)
        monitor.publish()
        self._configured.update(dict.fromkeys(monitor.observations, monitor))

    def _close(self, monitor: Monitor) -> None:
        monitor.retire()
        for observation in monitor.observations:
            del self._configured[observation]

    def _announce_load(self, api: Api) -> None:
        plan = api.plan
        log.info("API loaded", extra={"api_id": plan.api_id, "listen_path": plan.listen_path.decode()})
        if plan.unusable is not None:
            self._ports.tally.error(ErrorReason.CERTIFICATE_UNUSABLE)
            log.error("API answers 503: certificate unusable", extra={"api_id": plan.api_id, "why": plan.unusable})
        api.monitor.observe_loaded()

    async def _finish(self, apis: Collection[Api]) -> None:
        """Drain, stop the batchers, end the series of generations that are out of the routes."""
        await self._drain(apis)
        try:
            await self._carry(remove={api.plan.upstream for api in apis})
        except Exception:  # a core that fails to let go must not keep the batchers alive
            log.exception("proxy core failed to release upstreams")
        # Side by side: one sink that hangs must not add up over a thousand APIs.
        await asyncio.gather(*(self._stop(api.monitor) for api in apis))
        for api in apis:
            api.finished = True
        unloaded = {api.plan.api_id for api in apis} - self._apis.keys()
        self._ports.tally.forget(unloaded)
        self._durations.forget(unloaded)
        for api_id in unloaded:
            self._announced.pop(api_id, None)
            log.info("API unloaded", extra={"api_id": api_id})

    async def _stop(self, monitor: Monitor) -> None:
        await monitor.stop()
        self._monitors.discard(monitor)

    async def _drain(self, apis: Collection[Api]) -> None:
        try:
            async with asyncio.timeout(self._drain_timeout):
                for api in apis:
                    await api.idle()
        except TimeoutError:
            self._ports.tally.error(ErrorReason.DRAIN_TIMEOUT)
            log.warning("requests in flight were cut off", extra={"seconds": self._drain_timeout})

    async def _carry(self, add: Iterable[Upstream] = (), remove: Iterable[Upstream] = ()) -> None:
        async with self._applying:
            upstreams = (self._upstreams | set(add)) - set(remove)
            await self._core.apply(upstreams)
            self._upstreams = upstreams
