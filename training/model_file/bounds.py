"""What a model file may cost before it is read: letters, values with every alias written out, and levels.

YAML lets a few lines stand for billions of values (aliases of aliases) and brackets nest without end; both are seen in the
parser's events, before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from training.errors import SpecProblem

MOST_LETTERS = 256 << 10
MOST_VALUES = 50_000
MOST_LEVELS = 20
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")} | {"!"}


@dataclass(slots=True)
class _Value:
    """A value that is being read: how many values it stands for, how many levels are in it, and which of them comes now."""

    anchor: str | None = None
    is_mapping: bool = False
    size: int = 1
    levels: int = 0
    n_inside: int = 0
    key: str = ""


def first_excess(text: str) -> SpecProblem | None:
    """Return what of a text is beyond a bound, with its line and field; None when all is within.

    Raises
    ------
    yaml.YAMLError
        The text is no YAML.

    Examples
    --------
    >>> print(first_excess("a: 1"), "|", first_excess("a: [" + "[" * 30), "|", first_excess("a: !!python/name:os.system"))
    None | line 1, a...: is nested deeper than 20 levels | line 1, a: has the tag ...python/name:os.system, ...
    """
    if len(text) > MOST_LETTERS:
        return SpecProblem(1, "", f"the file has more than {MOST_LETTERS} letters; that is the limit")
    reading = _Reading()
    return next(reading.problems(text), None)


class _Reading:
    def __init__(self) -> None:
        self._open: list[_Value] = []
        self._known: dict[str, _Value] = {}
        self._n_values = 0

    def problems(self, text: str) -> Iterator[SpecProblem]:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            message = self._take(event)
            if message is not None:
                yield SpecProblem(event.start_mark.line + 1 if event.start_mark else 1, self._field(), message)

    def _take(self, event: yaml.Event) -> str | None:
        if isinstance(event, yaml.CollectionEndEvent):
            self._put(self._open.pop())
        elif isinstance(event, yaml.NodeEvent):
            return self._begin(event)
        return None

    def _begin(self, event: yaml.NodeEvent) -> str | None:
        self._name(event)
        if isinstance(event, yaml.AliasEvent):
            value = self._known.get(str(event.anchor), _Value())
            if any(outer.anchor == event.anchor for outer in self._open):
                return f"the alias *{event.anchor} stands within what it stands for"
        else:
            value = _Value(
                event.anchor, isinstance(event, yaml.MappingStartEvent), levels=int(isinstance(event, yaml.CollectionStartEvent))
            )
            tag = getattr(event, "tag", None)
            if tag is not None and tag not in _PLAIN_TAGS:
                return f"has the tag {tag[:80]}, which means nothing here; write a plain value"
        self._n_values += value.size
        if self._n_values > MOST_VALUES:
            return f"makes more than {MOST_VALUES} values, with its aliases written out"
        if len(self._open) + value.levels > MOST_LEVELS:
            return f"is nested deeper than {MOST_LEVELS} levels"
        if isinstance(event, yaml.CollectionStartEvent):
            self._open.append(value)
        else:
            self._put(value)
        return None

    def _name(self, event: yaml.NodeEvent) -> None:
        """Note of the collection that is open which of its values comes now."""
        if not self._open:
            return
        outer = self._open[-1]
        if not outer.is_mapping:
            outer.key = str(outer.n_inside)
        elif outer.n_inside % 2 == 0:
            outer.key = event.value if isinstance(event, yaml.ScalarEvent) else "?"
        outer.n_inside += 1

    def _put(self, value: _Value) -> None:
        """Count a value that is whole into the one it stands in."""
        if value.anchor is not None:
            self._known[value.anchor] = value
        if self._open:
            outer = self._open[-1]
            outer.size += value.size
            outer.levels = max(outer.levels, value.levels + 1)

    def _field(self) -> str:
        return ".".join(value.key[:40] for value in self._open[:5])
