"""From the text of a model file to checked values, with the line and field of every mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from training.errors import SpecError, SpecProblem
from training.filekeys import ModelKeys

_Path = tuple[str, ...]
_BOOLEAN, _DATE = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a boolean, and no dates: a class ``no`` stays ``no``, a time stays text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOLEAN, _DATE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read_model_file(text: str, source: str) -> dict[str, Any]:
    """Return the given parts of a model file as the arguments of a ``ModelSpec``; what is absent has its default.

    Raises
    ------
    SpecError
        With line, field and message of every mistake.
    """
    node = _compose(text, source)
    lines: dict[_Path, int] = {}
    problems = list(_walk(node, (), lines))
    if not isinstance(node, yaml.MappingNode):
        raise SpecError([SpecProblem(1, "", "a model file is a mapping of keys such as model: and schema:")], source)
    keys = ModelKeys()
    errors = keys.validate(written := _construct(text))
    problems += [SpecProblem(_line(path, lines), ".".join(path), message) for path, message in _flatten(errors, lines)]
    if problems:
        raise SpecError(sorted(problems, key=lambda p: (p.line, p.field)), source)
    loaded: dict[str, Any] = keys.load(written)
    return {key: value for key, value in loaded.items() if value is not None}


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        message = getattr(error, "problem", None) or str(error)
        raise SpecError([SpecProblem(mark.line + 1 if mark else 1, "", f"is no YAML: {message}")], source) from error
    return node


def _construct(text: str) -> Any:
    return _text_keys(yaml.load(text, Loader=_Loader))


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _text_keys(inner) for key, inner in value.items()}
    return [_text_keys(inner) for inner in value] if isinstance(value, list) else value


def _walk(node: yaml.Node | None, path: _Path, lines: dict[_Path, int]) -> Iterator[SpecProblem]:
    """Note the line of every field in `lines`; yield the keys that are given twice."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            inner = (*path, str(key.value))
            line = key.start_mark.line + 1
            if inner in seen:
                yield SpecProblem(line, ".".join(inner), f"is given twice (first in line {lines[inner]})")
                continue
            seen.add(inner)
            lines[inner] = line
            yield from _walk(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            lines[(*path, str(place))] = value.start_mark.line + 1
            yield from _walk(value, (*path, str(place)), lines)


def _line(path: _Path, lines: Mapping[_Path, int]) -> int:
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 1)


def _flatten(errors: Any, lines: Mapping[_Path, int], path: _Path = ()) -> Iterator[tuple[_Path, str]]:
    """Turn marshmallow's nested messages into (path, message); its extra levels of a Dict field are left out."""
    if isinstance(errors, Mapping):
        for key, inner in errors.items():
            extra = key == "_schema" or (key in ("key", "value") and (*path, key) not in lines)
            yield from _flatten(inner, lines, path if extra else (*path, str(key)))
    else:
        for message in errors if isinstance(errors, list) else [errors]:
            if isinstance(message, Mapping):
                yield from _flatten(message, lines, path)
            else:
                yield path, str(message)
