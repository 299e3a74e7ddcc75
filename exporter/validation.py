"""From a document to a model, or to every problem it has: where, what, and the likely correction. Never the value."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from exporter.documents import list_of, mapping_of, value_at
from exporter.problems import ConfigError, Problem, dotted

M = TypeVar("M", bound=BaseModel)
Steps: TypeAlias = tuple[str | int, ...]
"""The way to a value in a document: keys and indexes."""

_SENTENCES = {
    "missing": "is required",
    "bool_type": "must be true or false",
    "string_type": 'must be text; put "quotes" around it',
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "dict_type": "must be a mapping, of keys and values",
    "list_type": "must be a list",
    "model_type": "must be a mapping, of keys and values",
    "model_attributes_type": "must be a mapping, of keys and values",
    "union_tag_not_found": "must be a file name or the definition of an API",
    "finite_number": "must be a finite number",
}
_TEMPLATES = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must be 1 to 128 of the characters A-Z a-z 0-9 . _ -",
}


_REFERENCES = (
    ("proxy", "tls", "certificate"),
    ("proxy", "tls", "client_ca"),
    ("admin", "tls", "certificate"),
    ("upstream_ca",),
)
_FILES_OF_WEBHOOKS = ("secret_file", "secret_files", "template_file")


def validate(model: type[M], document: Any, file: str) -> M:
    """The document as a model.

    Raises:
        ConfigError: with everything that is wrong.
    """
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        raise ConfigError(Problem(file, dotted(_path(e)), _sentence(model, e)) for e in errors) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where one of the known words is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown_references(document: Any, known: Any, file: str, base: Steps = ()) -> Iterator[Problem]:
    """A problem for each place where a document, right or wrong otherwise, names a certificate that is not there."""
    if not isinstance(known, Mapping | None):
        return
    for path, name in _references(document):
        if isinstance(name, str) and name not in (known or {}):
            message = f"no certificate is named {name!r}{did_you_mean(name, known or {})}"
            yield Problem(file, dotted((*base, *path)), message)


def named_files(document: Any, source: str) -> Iterator[Problem]:
    """A problem for each file that a definition in a request has read for webhooks.

    What is read there is sent where the definition says: whoever sends one must not get at our files.
    """
    for path, webhook in _webhooks(document):
        for key in (each for each in _FILES_OF_WEBHOOKS if each in mapping_of(webhook)):
            yield Problem(source, dotted((*path, key)), "can be given in a file only, not in a request")


def _references(document: Any) -> Iterator[tuple[Steps, Any]]:
    """Where the gateway's file or a definition names certificates."""
    for path in _REFERENCES:
        yield path, value_at(document, *path)
    for pattern, name in mapping_of(value_at(document, "upstream_certificates")).items():
        yield ("upstream_certificates", pattern), name
    for index, name in enumerate(list_of(value_at(document, "client_certificates"))):
        yield ("client_certificates", index), name
    for steps, webhook in _webhooks(document):
        yield (*steps, "ca"), value_at(webhook, "ca")


def _webhooks(document: Any) -> Iterator[tuple[Steps, Any]]:
    for event, handlers in mapping_of(value_at(document, "event_handlers")).items():
        for index, handler in enumerate(list_of(handlers)):
            yield ("event_handlers", event, index, "webhook"), value_at(handler, "webhook")


def _path(error: ErrorDetails) -> Steps:
    path = error["loc"]
    if path[:1] == ("apis",):
        # The library puts the kind of the item behind its index.
        path = path[:2] + path[3:]
    return path[:-1] if path[-1:] == ("[key]",) else path


def _sentence(model: type[BaseModel], error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        *parents, key = _path(error)
        known = _keys(model, tuple(parents))
        return f"is not a known key{did_you_mean(str(key), known) or _listing(known)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_type" and isinstance(error["input"], list | dict | None):
        return "must be text"
    if kind == "string_too_short" and context["min_length"] == 1:
        return "must not be empty"
    if kind in _TEMPLATES:
        return _TEMPLATES[kind].format(**{name: _plain(value) for name, value in context.items()})
    return _SENTENCES.get(kind, "has a wrong value")


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _listing(known: Collection[str]) -> str:
    return f"; known here: {', '.join(sorted(known))}" if known else ""


def _keys(model: type[BaseModel], path: Steps) -> Collection[str]:
    """The keys that the model knows at a path in its document."""
    annotations: list[Any] = [model]
    for step in path:
        annotations = [inner for each in annotations for inner in _inside(each, step)]
    models = [each for each in annotations if isinstance(each, type) and issubclass(each, BaseModel)]
    return [name for each in models for name in each.model_fields]


def _inside(annotation: Any, step: str | int) -> list[Any]:
    """What an annotation holds under a key or index, unions and `Annotated` taken apart."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(step))
        return _alternatives(field.annotation) if field else []
    if get_origin(annotation) in {dict, list}:
        return _alternatives(get_args(annotation)[-1])
    return []


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) in {Union, types.UnionType}:
        return [inner for each in get_args(annotation) for inner in _alternatives(each)]
    if hasattr(annotation, "__metadata__"):
        return _alternatives(annotation.__origin__)
    return [annotation]
