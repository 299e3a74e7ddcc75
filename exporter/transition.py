"""From what is served to what should be: worked out before anything changes, and off the loop. All of this blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from exporter.certcheck.slot import Observation
from exporter.plan import ApiPlan, ListenerPlan, MonitorPlan
from exporter.planning import Planner
from exporter.problems import ConfigError, Problem
from exporter.settings import Defined, Settings, definition_problems


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served: for each API its definition and its plan."""

    settings: Settings
    listeners: ListenerPlan
    defined: Mapping[str, Defined]
    plans: Mapping[str, ApiPlan]
    by_hand: frozenset[str] = frozenset()
    """Which were put by hand, and no file defines."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The `api_id`s that a reload touched, each sorted."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    """What to do, and what will be served then."""

    to: Serving
    load: tuple[ApiPlan, ...]
    unload: frozenset[str] = frozenset()
    changes: Changes = field(default_factory=Changes)
    refused: tuple[Problem, ...] = ()
    """Of whatever has new certificates that cannot be used: the old ones stay."""
    not_taken: Mapping[str | None, tuple[Observation, ...]] = field(default_factory=dict)
    """What the files of those hold, by `api_id`; None: the listeners."""


def to_start(settings: Settings, planner: Planner) -> Transition:
    """Everything, also what has certificates that cannot be used.

    Raises:
        ConfigError: a listener's certificate cannot be used.
    """
    listeners = planner.listeners(settings)
    if listeners.problems:
        raise ConfigError(listeners.problems)
    plans = _plans(planner, settings, settings.apis)
    serving = Serving(settings, listeners.letting_in(_clients(plans)), _by_id(settings.apis), plans)
    return Transition(serving, tuple(plans.values()))


def to_reload(now: Serving, settings: Settings, planner: Planner) -> Transition:
    """What has changed, and no more. A definition put by hand gives way to one in a file.

    Raises:
        ConfigError: it is wrong as a whole, or needs a restart.
    """
    in_files = _by_id(settings.apis)
    by_hand = now.by_hand - in_files.keys()
    defined = {**in_files, **{api_id: now.defined[api_id] for api_id in by_hand}}
    _check(settings, defined.values(), _needs_restart(now.settings, settings))
    return _to_serve(now, settings, defined, by_hand, planner)


def to_rotate(now: Serving, planner: Planner) -> Transition:
    """The same configuration, with its certificates as they are on disk now."""
    return _to_serve(now, now.settings, dict(now.defined), now.by_hand, planner)


def _to_serve(
    now: Serving, settings: Settings, defined: dict[str, Defined], by_hand: frozenset[str], planner: Planner
) -> Transition:
    plans = _plans(planner, settings, defined.values())
    worse = {api_id: why for api_id, plan in plans.items() if (why := _why_worse(plan, now.plans.get(api_id)))}
    refused = tuple(defined[api_id].problem((), why) for api_id, why in sorted(worse.items()))
    not_taken: dict[str | None, tuple[Observation, ...]] = {
        api_id: _monitored(plans[api_id].monitor) for api_id in worse
    }
    if worse:
        # Their old generations keep their listen paths: what is served together must fit together.
        defined |= {api_id: now.defined[api_id] for api_id in worse}
        plans |= {api_id: now.plans[api_id] for api_id in worse}
        _check(settings, defined.values(), refused, only_if_more=True)
    fresh = [plan for api_id, plan in plans.items() if _differs(plan, now.plans.get(api_id))]
    kept = {api_id: now.plans[api_id] for api_id in plans.keys() - {plan.api_id for plan in fresh}}
    changes = Changes(
        tuple(sorted(plan.api_id for plan in fresh if plan.api_id not in now.plans)),
        tuple(sorted(plan.api_id for plan in fresh if plan.api_id in now.plans)),
        tuple(sorted(now.plans.keys() - plans.keys())),
    )
    listeners = planner.listeners(settings)
    if listeners.problems:
        refused += listeners.problems
        not_taken[None] = _monitored(listeners.monitor)
    if listeners.problems or listeners.fingerprint == now.listeners.fingerprint:
        listeners = now.listeners
    serving = Serving(settings, listeners.letting_in(_clients(plans | kept)), defined, plans | kept, by_hand)
    return Transition(serving, tuple(fresh), frozenset(changes.removed), changes, refused, not_taken)


def to_put(now: Serving, defined: Defined, planner: Planner) -> Transition:
    """One API more, or another one.

    Raises:
        ConfigError: the definition is wrong, or its certificates cannot be used.
    """
    api_id = defined.api.api_id
    together = {**now.defined, api_id: defined}
    _check(now.settings, together.values())
    plans = _plans(planner, now.settings, [defined])
    unusable = plans[api_id].unusable
    if unusable is not None:
        raise ConfigError([defined.problem((), unusable)])
    every = {**now.plans, **plans}
    listeners = now.listeners.letting_in(_clients(every))
    serving = Serving(now.settings, listeners, together, every, now.by_hand | {api_id})
    return Transition(serving, (plans[api_id],))


def to_delete(now: Serving, api_id: str) -> Transition:
    """One API less."""
    defined = {key: value for key, value in now.defined.items() if key != api_id}
    plans = {key: value for key, value in now.plans.items() if key != api_id}
    listeners = now.listeners.letting_in(_clients(plans))
    serving = Serving(now.settings, listeners, defined, plans, now.by_hand - {api_id})
    return Transition(serving, (), frozenset({api_id}))


def _plans(planner: Planner, settings: Settings, defined: Iterable[Defined]) -> dict[str, ApiPlan]:
    return {plan.api_id: plan for plan in planner.apis(settings, [each.api for each in defined])}


def _clients(plans: Mapping[str, ApiPlan]) -> frozenset[bytes]:
    """All that the listener has to let through; each API then looks for itself."""
    return frozenset().union(*(plan.clients.certificates for plan in plans.values() if plan.clients is not None))


def _by_id(defined: Iterable[Defined]) -> dict[str, Defined]:
    return {each.api.api_id: each for each in defined}


def _check(
    settings: Settings, defined: Iterable[Defined], others: Iterable[Problem] = (), *, only_if_more: bool = False
) -> None:
    """Raise what is wrong with definitions taken together, after other problems."""
    others, problems = list(others), definition_problems(settings.configuration, defined)
    if problems or (others and not only_if_more):
        raise ConfigError([*others, *problems])


def _differs(plan: ApiPlan, loaded: ApiPlan | None) -> bool:
    return loaded is None or plan.fingerprint != loaded.fingerprint


def _why_worse(plan: ApiPlan, loaded: ApiPlan | None) -> str | None:
    """Why an API would do less than it does; None: it would not."""
    if loaded is None:
        return None
    return next((why for reference, why in plan.unfit.items() if reference not in loaded.unfit), None)


def _monitored(plan: MonitorPlan | None) -> tuple[Observation, ...]:
    return plan.observations if plan else ()


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
        "state_password_file": (before.state_password_file, after.state_password_file),
    }
    for path, (was, is_now) in fixed.items():
        if was != is_now:
            yield Problem(str(new.file), path, "cannot be changed by a reload; restart certgauge")
