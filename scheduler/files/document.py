"""YAML and JSON files that people write, with the line of every key, so that errors can name it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from probe.errors import BadInputError, SourceUnreadableError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.sources.files import read_text_file

Model = TypeVar("Model", bound=BaseModel)

_MAX_VALUES = 2_000_000
"""Values in one document, aliases expanded: a "billion laughs" is refused, a fleet of 200,000 entries passes."""

_MAX_DEPTH = 32
"""Nesting of one document; PyYAML recurses, and the faster one in C dies of 200,000 brackets (measured)."""

_LOADERS = (getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader)
"""The fast one first; what it refuses, such as `[sysfs:]`, the other may read, and names better."""

_SURPRISING = re.compile(r"[-+]?(0[0-7_]+|[0-9_]+(:[0-9_]+)+)", re.ASCII)
"""What YAML 1.1 takes for an octal number or one to the base of 60: `010` is 8 there, `1:30` is 90."""


class FileInvalidError(BadInputError):
    """A file that a person wrote does not follow its schema."""

    def __init__(self, origin: str, line: int | None, key: str, message: str, *, advice: str = "") -> None:
        where = origin if line is None else f"{origin}:{line}"
        super().__init__(f"{where}: {key}: {message}" if key else f"{where}: {message}", advice=advice)
        self.origin, self.line, self.key = origin, line, key


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its plain value, and the tree of marks that tells the line of a key."""

    origin: str
    value: Any
    root: yaml.Node | None

    def line_of(self, path: Sequence[int | str]) -> int | None:
        """Line (from 1) of the deepest part of `path` that the file really has."""
        node, line = self.root, None
        for step in path:
            if node is not None and line is None:
                line = node.start_mark.line + 1
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        return line if line is not None or self.root is None else self.root.start_mark.line + 1

    def error(self, path: Sequence[int | str], message: str, *, advice: str = "") -> FileInvalidError:
        """The error for the value at `path`."""
        return FileInvalidError(
            self.origin, self.line_of(path), ".".join(str(step) for step in path), message, advice=advice
        )

    def validate(self, model: type[Model]) -> Model:
        """The document as `model`. Raises `FileInvalidError` with the first wrong line and key."""
        try:
            return model.model_validate(self.value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = [step for step in first["loc"] if not str(step).startswith("function-")]
            found = "" if first["type"] in ("missing", "extra_forbidden") else f", got {str(first['input'])[:80]!r}"
            more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
            message = first["msg"].removeprefix("Value error, ").rstrip(".")
            raise self.error(path, f"{message}{found}{more}.", advice=_advice(first["type"], model)) from error


def read_own_file(path: Path, *, limits: ReadLimits = DEFAULT_LIMITS) -> str:
    """The text of a file that the user named; that it is not there is the user's error, no host's."""
    try:
        return read_text_file(path, limits=limits)
    except SourceUnreadableError as error:
        raise FileInvalidError(str(path), None, "", f"cannot be read: {error.why}.", advice=error.advice) from error


def read_document(path: Path, *, limits: ReadLimits = DEFAULT_LIMITS) -> Document:
    """Read a `.json` file as JSON, any other as YAML."""
    return parse_document(read_own_file(path, limits=limits), origin=str(path), is_json=path.suffix == ".json")


def parse_document(text: str, *, origin: str, is_json: bool = False) -> Document:
    """Parse YAML (safe: no tags run anything) or JSON.

    Raises:
        FileInvalidError: not well-formed, a key twice, nested too deep, or too large.
    """
    if is_json:
        value = _parse_json(text, origin)
        text = text.replace("\t", " ")  # JSON has tabs between tokens only, YAML has none there
    try:
        loader, root = _composed(text, origin)
        if not is_json:
            value = loader.construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FileInvalidError(
            origin,
            mark.line + 1 if mark else None,
            "",
            f"not well-formed YAML: {error.problem or error.context}.",
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise FileInvalidError(origin, None, "", f"not well-formed YAML: {error}.") from error
    except RecursionError:
        raise FileInvalidError(origin, None, "", "nested too deep.") from None
    return Document(origin, value, root)


def _parse_json(text: str, origin: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileInvalidError(origin, error.lineno, "", f"not well-formed JSON: {error.msg}.") from error
    except RecursionError:
        raise FileInvalidError(origin, None, "", "nested too deep.") from None


def _composed(text: str, origin: str) -> tuple[Any, yaml.Node | None]:
    """The tree of a document that is neither too deep nor too large, and the loader that made it."""
    for loader_class in _LOADERS:
        try:
            has_aliases = _check_depth(text, origin, loader_class)
            loader = loader_class(text)
            root: yaml.Node | None = loader.get_single_node()
            break
        except yaml.MarkedYAMLError:
            if loader_class is _LOADERS[-1]:
                raise
    if root is not None:
        _check_tree(root, origin, has_aliases=has_aliases)
    return loader, root


def _check_depth(text: str, origin: str, loader_class: Any) -> bool:
    """Refuse what is nested too deep before anything recurses; whether there are aliases."""
    depth, has_aliases = 0, False
    for event in yaml.parse(text, Loader=loader_class):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        has_aliases = has_aliases or isinstance(event, yaml.AliasEvent)
        if depth > _MAX_DEPTH:
            raise _too_deep(origin, event.start_mark.line + 1 if event.start_mark else None)
    return has_aliases


def _too_deep(origin: str, line: int | None) -> FileInvalidError:
    return FileInvalidError(origin, line, "", f"nested deeper than {_MAX_DEPTH} levels.")


def _check_tree(root: yaml.Node, origin: str, *, has_aliases: bool) -> None:
    """Refuse keys that stand twice, numbers that are not what they look like, and too much once expanded."""
    count = 0
    stack: list[tuple[yaml.Node, int]] = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        count += 1
        line = node.start_mark.line + 1
        if depth > _MAX_DEPTH:
            raise _too_deep(origin, line)
        if count > _MAX_VALUES:
            how = ", its aliases expanded" if has_aliases else ""
            advice = "Maybe give guests that are alike one entry with `count`."
            raise FileInvalidError(origin, line, "", f"more than {_MAX_VALUES} values{how}.", advice=advice)
        if isinstance(node, yaml.ScalarNode):
            _check_number(node, origin)
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node, origin)
        stack.extend((child, depth + 1) for child in _children(node))


def _check_number(node: yaml.ScalarNode, origin: str) -> None:
    if node.tag == "tag:yaml.org,2002:int" and _SURPRISING.fullmatch(node.value):
        raise FileInvalidError(
            origin,
            node.start_mark.line + 1,
            "",
            f"{node.value} is another number in YAML 1.1 than it looks like.",
            advice="Maybe write it without the leading zero or the colon, or in quotes if it is text.",
        )


def _check_keys(node: yaml.MappingNode, origin: str) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if str(key.value) in seen:
            raise FileInvalidError(origin, line, str(key.value), f"stands twice, first on line {seen[key.value]}.")
        seen[str(key.value)] = line


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _child(node: yaml.Node | None, step: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child.start_mark.line + 1, child
    return None


def _advice(error_type: str, model: type[BaseModel]) -> str:
    if error_type == "extra_forbidden":
        by_default = f"numaplace schema {model.__name__.removesuffix('File').lower()}"
        return f"Maybe a misspelt key: `{getattr(model, 'keys_listed_by', by_default)}` lists all keys."
    return ""
