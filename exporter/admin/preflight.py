"""`/certs/check`: a certificate that is not in use, held against the places it could be used in."""

from __future__ import annotations

from datetime import datetime

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from exporter.admin.certs import QueryError, known_only, one_of
from exporter.admin.pieces import in_pieces
from exporter.admin.problem import problem
from exporter.catalog import Catalog
from exporter.certcheck.slot import Role
from exporter.certificates.contents import UnusableError
from exporter.places import ROLES, Question, places
from exporter.preflight import Preflight, Read

PASSPHRASE = "certgauge-passphrase"  # noqa: S105 the name of a field

_PARAMETERS = frozenset({"api_id", "role", "rehearse"})


def parse(parameters: QueryParams) -> Question:
    """The question.

    Raises:
        QueryError: a parameter is unknown, repeated, or has a wrong value.
    """
    known_only(parameters, _PARAMETERS)
    return Question(
        parameters.get("api_id"),
        Role(one_of("role", parameters["role"], ROLES)) if "role" in parameters else None,
        one_of("rehearse", parameters.get("rehearse", "false"), ("true", "false")) == "true",
    )


def passphrase_in(headers: Headers) -> bytes:
    """The passphrase, byte for byte; empty where none is given.

    Raises:
        QueryError: there are several.
    """
    values = headers.getlist(PASSPHRASE)
    if len(values) > 1:
        raise QueryError("Certgauge-Passphrase is given twice")
    return values[0].encode("latin-1") if values else b""


async def answer(catalog: Catalog, preflight: Preflight, question: Question, read: Read, now: datetime) -> Response:
    """The document, or why there is none."""
    serving = catalog.serving
    if serving is None:
        return problem(503, "The configuration is still being loaded.")
    if question.api_id is not None and question.api_id not in serving.plans:
        return problem(404, "No API has this id.")
    every = list(places(serving.plans, serving.listeners, question))
    try:
        found = await preflight.answer(read, every, question, now)
    except UnusableError as exc:
        return problem(422, str(exc), reason=exc.reason.value)
    return await in_pieces(found.document)
