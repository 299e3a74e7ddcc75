"""Who is told of what: the handlers of what is served, kept in use."""

from __future__ import annotations

import asyncio

from exporter.certificates.tls import LazyContexts
from exporter.delivery import Routes, names_in
from exporter.dispatcher import Dispatcher
from exporter.handlers import Handlers, read_handlers, sink_of
from exporter.sinks.webhook_handler import WebhookHandler
from exporter.transition import Serving


class Subscriptions:
    """Makes a handler of each receiver, once for as long as it stays the same."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._contexts = LazyContexts()
        self._handlers: dict[str, WebhookHandler] = {}
        self._routes: Routes = {}

    async def use(self, serving: Serving) -> Handlers:
        """Have events delivered as this says, from before it is served.

        An API that is about to be unloaded may still have something to say, and says it to whom it did before.
        """
        found = await asyncio.to_thread(read_handlers, serving.settings, serving.defined.values())
        handlers = {name: self._kept(name, found) for name in found.receivers}
        leaving = {api_id: kinds for api_id, kinds in self._routes.items() if api_id not in found.routes}
        names = names_in(leaving) - names_in(found.routes)
        last = {name: each for name, each in self._handlers.items() if name in names}
        await self._dispatcher.use({**last, **handlers}, {**leaving, **found.routes})
        self._handlers, self._routes = handlers, found.routes
        return found

    def _kept(self, name: str, found: Handlers) -> WebhookHandler:
        receiver, known = found.receivers[name], self._handlers.get(name)
        if known is not None and known.receiver == receiver:
            return known
        return WebhookHandler(receiver, sink_of(receiver, self._contexts))
