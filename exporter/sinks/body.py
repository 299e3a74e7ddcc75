"""The body of a webhook: the payload as JSON, or what a template makes of it. Whatever names hold, JSON stays JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template
from jinja2.exceptions import TemplateError
from jinja2.runtime import StrictUndefined, Undefined

from exporter.sinks.sandbox import compiled, environment, missing, pieces

_LARGEST = 256 * 1024
_READY_MADE = Path(__file__).parent / "templates"
_SURROGATE = re.compile("[\ud800-\udfff]")


class BodyError(Exception):
    """No body can be made of a payload. The text quotes neither the template nor the payload."""


def ready_made(name: str) -> str:
    """The source of a template that comes with certgauge. Blocks."""
    return (_READY_MADE / f"{name}.json.j2").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Body:
    """How payloads become bodies. Equal if made of the same.

    Raises:
        ValueError: the source is no template.
    """

    source: str | None = field(default=None, repr=False)
    """A template; None: the payload as it is."""
    as_json: bool = True
    """Whether a template makes JSON; if not, values are written as they are."""
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Secrets for the template, by name."""
    _template: Template | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        template = None if self.source is None else _template(self.source, as_json=self.as_json)
        object.__setattr__(self, "_template", template)

    def of(self, payload: Mapping[str, Any]) -> bytes:
        """The body for a payload: ASCII where it is JSON, else UTF-8. Takes a moment: to be called off the loop.

        Raises:
            BodyError: there is none.
        """
        made = _dumped(payload) if self._template is None else self._rendered(self._template, payload)
        if len(made) > _LARGEST:
            raise BodyError("the body is larger than 256 KiB")
        return made.encode()

    def _rendered(self, template: Template, payload: Mapping[str, Any]) -> str:
        values = {**payload, "payload": dict(payload), "vars": _Variables(dict(self.variables))}
        try:
            text = "".join(_bounded(pieces(template, values)))
        except BodyError:
            raise
        except TemplateError as exc:
            raise BodyError(self._without_secrets(f"the template: {exc}")) from None
        except Exception as exc:  # what a template does is its author's business, and may go wrong in any way
            raise BodyError(f"the template failed: {type(exc).__name__}") from None
        return _checked(text) if self.as_json else _SURROGATE.sub("\ufffd", text)

    def _without_secrets(self, text: str) -> str:
        """What went wrong: a name in it may have been taken from a variable."""
        return "the template failed" if any(value in text for _, value in self.variables) else text


class _Json:
    """JSON text that is let through as it is. No text itself: nothing that is made of it is let through."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class _Variables:
    """`vars` in a template. One that is not there is an error, unless a default is given."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __getitem__(self, name: str) -> Any:
        return self._variables[name] if name in self._variables else missing(f"variables.{name}")


@lru_cache(maxsize=256)
def _template(source: str, *, as_json: bool) -> Template:
    """Compiled once for all handlers that use it: thousands of APIs may share one."""
    return compiled(environment(_in_json if as_json else _in_text, _to_json), source)


def _bounded(parts: Iterator[str]) -> Iterator[str]:
    length = 0
    for part in parts:
        length += len(part)
        if length > _LARGEST:
            raise BodyError("the body is larger than 256 KiB")
        yield part


def _in_text(value: Any) -> str:
    """A value as part of plain text."""
    if isinstance(value, StrictUndefined):
        return str(value)
    if value is None or isinstance(value, Undefined):
        return ""
    return _dumped(value) if isinstance(value, bool | dict | list | tuple) else str(value)


def _in_json(value: Any) -> str:
    """A value as part of JSON: within quotes it cannot end the text, whatever it holds. Numbers may do without."""
    return str(value) if isinstance(value, _Json) else _dumped(_in_text(value))[1:-1]


def _to_json(value: Any) -> _Json:
    """A value as JSON, quotes included."""
    return _Json(_dumped(value))


def _dumped(value: Any) -> str:
    """ASCII JSON. Lone surrogates, which most readers of JSON refuse, are replaced."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    return _ascii(_SURROGATE.sub("\ufffd", text))


def _plain(value: Any) -> Any:
    if isinstance(value, StrictUndefined):
        str(value)
    return str(value) if isinstance(value, _Json) else None


def _checked(text: str) -> str:
    """What a template has made, if it is JSON, as ASCII."""
    try:
        return _ascii(text)
    except (ValueError, RecursionError):
        raise BodyError("the template does not make JSON") from None


def _ascii(text: str) -> str:
    return json.dumps(json.loads(text, parse_constant=_refuse), allow_nan=False)


def _refuse(_constant: str) -> NoReturn:
    raise ValueError
