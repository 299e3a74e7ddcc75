"""Templates become pages that can do nothing but be read: no script, nothing from elsewhere, nothing kept."""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from exporter import __version__
from exporter.admin.page import words
from exporter.certcheck.text import rfc3339

_TEMPLATES = Path(__file__).parent / "templates"

PRIVATE = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Headers of what a browser may be signed in for."""


class Renderer:
    """Makes pages of templates. Reads them when they are first used: to be called off the loop."""

    def __init__(self) -> None:
        style = (_TEMPLATES / "style.css").read_text("utf-8")
        self._headers = {**PRIVATE, "content-security-policy": policy(style), "vary": "accept"}
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "count": words.count,
            "day": words.day,
            "instant": rfc3339,
            "left": words.left,
            "minute": words.minute,
        }
        self._environment.globals = {
            "KINDS": words.KINDS,
            "OUTCOMES": words.OUTCOMES,
            "ROLES": words.ROLES,
            "STATES": words.STATES,
            "style": style,
            "version": __version__,
        }

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page, whatever the names in it hold: half a character (a lone surrogate) is shown as a question mark."""
        text = "".join(self._environment.get_template(f"{template}.html.j2").generate(values))
        content = text.encode("utf-8", "replace")
        return Response(content, status, self._headers, media_type="text/html")


def policy(style: str) -> str:
    """The Content-Security-Policy of a page with this style in it."""
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
