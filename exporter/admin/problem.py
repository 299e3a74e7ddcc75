"""Errors as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from exporter.problems import Problem

_MOST_ERRORS = 1000
"""More than anybody will read, and less than would hold up the loop."""


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """A problem document. `detail` is for a person; `more` are extension members."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def invalid(problems: Iterable[Problem], **more: Any) -> JSONResponse:
    """422 with every problem of a document, the first thousand."""
    errors = [{"file": each.file, "path": each.path, "message": each.message} for each in problems][:_MOST_ERRORS]
    return problem(422, "The configuration is wrong.", errors=errors, **more)


async def on_http_exception(_request: Request, exc: Exception) -> Response:
    """What the router raises: no such path, no such method."""
    assert isinstance(exc, HTTPException)
    return problem(exc.status_code, exc.detail, headers=dict(exc.headers or {}))


async def on_error(_request: Request, _exc: Exception) -> Response:
    """A bug of ours; its traceback is in the process log."""
    return problem(500, "An internal error; the process log has more.")
