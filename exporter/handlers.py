"""From what is configured of handlers to receivers: files read, templates tried, what cannot be used told of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from exporter.certcheck.events import EventKind
from exporter.certificates.contents import UnusableError
from exporter.certificates.files import read_certificates
from exporter.certificates.parts import file_part
from exporter.certificates.tls import LazyContexts
from exporter.handler_entry import EventHandlers, Handler, Webhook
from exporter.problems import Problem, dotted
from exporter.settings import Defined, Settings
from exporter.sinks.body import Body, BodyError, ready_made
from exporter.sinks.samples import samples
from exporter.sinks.signing import read_secret
from exporter.sinks.webhook import Receiver, WebhookSink
from exporter.validation import Steps

_LARGEST_TEMPLATE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Handlers:
    """All handlers by name: `API_ID/NAME`, and `/NAME` for the gateway's."""

    receivers: Mapping[str, Receiver]
    """Of those that can be used."""
    routes: Mapping[str | None, Mapping[EventKind, tuple[str, ...]]]
    """For each API, and None for the gateway's own certificates: who is told of what. Those that cannot be used as
    they are now are here, too: what they are to be told can wait for a day. Disabled ones are not."""
    problems: tuple[Problem, ...]
    """What cannot be used, and what is disabled."""


class _UnusableError(Exception):
    """Of one handler: which key, and why."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


class _Place(NamedTuple):
    """Where a handler stands, for what there is to say of it."""

    file: str
    path: Steps

    def problem(self, steps: Steps, message: str) -> Problem:
        return Problem(self.file, dotted((*self.path, *steps)), message)


def read_handlers(settings: Settings, defined: Iterable[Defined]) -> Handlers:
    """Every handler of the gateway and of these definitions. Blocks."""
    reading, gateway = _Reading(settings), settings.configuration.event_handlers
    own = reading.routes("", gateway, _Place(str(settings.file), ()))
    routes: dict[str | None, Mapping[EventKind, tuple[str, ...]]] = {None: own}
    for each in defined:
        place = _Place(each.file, each.base)
        # A list of its own replaces the gateway's, also an empty one.
        routes[each.api.api_id] = {**own, **reading.routes(each.api.api_id, each.api.event_handlers, place)}
    return Handlers(reading.receivers, routes, tuple(reading.problems))


def sink_of(receiver: Receiver, contexts: LazyContexts) -> WebhookSink:
    """What sends to a receiver. Contexts are shared by those that trust the same."""
    anchors = receiver.anchors
    return WebhookSink(receiver, contexts.client(None, anchors, (b"", anchors or b"")))


@dataclass(slots=True)
class _Reading:
    settings: Settings
    receivers: dict[str, Receiver] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _tried: dict[Body, str] = field(default_factory=dict)

    def routes(self, owner: str, handlers: EventHandlers, place: _Place) -> dict[EventKind, tuple[str, ...]]:
        """Who is told of what, by name; each handler is read once."""
        routes = {}
        for event, listed in handlers.items():
            for index, handler in enumerate(listed):
                self._take(f"{owner}/{handler.name}", handler, place, ("event_handlers", event, index))
            routes[EventKind(event)] = tuple(f"{owner}/{each.name}" for each in listed if not each.disabled)
        return routes

    def _take(self, name: str, handler: Handler, place: _Place, steps: Steps) -> None:
        if name in self._seen:
            return
        self._seen.add(name)
        if handler.disabled:
            self.problems.append(place.problem((*steps, "disabled"), f"nothing is sent to {handler.name!r}"))
            return
        try:
            self.receivers[name] = self._receiver(handler.webhook)
        except _UnusableError as exc:
            message = f"{exc}; nothing is sent to {handler.name!r} until that is right"
            self.problems.append(place.problem((*steps, "webhook", exc.key), message))

    def _receiver(self, webhook: Webhook) -> Receiver:
        return Receiver(
            webhook.url.get_secret_value(),
            webhook.method,
            tuple((name, value.get_secret_value()) for name, value in webhook.headers.items()),
            timedelta(seconds=webhook.timeout_seconds),
            webhook.content_type,
            self._body(webhook),
            tuple(self._keys(webhook)),
            self._anchors(webhook),
            webhook.allow_private,
        )

    def _body(self, webhook: Webhook) -> Body:
        key = "template" if webhook.template else "template_file"
        source = ready_made(webhook.template) if webhook.template else None
        if webhook.template_file:
            source = self._text(key, webhook.template_file)
        variables = tuple((name, value.get_secret_value()) for name, value in webhook.variables.items())
        try:
            body = Body(source, as_json=webhook.sends_json, variables=variables)
        except ValueError as exc:
            raise _UnusableError(key, f"{webhook.template_file}: {exc}") from None
        if why := self._fault(body):
            why = why.removeprefix("the template: ")
            raise _UnusableError(key, f"{webhook.template_file}: {why}" if webhook.template_file else why)
        return body

    def _fault(self, body: Body) -> str:
        """What is wrong with the bodies that are made of samples; empty: nothing is."""
        if body not in self._tried:
            self._tried[body] = _tried(body)
        return self._tried[body]

    def _keys(self, webhook: Webhook) -> Iterator[bytes]:
        key = "secret_file" if webhook.secret_file else "secret_files"
        for name in webhook.secrets:
            try:
                yield read_secret(self._text(key, name))
            except ValueError as exc:
                raise _UnusableError(key, f"{name} {exc}") from None

    def _anchors(self, webhook: Webhook) -> bytes | None:
        if webhook.ca is None:
            return None
        material = read_certificates(webhook.ca, self.settings.certificate_files(webhook.ca))
        if material.problem is not None:
            raise _UnusableError("ca", f"certificate {webhook.ca!r}: {material.problem.detail}")
        return material.certificate_pem

    def _text(self, key: str, name: str) -> str:
        try:
            content = file_part(self.settings.file.parent / name).given()
            if len(content) > _LARGEST_TEMPLATE:
                raise _UnusableError(key, f"{name} is larger than 64 KiB")
            return content.decode()
        except UnusableError as exc:
            raise _UnusableError(key, str(exc)) from None
        except UnicodeDecodeError:
            raise _UnusableError(key, f"{name} is not UTF-8") from None


def _tried(body: Body) -> str:
    for payload in samples():
        try:
            body.of(payload)
        except BodyError as exc:
            return str(exc)
    return ""
