"""The admin listener's OpenAPI document."""

from __future__ import annotations

from functools import cache
from typing import Any

from exporter import __version__
from exporter.certcheck.events import EventKind
from exporter.certcheck.expiry import State
from exporter.certcheck.slot import Role
from exporter.config import ApiDefinition
from exporter.places import ROLES

_API_ID = {"name": "api_id", "in": "path", "required": True, "schema": {"type": "string"}}
_CERT_ID = {
    "name": "cert_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
_OPEN: list[Any] = []


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1. One object, not to be changed."""
    definition = ApiDefinition.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = definition.pop("$defs", {}) | {"ApiDefinition": definition, "Problem": _PROBLEM}
    return {
        "openapi": "3.1.0",
        "info": {"title": "certgauge", "version": __version__, "license": {"name": "Apache-2.0"}},
        "security": [{"token": []}],
        "paths": {path: {**item, **_read(item)} for path, item in _paths().items()},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic", "description": "The token; for GET and HEAD only."},
            },
        },
    }


def _paths() -> dict[str, Any]:
    return {
        "/": {
            "get": {
                **_call(
                    "Every certificate, for a person, where `text/html` is accepted; else what can be asked here.",
                    {"200": _page("The page.", _text("The calls.")), "400": _page("A parameter.")},
                ),
                "parameters": _PAGE_PARAMETERS,
            }
        },
        "/ui/certs/{cert_id}": {
            "get": {
                **_call("A page on one certificate.", {"200": _page("It."), "404": _page("No slot holds it.")}),
                "parameters": [_CERT_ID],
            }
        },
        "/ui/apis/{api_id}": {
            "get": {
                **_call("A page on one API.", {"200": _page("It."), "404": _page("No API has this id.")}),
                "parameters": [_API_ID],
            }
        },
        "/live": {"get": _call("Whether the process answers.", {"200": _text("It does.")}, _OPEN)},
        "/ready": {
            "get": _call("Whether traffic may come.", {"200": _text("It may."), "503": _problem("Not now.")}, _OPEN)
        },
        "/health": {
            "get": _call("The state of the monitor.", {"200": _json("pass or warn"), "503": _json("fail")}, _OPEN)
        },
        "/metrics": {"get": _call("Prometheus or OpenMetrics text.", {"200": _text("All metrics.")}, _OPEN)},
        "/certs": {
            "get": {
                **_call(
                    "A row for each slot, soonest first.", {"200": _json("A page."), "400": _problem("A parameter.")}
                ),
                "parameters": _CERTS_PARAMETERS,
            }
        },
        "/certs.csv": {
            "get": {
                **_call(
                    "The same for a spreadsheet.", {"200": _text("Rows.", "text/csv"), "400": _problem("A parameter.")}
                ),
                "parameters": _FILTERS,
            }
        },
        "/certs.ics": {
            "get": {
                **_call(
                    "A calendar of the expiries, to subscribe to.",
                    {"200": _text("Events.", "text/calendar"), "400": _problem("A parameter.")},
                ),
                "parameters": _FILTERS,
            }
        },
        "/certs/{cert_id}": {
            "get": {
                **_call("One certificate and its slots.", {"200": _json("It."), "404": _problem("No slot holds it.")}),
                "parameters": [_CERT_ID],
            }
        },
        "/certs/check": {
            "post": {
                **_call(
                    "Whether a certificate that is not in use would work, in each place, and until when.",
                    {
                        "200": _json("The certificate, and a row for each place."),
                        "400": _problem("A parameter."),
                        "404": _NO_API,
                        "408": _problem("The body took too long."),
                        "413": _problem("Too large."),
                        "422": _problem("It cannot be read; `reason` says why."),
                    },
                ),
                "parameters": _CHECK_PARAMETERS,
                "requestBody": {
                    "required": True,
                    "description": "PEM, DER or PKCS#12: a certificate, its chain, and its key if it is to be tried.",
                    "content": {"application/octet-stream": {}},
                },
            }
        },
        "/apis": {"get": _call("All definitions, secrets redacted.", {"200": _json("They.")})},
        "/apis/{api_id}": {
            "parameters": [_API_ID],
            "get": _call("One definition, secrets redacted.", {"200": _definition("It."), "404": _NO_API}),
            "put": {
                **_call(
                    "Load or replace an API, until DELETE, a reload that defines it, or restart.",
                    {
                        "200": _definition("Replaced."),
                        "201": _definition("Loaded."),
                        "408": _problem("The body took too long."),
                        "413": _problem("Too large."),
                        "422": _problem("Wrong, with every error."),
                    },
                ),
                "requestBody": {"required": True, **_definition("The definition.")},
            },
            "delete": _call("Unload an API.", {"204": {"description": "Its batcher has stopped."}, "404": _NO_API}),
        },
        "/events": {
            "get": {
                **_call(
                    "What was announced, newest first.",
                    {"200": _json("Events with their deliveries."), "400": _problem("A parameter.")},
                ),
                "parameters": _EVENTS_PARAMETERS,
            }
        },
        "/events/test": {
            "post": {
                **_call(
                    "Send an event that is marked as a test through the handlers of an API, or of the gateway.",
                    {
                        "202": _json("Its id, and who is told."),
                        "400": _problem("A parameter."),
                        "404": _NO_API,
                        "409": _problem("Nobody is told."),
                    },
                ),
                "parameters": _TEST_PARAMETERS,
            }
        },
        "/reload": {
            "post": _call(
                "Read the configuration again.",
                {"200": _json("The ids added, changed and removed."), "422": _problem("Wrong, with every error.")},
            )
        },
        "/openapi.json": {"get": _call("This document.", {"200": _json("It.")})},
    }


def _read(item: dict[str, Any]) -> dict[str, Any]:
    """What only reads takes the token as a password, too."""
    return {"get": {"security": [{"token": []}, {"password": []}], **item["get"]}} if "get" in item else {}


def _call(summary: str, responses: dict[str, Any], security: list[Any] | None = None) -> dict[str, Any]:
    if security is not None:
        return {"summary": summary, "responses": responses, "security": security}
    return {"summary": summary, "responses": responses | {"401": _problem("A bearer token is needed.")}}


def _content(description: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _text(description: str, kind: str = "text/plain") -> dict[str, Any]:
    return _content(description, kind, {"type": "string"})


def _page(description: str, otherwise: dict[str, Any] | None = None) -> dict[str, Any]:
    shown = _text(description, "text/html")
    return {**shown, "content": shown["content"] | (otherwise or {"content": {}})["content"]}


def _json(description: str) -> dict[str, Any]:
    return _content(description, "application/json", {"type": "object"})


def _definition(description: str) -> dict[str, Any]:
    return _content(description, "application/json", {"$ref": "#/components/schemas/ApiDefinition"})


def _problem(description: str) -> dict[str, Any]:
    return _content(description, "application/problem+json", {"$ref": "#/components/schemas/Problem"})


_NO_API = _problem("No API has this id.")

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("file", "path", "message")},
            },
        },
    },
}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


_CHECK_PARAMETERS = [
    _query("api_id", {"type": "string"}),
    _query("role", {"enum": [role.value for role in ROLES]}),
    _query("rehearse", {"enum": ["true", "false"], "default": "false"}),
    {
        "name": "Certgauge-Passphrase",
        "in": "header",
        "description": "Opens the private key, or the PKCS#12 file.",
        "schema": {"type": "string", "format": "password"},
    },
]

_EVENTS_PARAMETERS = [
    _query("api_id", {"type": "string"}),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
]

_TEST_PARAMETERS = [
    _query("api_id", {"type": "string"}),
    _query("event", {"enum": [kind.value for kind in EventKind], "default": EventKind.EXPIRING_SOON.value}),
]

_FILTERS = [
    _query("api_id", {"type": "string"}),
    _query("role", {"enum": [role.value for role in Role]}),
    _query("state", {"enum": [state.value for state in State]}),
    _query("expiring_within_days", {"type": "integer", "minimum": 0, "maximum": 36500}),
    _query("q", {"type": "string"}),
]

_CURSOR = _query("cursor", {"type": "string"})

_PAGE_PARAMETERS = [
    *_FILTERS,
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 200}),
    _CURSOR,
]

_CERTS_PARAMETERS = [
    *_FILTERS,
    _query("sort", {"enum": ["expires_at"]}),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
    _CURSOR,
]
