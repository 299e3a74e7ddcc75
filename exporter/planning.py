"""From settings to plans: certificates read, references resolved, what is wrong kept beside what is right."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from exporter.certcheck.expiry import ExpiryPolicy
from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.usage import Usage
from exporter.certificates.allow_list import allow_list, role_of
from exporter.certificates.files import CertificateFiles, Material, read_certificates, read_pair
from exporter.certificates.tls import LazyContexts, Pair, server_context
from exporter.config import ApiDefinition, Configuration
from exporter.plan import ApiPlan, InUse, ListenerPlan, MonitorPlan
from exporter.problems import Problem, dotted
from exporter.proxy.core import Upstream
from exporter.settings import Settings
from exporter.sight import Sight, settled_look

_Key: TypeAlias = tuple[str, CertificateFiles, bool]
"""A name, where its certificate is, and whether its key is needed."""


class _Memory:
    """What was read, and how its files looked: as long as they look the same, it is what they hold."""

    def __init__(self) -> None:
        self._read: dict[_Key, tuple[Sight, Material]] = {}

    def read(self, key: _Key) -> Material:
        """What the files hold now."""
        reference, files, needs_key = key
        paths = [str(path) for path in files.paths()]
        # Before they are read: what changes meanwhile looks different afterwards.
        sight = settled_look(paths)
        known, material = self._read.get(key, (None, None))
        if material is None or sight is None or sight != known:
            material = (read_pair if needs_key else read_certificates)(reference, files)
            self._read.pop(key, None)
            if sight is not None:
                self._read[key] = sight, material
        return material

    def forget_all_but(self, settings: Settings) -> None:
        """Forget what is configured no more: it may hold keys."""
        files = {(name, settings.certificate_files(name)) for name in settings.configuration.certificates}
        self._read = {key: value for key, value in self._read.items() if key[:2] in files}


@dataclass(slots=True)
class _Files:
    """Each certificate's files, read at most once for all that use them."""

    settings: Settings
    memory: _Memory
    _read: dict[tuple[str, bool], Material] = field(default_factory=dict)

    def pair(self, reference: str) -> Material:
        return self._once(reference, needs_key=True)

    def certificates(self, reference: str) -> Material:
        return self._once(reference, needs_key=False)

    def policy(self, reference: str, owner: ExpiryPolicy) -> ExpiryPolicy | None:
        """What a certificate is judged by where that is not what its owner's are."""
        return self.settings.configuration.certificates[reference].policy(owner)

    def _once(self, reference: str, *, needs_key: bool) -> Material:
        key = (reference, needs_key)
        if key not in self._read:
            self._read[key] = self.memory.read((reference, self.settings.certificate_files(reference), needs_key))
        return self._read[key]


