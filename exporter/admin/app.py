"""The admin listener's application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from exporter import __version__
from exporter.admin import certs, events, health, ics, preflight, spreadsheet
from exporter.admin.certs import Query
from exporter.admin.openapi import document
from exporter.admin.page.endpoints import Pages, is_asked_for
from exporter.admin.pieces import each, in_pieces, joined
from exporter.admin.problem import invalid, on_error, on_http_exception, problem
from exporter.admin.sources import Admin
from exporter.admin.token import AdminToken
from exporter.catalog import PartlyRefusedError
from exporter.preflight import Preflight, reading
from exporter.problems import ConfigError
from exporter.telemetry.prometheus import content_type, render

_LARGEST_BODY = 1024 * 1024
_BODY_WITHIN_SECONDS = 10.0
_MOST_BODIES = 32
"""At once, from their first byte until they are answered: a thousand would be a gigabyte."""


def build(admin: Admin) -> Starlette:
    """The application."""
    endpoints, pages = _Endpoints(admin), Pages(admin)

    async def index(request: Request) -> Response:
        return await (pages.overview if is_asked_for(request) else endpoints.index)(request)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/live", endpoints.live),
            Route("/ready", endpoints.ready),
            Route("/health", endpoints.health),
            Route("/metrics", endpoints.metrics),
            Route("/ui/certs/{cert_id}", pages.certificate),
            Route("/ui/apis/{api_id}", pages.api),
            Route("/certs", endpoints.certs),
            Route("/certs.csv", endpoints.spreadsheet),
            Route("/certs.ics", endpoints.calendar),
            Route("/certs/check", endpoints.check, methods=["POST"]),
            Route("/certs/{cert_id}", endpoints.cert),
            Route("/apis", endpoints.apis),
            Route("/apis/{api_id}", endpoints.api, methods=["GET"]),
            Route("/apis/{api_id}", endpoints.put, methods=["PUT"]),
            Route("/apis/{api_id}", endpoints.delete, methods=["DELETE"]),
            Route("/events", endpoints.events),
            Route("/events/test", endpoints.test_event, methods=["POST"]),
            Route("/reload", endpoints.reload, methods=["POST"]),
            Route("/openapi.json", endpoints.openapi),
        ],
        middleware=[Middleware(AdminToken, token=admin.token)],
        exception_handlers={HTTPException: on_http_exception, Exception: on_error},
    )


class _Endpoints:
    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        # One at a time: concurrent scrapes would only take turns, each holding a rendering in memory.
        self._scraping = asyncio.Lock()
        self._downloading = asyncio.Lock()
        self._bodies = asyncio.Semaphore(_MOST_BODIES)
        self._preflight = Preflight()

    async def index(self, _request: Request) -> Response:
        paths = document()["paths"].items()
        calls = [f"{verb.upper():6} {path}" for path, verbs in paths for verb in verbs if verb != "parameters"]
        return PlainTextResponse("\n".join([f"certgauge {__version__}", "", *calls, ""]), headers={"vary": "accept"})

    async def live(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(self, _request: Request) -> Response:
        reason = self._admin.not_ready()
        return problem(503, reason) if reason else PlainTextResponse("ok\n")

    async def health(self, _request: Request) -> Response:
        report = await asyncio.to_thread(health.report, self._admin.health())
        status = 503 if report["status"] == "fail" else 200
        return JSONResponse(report, status, media_type="application/health+json")

    async def metrics(self, request: Request) -> Response:
        content = content_type(request.headers.get("accept", ""))
        async with self._scraping:
            pieces = await asyncio.to_thread(lambda: list(render(self._admin.sampler.sample(), content)))
        return StreamingResponse(each(pieces), media_type=content)

    async def certs(self, request: Request) -> Response:
        try:
            query = certs.parse(request.query_params)
        except certs.QueryError as exc:
            return problem(400, str(exc))
        now, entries = self._admin.clock(), self._admin.inventory.entries()
        return await in_pieces(lambda: certs.page(entries, query, now))

    async def spreadsheet(self, request: Request) -> Response:
        def lines(query: Query) -> Iterator[str]:
            return spreadsheet.lines(self._admin.inventory.entries(), query, self._admin.clock())

        return await self._download(request, lines, "text/csv", spreadsheet.HEADERS)

    async def calendar(self, request: Request) -> Response:
        def lines(query: Query) -> Iterator[str]:
            return ics.lines(self._admin.inventory.entries(), query, self._admin.clock(), str(request.base_url))

        return await self._download(request, lines, "text/calendar", ics.HEADERS)

    async def _download(
        self, request: Request, lines: Callable[[Query], Iterator[str]], kind: str, headers: dict[str, str]
    ) -> Response:
        try:
            query = certs.parse(request.query_params, certs.FILTERS)
        except certs.QueryError as exc:
            return problem(400, str(exc))
        async with self._downloading:
            pieces = await asyncio.to_thread(lambda: [*joined(lines(query))])
        return StreamingResponse(each(pieces), headers=headers, media_type=kind)

    async def cert(self, request: Request) -> Response:
        now, entries = self._admin.clock(), self._admin.inventory.entries()
        found = await asyncio.to_thread(certs.detail, entries, request.path_params["cert_id"], now)
        return await in_pieces(lambda: found) if found else problem(404, "No slot holds a certificate with this id.")

    async def check(self, request: Request) -> Response:
        try:
            question, passphrase = preflight.parse(request.query_params), preflight.passphrase_in(request.headers)
        except certs.QueryError as exc:
            return problem(400, str(exc))
        catalog, now = self._admin.catalog, self._admin.clock

        async def answer(body: bytes) -> Response:
            read = reading(body, passphrase=passphrase)
            return await preflight.answer(catalog, self._preflight, question, read, now())

        return await self._with_body(request, "A certificate", answer)

    async def apis(self, _request: Request) -> Response:
        plans = [api.plan for _, api in sorted(self._admin.gateway.apis.items())]
        return await in_pieces(lambda: {"apis": [plan.definition for plan in plans]})

    async def api(self, request: Request) -> Response:
        api = self._admin.gateway.apis.get(request.path_params["api_id"])
        return JSONResponse(api.plan.definition) if api else _no_such_api()

    async def put(self, request: Request) -> Response:
        api_id = request.path_params["api_id"]

        async def loaded(body: bytes) -> Response:
            try:
                created = await self._admin.catalog.put(api_id, body)
            except ConfigError as exc:
                return invalid(exc.problems)
            return JSONResponse(self._admin.gateway.apis[api_id].plan.definition, 201 if created else 200)

        return await self._with_body(request, "A definition", loaded)

    async def delete(self, request: Request) -> Response:
        deleted = await self._admin.catalog.delete(request.path_params["api_id"])
        return Response(status_code=204) if deleted else _no_such_api()

    async def events(self, request: Request) -> Response:
        try:
            query = events.parse(request.query_params)
        except certs.QueryError as exc:
            return problem(400, str(exc))
        found = await self._admin.outbox.recent(query.limit, query.api_id)
        return await in_pieces(lambda: events.page(found))

    async def test_event(self, request: Request) -> Response:
        try:
            api_id, kind = events.parse_test(request.query_params)
        except certs.QueryError as exc:
            return problem(400, str(exc))
        if api_id is not None and api_id not in self._admin.gateway.apis:
            return _no_such_api()
        record = events.test_record(api_id, kind, self._admin.clock())
        names = self._admin.dispatcher.told(api_id, kind)
        if not names:
            return problem(409, "Nobody is told of this event.")
        await self._admin.dispatcher.put(record, names)
        return JSONResponse({"event_id": record.event_id, "handlers": [each.rpartition("/")[2] for each in names]}, 202)

    async def reload(self, _request: Request) -> Response:
        try:
            return JSONResponse(asdict(await self._admin.catalog.reload()))
        except PartlyRefusedError as exc:
            return invalid(exc.problems, **asdict(exc.changes))
        except ConfigError as exc:
            return invalid(exc.problems)

    async def _with_body(self, request: Request, what: str, answer: Callable[[bytes], Awaitable[Response]]) -> Response:
        async with self._bodies:
            try:
                async with asyncio.timeout(_BODY_WITHIN_SECONDS):
                    body = await _body(request)
            except ClientDisconnect:
                return Response(status_code=400)
            except TimeoutError:
                return problem(408, f"The body did not come within {_BODY_WITHIN_SECONDS:g} s.")
            return problem(413, f"{what} has at most 1 MiB.") if body is None else await answer(body)

    async def openapi(self, _request: Request) -> Response:
        return JSONResponse(document())


async def _body(request: Request) -> bytes | None:
    """The request's body; None if it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            return None
    return body


def _no_such_api() -> Response:
    return problem(404, "No API has this id.")
