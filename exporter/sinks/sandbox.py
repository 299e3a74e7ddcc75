"""Templates that can show an event and do nothing else: no files, no methods, no growth, an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NoReturn

from jinja2 import ChainableUndefined, Environment, StrictUndefined, Template, nodes
from jinja2.exceptions import SecurityError, TemplateAssertionError, TemplateSyntaxError
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from exporter.certcheck.text import rfc3339

_MOST_ROUNDS = 10_000
_LONGEST_RANGE = 1000
_LARGEST_FACTOR = 1 << 64
_STEP = "_step"

_FILTERS = (
    "capitalize", "d", "default", "dictsort", "e", "escape", "first", "float", "int", "items", "join", "last", "length",
    "list", "lower", "map", "reject", "rejectattr", "replace", "select", "selectattr", "sort", "string", "title",
    "trim", "truncate", "unique", "upper", "urlencode",
)  # fmt: skip
_MAPPING_METHODS = frozenset({"get", "items", "keys", "values"})

# They write past the escaping of expressions, read files, or call themselves.
_REFUSED: dict[type[nodes.Node], str] = {
    nodes.AssignBlock: "a set block",
    nodes.Block: "block",
    nodes.CallBlock: "call",
    nodes.Extends: "extends",
    nodes.FilterBlock: "a filter block",
    nodes.FromImport: "import",
    nodes.Import: "import",
    nodes.Include: "include",
    nodes.Macro: "macro",
    nodes.ScopedEvalContextModifier: "autoescape",
}


@dataclass(slots=True)
class _Rounds:
    """How often loops may go round in one rendering, all of them together."""

    left: int = _MOST_ROUNDS

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise SecurityError("loops go round too often")


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        known = isinstance(obj, LoopContext | Undefined) or (isinstance(obj, Mapping) and attr in _MAPPING_METHODS)
        return known and super().is_safe_attribute(obj, attr, value)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Loud: what is only missing is empty."""
        return StrictUndefined(f"{attribute!r} cannot be used", obj=obj, name=attribute, exc=SecurityError)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """A short expression must not make a long value."""
        numbers = all(isinstance(each, int | float) and abs(each) < _LARGEST_FACTOR for each in (left, right))
        if operator == "**" or not numbers:
            raise SecurityError(f"{operator!r} cannot be used here")
        return super().call_binop(context, operator, left, right)


def environment(finalize: Callable[[Any], str], tojson: Callable[[Any], Any]) -> Environment:
    """An environment whose expressions all go through `finalize`; `tojson` makes what it lets through."""
    made = _Sandbox(
        undefined=ChainableUndefined, finalize=finalize, keep_trailing_newline=False, autoescape=False, cache_size=0
    )
    made.filters = {name: made.filters[name] for name in _FILTERS}
    made.filters |= {"tojson": tojson, "sha256": _digest, "later": _later}
    made.globals = {"range": _range}
    return made


def compiled(made: Environment, source: str) -> Template:
    """A template, with its loops counted.

    Raises:
        ValueError: it is none, with the line; nothing of it is quoted.
    """
    try:
        tree = made.parse(source)
        for kind, what in _REFUSED.items():
            _refuse(tree.find(kind), what)
        for loop in list(tree.find_all(nodes.For)):
            _refuse(loop if loop.recursive else None, "a recursive loop")
            loop.body.insert(0, _counted(loop.lineno))
        return made.from_string(tree)
    except TemplateAssertionError as exc:
        # It names a filter or a test; the other errors quote what stands there.
        raise ValueError(f"line {exc.lineno}: {(exc.message or '').rstrip('.').lower()}") from None
    except TemplateSyntaxError as exc:
        raise ValueError(f"line {exc.lineno}: is not a template") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except SecurityError as exc:
        raise ValueError(str(exc)) from None


def pieces(template: Template, values: Mapping[str, Any]) -> Iterator[str]:
    """What a template makes, bit by bit. Raises anything."""
    yield from template.generate(values, **{_STEP: _Rounds().step})


def missing(name: str) -> StrictUndefined:
    """Stands for a value that a template cannot do without."""
    return StrictUndefined(f"needs {name}")


def _refuse(node: nodes.Node | None, what: str) -> None:
    if node is not None:
        raise SecurityError(f"line {node.lineno}: has {what}, which templates here do not have")


def _counted(line: int) -> nodes.Node:
    name = nodes.Name(_STEP, "load")
    return nodes.ExprStmt(nodes.Call(name, [], [], None, None)).set_lineno(line)


def _range(*args: int) -> range:
    made = range(*args)
    if len(made) > _LONGEST_RANGE:
        _too_long()
    return made


def _too_long() -> NoReturn:
    raise SecurityError(f"a range is longer than {_LONGEST_RANGE}")


def _digest(value: Any) -> str:
    """The hexadecimal SHA-256 of a text, where a receiver takes no longer one."""
    return sha256(str(value).encode("utf-8", "replace")).hexdigest()


def _later(timestamp: str, hours: float) -> str:
    """An instant of the payload, moved."""
    return rfc3339(datetime.fromisoformat(timestamp) + timedelta(hours=hours))
