"""From settings to plans: certificates read, references resolved, what is wrong kept beside what is right."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from exporter.certcheck.slot import Observation, Role
from exporter.certcheck.usage import Usage
from exporter.certificates.allow_list import allow_list, role_of
from exporter.certificates.files import Material, read_certificates, read_pair
from exporter.certificates.tls import LazyContexts, Pair, server_context
from exporter.config import ApiDefinition, Configuration
from exporter.plan import ApiPlan, InUse, ListenerPlan, MonitorPlan
from exporter.problems import Problem, dotted
from exporter.proxy.core import Upstream
from exporter.settings import Settings


@dataclass(slots=True)
class _Files:
    """Each certificate's files, read once for all that use them."""

    settings: Settings
    _read: dict[tuple[str, bool], Material] = field(default_factory=dict)

    def pair(self, reference: str) -> Material:
        return self._once(reference, needs_key=True)

    def certificates(self, reference: str) -> Material:
        return self._once(reference, needs_key=False)

    def _once(self, reference: str, *, needs_key: bool) -> Material:
        key = (reference, needs_key)
        if key not in self._read:
            read = read_pair if needs_key else read_certificates
            self._read[key] = read(reference, self.settings.certificate_files(reference))
        return self._read[key]


class Planner:
    """Makes plans. Blocks, so it is called off the loop; keeps what contexts can share between generations."""

    def __init__(self) -> None:
        self._contexts = LazyContexts()

    def apis(self, settings: Settings, definitions: Iterable[ApiDefinition]) -> list[ApiPlan]:
        """A plan for each definition. What cannot be used makes its plan `unusable`, and no other."""
        files = _Files(settings)
        return [self._api(settings.configuration, definition, files) for definition in definitions]

    def listeners(self, settings: Settings) -> ListenerPlan:
        """The contexts of the listeners, for no API's clients as yet, and what there is to monitor of them."""
        proxy, admin = settings.configuration.proxy.tls, settings.configuration.admin.tls
        files = _Files(settings)
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
        observations = {ref: Observation(None, Role.SERVER, each.chain, ref) for ref, each in servers.items()}
        usage = observations[proxy.certificate].usage if proxy else Usage()
        anchors = [Observation(None, Role.CA, client_ca.chain, client_ca.ref, usage=usage)] if client_ca else []
        trusted = frozenset(der for der, _ in client_ca.blocks()) if client_ca else frozenset()

        def make_proxy(clients: frozenset[bytes]) -> ssl.SSLContext:
            assert proxy is not None
            return server_context(_pair(servers[proxy.certificate]), trusted | clients)

        return ListenerPlan(
            make_proxy(frozenset()) if proxy and not problems else None,
            server_context(_pair(servers[admin.certificate])) if admin and not problems else None,
            observations[proxy.certificate] if proxy and monitor.enabled else None,
            observations[admin.certificate] if admin and monitor.enabled else None,
            MonitorPlan(monitor.policy(), (*observations.values(), *anchors)) if monitor.enabled else None,
            (monitor, proxy, admin, _digests(materials)),
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
        listed = [(each, Observation(api.api_id, role_of(each), each.chain, each.ref)) for each in clients]
        usage = Usage()
        place = (target.host, target.port)
        observations = [
            *([Observation(api.api_id, Role.UPSTREAM, own.chain, own.ref, *place, usage=usage)] if own else []),
            *([Observation(api.api_id, Role.CA, trust.chain, trust.ref, usage=usage)] if trust else []),
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
            MonitorPlan(monitor.policy(), tuple(observations)) if monitor.enabled else None,
            _why(unusable) if unusable else None,
            {each.ref: _why(each) for each in used if each.problem is not None},
            allow_list(api.api_id, listed, observes=monitor.enabled) if listed else None,
            (api, monitor, own_ref, configuration.proxy.upstream_timeout_seconds, _digests(used)),
            api.shown(),
            InUse(monitor.policy(), own_ref, _ders(own), trust.certificate_pem if trust else None),
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


def _why(material: Material) -> str:
    return f"certificate {material.ref!r}: {material.problem.detail if material.problem else ''}"


def _digests(materials: Iterable[Material]) -> tuple[bytes, ...]:
    return tuple(material.digest for material in materials)