class Planner:
    """Makes plans. Blocks, so it is called off the loop.

    Keeps what contexts can share between generations, and what was read of files that have not changed since.
    """

    def __init__(self) -> None:
        self._contexts = LazyContexts()
        self._memory = _Memory()

    def apis(self, settings: Settings, definitions: Iterable[ApiDefinition]) -> list[ApiPlan]:
        """A plan for each definition. What cannot be used makes its plan `unusable`, and no other."""
        files = _Files(settings, self._memory)
        return [self._api(settings.configuration, definition, files) for definition in definitions]

    def listeners(self, settings: Settings) -> ListenerPlan:
        """The contexts of the listeners, for no API's clients as yet, and what there is to monitor of them."""
        proxy, admin = settings.configuration.proxy.tls, settings.configuration.admin.tls
        self._memory.forget_all_but(settings)
        files = _Files(settings, self._memory)
        servers = {tls.certificate: files.pair(tls.certificate) for tls in (proxy, admin) if tls is not None}
        client_ca = files.certificates(proxy.client_ca) if proxy and proxy.client_ca else None
        materials = [*servers.values(), *([client_ca] if client_ca else [])]
        # One certificate may serve a listener and be trusted by it.
        problems = dict.fromkeys(
            Problem(str(settings.file), dotted(("certificates", each.ref)), each.problem.detail)
            for each in materials
            if each.problem is not None
        )
        monitor = settings.configuration.certificate_expiry_monitor
        policy = monitor.policy()
        observations = {
            ref: Observation(None, Role.SERVER, each.chain, ref, policy=files.policy(ref, policy))
            for ref, each in servers.items()
        }
        usage = observations[proxy.certificate].usage if proxy else Usage()
        anchors = [_trusted(None, client_ca, files.policy(client_ca.ref, policy), usage)] if client_ca else []
        trusted = frozenset(der for der, _ in client_ca.blocks()) if client_ca else frozenset()

        def make_proxy(clients: frozenset[bytes]) -> ssl.SSLContext:
            assert proxy is not None
            return server_context(_pair(servers[proxy.certificate]), trusted | clients)

        return ListenerPlan(
            make_proxy(frozenset()) if proxy and not problems else None,
            server_context(_pair(servers[admin.certificate])) if admin and not problems else None,
            observations[proxy.certificate] if proxy and monitor.enabled else None,
            observations[admin.certificate] if admin and monitor.enabled else None,
            MonitorPlan(policy, (*observations.values(), *anchors)) if monitor.enabled else None,
            (monitor, proxy, admin, _digests(materials), _policies((*observations.values(), *anchors))),
            (*problems,),
            make_proxy if proxy and not problems else None,
            in_use=tuple(_served(settings.configuration, servers)),
        )

    def _api(self, configuration: Configuration, api: ApiDefinition, files: _Files) -> ApiPlan:
        target = api.target
        own_ref = configuration.upstream_reference(api)
        own = files.pair(own_ref) if own_ref else None
        trust = files.certificates(api.upstream_ca) if api.upstream_ca and target.scheme == "https" else None
        clients = [files.certificates(reference) for reference in dict.fromkeys(api.client_certificates)]
        monitor = configuration.certificate_expiry_monitor.with_overrides(api.certificate_expiry_monitor)
        policy = monitor.policy()
        listed = [
            (each, Observation(api.api_id, role_of(each), each.chain, each.ref, policy=files.policy(each.ref, policy)))
            for each in clients
        ]
        usage = Usage()
        own_policy = files.policy(own.ref, policy) if own else None
        presented = (own.chain, own.ref, target.host, target.port, None, own_policy, usage) if own else None
        observations = [
            *([Observation(api.api_id, Role.UPSTREAM, *presented)] if presented else []),
            *([_trusted(api.api_id, trust, files.policy(trust.ref, policy), usage)] if trust else []),
            *(observation for _, observation in listed),
        ]
        unusable = next((each for each in (own, trust) if each is not None and each.problem is not None), None)
        upstream = Upstream(
            api.api_id,
            target,
            self._context(own, trust) if target.scheme == "https" and not unusable else None,
            configuration.proxy.upstream_timeout_seconds,
            observations[0] if own and monitor.enabled else None,
            own.chain[0].certificate if own else None,
            target.scheme == "https" and monitor.enabled,
            usage,
        )
        used = [each for each in (own, trust, *clients) if each is not None]
        return ApiPlan(
            api.api_id,
            api.listen_path.encode(),
            api.strip_listen_path,
            api.preserve_host_header,
            upstream,
            MonitorPlan(policy, tuple(observations)) if monitor.enabled else None,
            _why(unusable) if unusable else None,
            {each.ref: _why(each) for each in used if each.problem is not None},
            allow_list(api.api_id, listed, observes=monitor.enabled) if listed else None,
            (
                api,
                monitor,
                own_ref,
                configuration.proxy.upstream_timeout_seconds,
                _digests(used),
                _policies(observations),
            ),
            api.shown(),
            InUse(own_policy or policy, own_ref, _ders(own), trust.certificate_pem if trust else None),
        )

    def _context(self, own: Material | None, trust: Material | None) -> Callable[[], ssl.SSLContext]:
        made_of = (own.digest if own else b"", trust.digest if trust else b"")
        return self._contexts.client(_pair(own) if own else None, trust.certificate_pem if trust else None, made_of)


def _pair(material: Material) -> Pair:
    return Pair(material.certificate_pem, material.key_pem or b"", material.passphrase)


def _served(configuration: Configuration, servers: Mapping[str, Material]) -> Iterator[InUse]:
    policy = configuration.certificate_expiry_monitor.policy()
    for each in (configuration.proxy, configuration.admin):
        if each.tls is not None:
            address, _, port = each.listen.rpartition(":")
            ref = each.tls.certificate
            yield InUse(policy, ref, _ders(servers[ref]), None, address.strip("[]"), int(port) or None)


def _ders(material: Material | None) -> tuple[bytes, ...]:
    return tuple(der for der, _ in material.blocks()) if material else ()


def _trusted(api_id: str | None, material: Material, policy: ExpiryPolicy | None, usage: Usage) -> Observation:
    return Observation(api_id, Role.CA, material.chain, material.ref, policy=policy, usage=usage)


def _policies(observations: Iterable[Observation]) -> tuple[ExpiryPolicy | None, ...]:
    return tuple(each.policy for each in observations)


def _why(material: Material) -> str:
    return f"certificate {material.ref!r}: {material.problem.detail if material.problem else ''}"


def _digests(materials: Iterable[Material]) -> tuple[bytes, ...]:
    return tuple(material.digest for material in materials)
