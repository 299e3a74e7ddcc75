"""The pages, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from exporter.admin import certs
from exporter.admin.page import told
from exporter.admin.page.filters import filters
from exporter.admin.page.models import of_api, of_certificate, overview
from exporter.admin.page.monitor import checks
from exporter.admin.page.render import Renderer
from exporter.admin.sources import Admin
from exporter.certcheck.events import EventKind

_EVENTS = 20
_EVENTS_SEARCHED = 1000


def is_asked_for(request: Request) -> bool:
    """Whether a page is wanted: browsers say so; `curl` and scripts take anything."""
    return "text/html" in request.headers.get("accept", "").lower()


class Pages:
    """Each is made in a thread: with thousands of certificates that takes longer than the loop may stand still."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._renderer = Renderer()
        # One at a time: at once they would only take turns, and keep threads from what has to be in time.
        self._making = asyncio.Lock()

    async def overview(self, request: Request) -> Response:
        try:
            asked = filters(request.query_params)
        except certs.QueryError as exc:
            return await self._problem(400, "These filters cannot be used", f"{exc}.")
        found, backlog = await self._admin.outbox.recent(_EVENTS), self._admin.outbox.backlog()
        facts, not_ready, most = self._admin.health(), self._admin.not_ready(), self._admin.inventory.limit

        def values() -> dict[str, Any]:
            shown = overview(facts.entries, asked, facts.now)
            monitor = checks(facts, not_ready, told.unheard(found), backlog, most)
            return {**shown, "filters": asked, "checks": monitor, "events": told.events(found), "now": facts.now}

        return await self._page("overview", values)

    async def certificate(self, request: Request) -> Response:
        cert_id, now = request.path_params["cert_id"], self._admin.clock()
        entries = self._admin.inventory.entries()
        found = await self._admin.outbox.recent(_EVENTS_SEARCHED)

        def values() -> dict[str, Any] | None:
            shown = of_certificate(entries, cert_id, now)
            return shown and {**shown, "events": told.of_certificate(found, cert_id, _EVENTS), "now": now}

        return await self._page("certificate", values, "No certificate in use or watched has this id.")

    async def api(self, request: Request) -> Response:
        api_id, now = request.path_params["api_id"], self._admin.clock()
        api = self._admin.gateway.apis.get(api_id)
        entries = self._admin.inventory.entries()
        found = await self._admin.outbox.recent(_EVENTS, api_id)
        names = self._admin.dispatcher.told(api_id, EventKind.EXPIRED)

        def values() -> dict[str, Any] | None:
            if api is None:
                return None
            handlers = [name.rpartition("/")[2] for name in names]
            shown = of_api(entries, api_id, now)
            return {**shown, "plan": api.plan, "handlers": handlers, "events": told.events(found), "now": now}

        return await self._page("api", values, "No API has this id.")

    async def _page(self, template: str, values: Callable[[], dict[str, Any] | None], missing: str = "") -> Response:
        def made() -> Response:
            found = values()
            if found is None:
                return self._renderer.page("problem", 404, title="Not found", detail=missing)
            return self._renderer.page(template, **found)

        async with self._making:
            return await asyncio.to_thread(made)

    async def _problem(self, status: int, title: str, detail: str) -> Response:
        return await asyncio.to_thread(self._renderer.page, "problem", status, title=title, detail=detail)
