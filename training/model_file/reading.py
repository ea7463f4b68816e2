"""From the text of a model file to checked values, with the line and field of every mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from textwrap import shorten
from typing import Any

import yaml

from training.clock import format_duration
from training.errors import SpecError, SpecProblem
from training.model_file.bounds import first_excess
from training.model_file.keys import ModelKeys
from training.policies import LabelPolicy, RetentionPolicy, TrainingPolicy, WatchingPolicy

_Path = tuple[str, ...]
_ONLY_WANTED = ("Not a valid", "Must be", "Shorter than", "Longer than", "Length must", "Invalid input")
_BOOLEAN, _DATE = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a boolean, and no dates: a class ``no`` stays ``no``, a time stays text."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Name the place of a value that is not what its tag says, such as a whole number of too many digits."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError) as error:
            raise yaml.constructor.ConstructorError(None, None, str(error) or "it is not what its tag says", node.start_mark) from error


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOLEAN, _DATE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read_model_file(text: str, source: str, *, stored: bool = False) -> dict[str, Any]:
    """Return the written parts of a model file as the arguments of a ``ModelSpec``; what is absent has its default.

    Parameters
    ----------
    stored
        Whether the text was accepted before: rules that came later are not applied.

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
    errors = keys.validate(written := _construct(node, lines, source))
    problems += [
        SpecProblem(_line(path, lines), ".".join(path), _with_got(message, path, written)) for path, message in _flatten(errors, lines)
    ]
    if not stored:
        problems += _reserved_names(written, lines)
    if problems:
        raise SpecError(sorted(problems, key=lambda p: (p.line, p.field)), source)
    loaded: dict[str, Any] = keys.load(written)
    if not stored and (later := list(_later_rules(loaded))):
        raise SpecError([SpecProblem(_line(path, lines), ".".join(path), message) for path, message in later], source)
    return {key: value for key, value in loaded.items() if value is not None}


def _with_got(message: str, path: _Path, written: Any) -> str:
    """Add what was written to a message of marshmallow's own, which only says what is wanted.

    Examples
    --------
    >>> _with_got("Not a valid list.", ("tune", "depth"), {"tune": {"depth": 4}})
    'Not a valid list; got 4'
    """
    if not message.startswith(_ONLY_WANTED):
        return message
    for key in path:
        if isinstance(written, Mapping) and key in written:
            written = written[key]
        elif isinstance(written, list) and key.isdigit() and int(key) < len(written):
            written = written[int(key)]
        else:
            return message
    return f"{message.rstrip('.')}; got {shorten(repr(written), 80, placeholder=' ...')}"


def _later_rules(loaded: Mapping[str, Any]) -> Iterator[tuple[_Path, str]]:
    """Yield what makes no sense together, by field: labels that all come too late, rows that no look sees, or that are gone before it."""
    labels, watching = loaded.get("labels") or LabelPolicy(), loaded.get("watching") or WatchingPolicy()
    if labels.delay is not None and labels.delay > labels.too_late:
        yield (
            ("labels", "delay"),
            f"{format_duration(labels.delay)} is beyond too_late ({format_duration(labels.too_late)}): no label would count",
        )
    window, every = format_duration(watching.window), format_duration(watching.every)
    if watching.window < watching.every:
        message = f"{window} is under a slot, which is as long as every ({every}): rows between two windows would never be looked at"
        yield ("watching", "window"), message
    if watching.promise < watching.every:
        yield ("watching", "promise"), f"{format_duration(watching.promise)} is under a slot ({every}): every look might be a false alarm"
    yield from _forgotten(labels, loaded.get("training") or TrainingPolicy(), watching, loaded.get("retention") or RetentionPolicy())


def _forgotten(
    labels: LabelPolicy, training: TrainingPolicy, watching: WatchingPolicy, retention: RetentionPolicy
) -> Iterator[tuple[_Path, str]]:
    """Yield the spans that are longer than the log keeps rows."""
    kept, window = f"retention.log ({format_duration(retention.log)})", format_duration(watching.window)
    is_classic = watching.drift.rule == "classic"
    if watching.window * (2 if is_classic else 1) > retention.log:
        looked_at = f"twice {window}, which rule: classic looks at, is" if is_classic else f"{window} is"
        yield ("watching", "window"), f"{looked_at} beyond {kept}: rows would be gone before the look at them"
    elif labels.delay is not None and labels.delay + watching.window > retention.log:
        together = f"{format_duration(labels.delay)} and watching.window ({window}) are together beyond {kept}"
        yield ("labels", "delay"), f"{together}: rows would be gone before their labels count"
    reference = watching.drift.reference
    if isinstance(reference, timedelta) and reference > retention.log:
        yield (
            ("watching", "drift", "reference"),
            f"{format_duration(reference)} is beyond {kept}: its first rows would be gone before its last",
        )
    if training.window is not None and training.window > retention.log:
        yield (
            ("training", "window"),
            f"{format_duration(training.window)} is beyond {kept}: rows would be gone before they are learned from",
        )


def _reserved_names(written: Any, lines: Mapping[_Path, int]) -> Iterator[SpecProblem]:
    """Yield the features whose names mean something else in requests and tables."""
    schema = written.get("schema") if isinstance(written, dict) else None
    features = schema.get("features") if isinstance(schema, dict) else None
    for name in features if isinstance(features, dict) else ():
        if name == "_id" or name.startswith("@"):
            meaning = "the caller's own id of a row" if name == "_id" else "a column that is added to tables"
            path = ("schema", "features", name)
            yield SpecProblem(_line(path, lines), ".".join(path), f"names {meaning}; no feature can be called that")


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        excess = first_excess(text)
        if excess is not None:
            raise SpecError([excess], source)
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        message = getattr(error, "problem", None) or str(error)
        raise SpecError([SpecProblem(mark.line + 1 if mark else 1, "", f"is no YAML: {message}")], source) from error
    return node


def _construct(node: yaml.Node, lines: Mapping[_Path, int], source: str) -> Any:
    try:
        return _text_keys(_Loader("").construct_document(node))
    except yaml.constructor.ConstructorError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        path = max((path for path in lines if lines[path] <= line), key=lambda path: lines[path], default=())
        raise SpecError([SpecProblem(line, ".".join(path), f"cannot be read: {error.problem}")], source) from error


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _text_keys(inner) for key, inner in value.items()}
    return [_text_keys(inner) for inner in value] if isinstance(value, list) else value


def _walk(node: yaml.Node | None, path: _Path, lines: dict[_Path, int]) -> Iterator[SpecProblem]:
    """Enter the line of every field into `lines`; yield the keys that are written twice."""
    if isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            inner = (*path, str(key.value))
            line = key.start_mark.line + 1
            if inner in keys:
                yield SpecProblem(line, ".".join(inner), f"is given twice (first in line {lines[inner]})")
                continue
            keys.add(inner)
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
