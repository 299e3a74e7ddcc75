"""YAML and JSON documents, read strictly: every key once, every value text that can be shown, environment filled in."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from exporter.problems import ConfigError, Problem, dotted

_MOST_DEPTH = 40
_MOST_VALUES = 200_000
_VARIABLE = re.compile(r"\$(\$?)\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_TAGS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds. Where there are problems, the rest of the value can be looked at all the same."""

    value: Any
    problems: tuple[Problem, ...]
    """Repeated keys, unset variables, and the like."""


class _RefusedError(Exception):
    """It would make too much of too little: the text says of what."""


def read_yaml(text: bytes, file: str, environment: Mapping[str, str]) -> Document:
    """The document in `text`, with `${NAME}` replaced from `environment`; `$${` stands for `${`.

    An unquoted scalar that is a variable and nothing else takes the type of its value, as if it had been written there.

    Raises:
        ConfigError: not YAML, or nothing at all.
    """
    try:
        decoded = text.decode("utf-8-sig")
        _check_depth(decoded)
        loader = yaml.CSafeLoader(decoded)
        try:
            node = loader.get_single_node()
            reader = _Reader(file, environment, loader)
            value = None if node is None else reader.value(node, ())
        finally:
            loader.dispose()
    except _RefusedError as exc:
        raise ConfigError([Problem(file, "", str(exc))]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(file, "", "is not UTF-8")]) from None
    except yaml.MarkedYAMLError as exc:
        where = f"line {exc.problem_mark.line + 1}: " if exc.problem_mark else ""
        raise ConfigError([Problem(file, "", f"is not YAML: {where}{_without_content(exc.problem)}")]) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError([Problem(file, "", "is not YAML")]) from None
    if value is None and not reader.problems:
        # A file that is just being written is empty, too: were that all defaults, a reload would unload every API.
        raise ConfigError([Problem(file, "", "is empty; it must be a mapping, of keys and values")])
    return Document(value, tuple(reader.problems))


def _check_depth(text: str) -> None:
    """Refuse what is nested too deeply before nodes are made of it: that recurses in C, and ends the process."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MOST_DEPTH:
                raise _RefusedError("is nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _without_content(problem: str | None) -> str:
    """The parser's complaint without what it quotes from the file: that may be a secret."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", problem or "cannot be read")


class _Reader:
    """Turns YAML nodes into values, collecting what is wrong with them."""

    def __init__(self, file: str, environment: Mapping[str, str], loader: yaml.CSafeLoader) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._environment = environment
        self._loader = loader
        self._left = _MOST_VALUES

    def value(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        self._left -= 1
        # Aliases: a short file can hold very much, or itself.
        if self._left < 0:
            raise _RefusedError("holds too many values")
        if len(path) > _MOST_DEPTH:
            raise _RefusedError("is nested too deeply")
        if isinstance(node, yaml.CollectionNode) and node.tag not in _PLAIN_TAGS:
            self._problem(path, "has a tag that is not known")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(path, "has a key that is not text")
                continue
            key = key_node.value
            if key_node.tag == "tag:yaml.org,2002:merge":
                self._problem((*path, key), "is not read: there are no merge keys here")
                continue
            if key in values:
                self._problem((*path, key), f"is given twice, again on line {key_node.start_mark.line + 1}")
            values[key] = self.value(value_node, (*path, key))
        return values

    def _scalar(self, node: Any, path: tuple[str | int, ...]) -> Any:
        text = node.value
        if not _is_text(text):
            self._problem(path, "has a character that is not text")
            return None
        filled, alone = self._fill(text, path)
        if not _is_text(filled):
            self._problem(path, "has a character that is not text, from the environment")
            return None
        if filled is not text and alone and not node.style:
            tag = self._loader.resolve(yaml.ScalarNode, filled, (True, False))  # type: ignore[no-untyped-call]
            node = yaml.ScalarNode(tag, filled, node.start_mark, node.end_mark)
        elif filled is not text or node.tag == "tag:yaml.org,2002:str":
            return filled
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._problem(path, "is a value of no known kind")
            return None

    def _fill(self, text: str, path: tuple[str | int, ...]) -> tuple[str, bool]:
        """The text with its variables replaced, and whether it was one variable and nothing else."""

        def replace(match: re.Match[str]) -> str:
            escaped, name, end = match.groups()
            if escaped:
                return "${" + name + end
            if not end:
                self._problem(path, "has ${ without a }; write $${ for a plain ${")
            elif not _NAME.fullmatch(name):
                self._problem(path, "has ${…} around something that is not a variable's name; write $${ for a plain ${")
            elif name not in self._environment:
                self._problem(path, f"needs the environment variable {name}, which is not set")
            return self._environment.get(name, "")

        if "${" not in text:
            return text, False
        return _VARIABLE.sub(replace, text), bool(_VARIABLE.fullmatch(text))

    def _problem(self, path: tuple[str | int, ...], message: str) -> None:
        self.problems.append(Problem(self._file, dotted(path), message))


def value_at(document: Any, *path: str) -> Any:
    """What a document holds at a path. None: nothing is there."""
    for key in path:
        document = mapping_of(document).get(key)
    return document


def mapping_of(value: Any) -> dict[str, Any]:
    """The value, if it is a mapping; else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """The value, if it is a list; else an empty one."""
    return value if isinstance(value, list) else []


def places_of(wanted: Any, document: Any, path: tuple[str | int, ...] = ()) -> Iterable[tuple[str | int, ...]]:
    """Where a value stands in a document."""
    if document == wanted:
        yield path
    for key, item in mapping_of(document).items():
        yield from places_of(wanted, item, (*path, key))
    for index, item in enumerate(list_of(document)):
        yield from places_of(wanted, item, (*path, index))


def read_json(text: bytes, source: str) -> Any:
    """The JSON document in `text`. Variables are not filled in: whoever sends it must not read our environment.

    Raises:
        ConfigError: not JSON, or a repeated key.
    """
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(name for name, _ in items)
        repeated.extend(name for name, count in counts.items() if count > 1)
        return dict(items)

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ConfigError([Problem(source, "", "is not JSON")]) from None
    problems = [Problem(source, dotted([name]) if _is_text(name) else "", "is given twice") for name in repeated]
    problems += [Problem(source, dotted(path), message) for path, message in _unfit(value, ())]
    if problems:
        raise ConfigError(problems)
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _unfit(value: Any, path: tuple[str | int, ...]) -> Iterable[tuple[tuple[str | int, ...], str]]:
    if len(path) > _MOST_DEPTH:
        yield path[:3], "is nested too deeply"
    elif isinstance(value, dict):
        for key, item in value.items():
            if _is_text(key):
                yield from _unfit(item, (*path, key))
            else:
                yield path, "has a key with a character that is not text"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unfit(item, (*path, index))
    elif isinstance(value, str) and not _is_text(value):
        yield path, "has a character that is not text"
    elif isinstance(value, str) and "${" in value:
        yield path, "has ${…}, which is filled in only in files"


def _is_text(text: str) -> bool:
    """Neither lone surrogates nor control characters other than tab and line breaks."""
    return all(c.isprintable() or c in "\t\r\n" for c in text) if not text.isprintable() else True
