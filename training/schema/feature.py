"""One input column: its kind, its bounds, and what becomes of values that do not fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from training.schema.spellings import INFINITE, is_infinite_word, is_missing_word
from training.schema.times import TimeFormat, time_format

Kind = Literal["numeric", "integer", "boolean", "categorical", "datetime"]
KINDS: tuple[Kind, ...] = ("numeric", "integer", "boolean", "categorical", "datetime")
DATE_PARTS = ("hour", "minute", "weekday", "day", "dayofyear", "week", "month", "quarter", "year")
MAX_LETTERS = 10_000
"""The longest text of a category; a service may be set to take less or more."""
_LATER_KEYS = ("missing", "format", "zone", "monotonic")


class Violation(NamedTuple):
    """Rows (positions) of one feature that break one rule, and what was wanted instead."""

    code: Literal["missing", "not_an_integer", "not_a_boolean", "out_of_range", "unknown_category", "too_long"]
    rows: npt.NDArray[np.intp]
    wanted: str


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column, and what becomes of values that do not fit.

    Attributes
    ----------
    nullable
        Whether a row may leave it out or send null.
    minimum, maximum
        Inclusive bounds; for ``datetime`` in epoch seconds. None means unbounded.
    categories
        The declared categories; None means that each version learns its own.
    unknown
        A category that is not declared is encoded as *rare* or refused.
    out_of_range
        A value out of bounds is accepted as it is, clipped to the bound or refused.
    derive
        The parts a ``datetime`` is turned into for the model.
    missing
        Texts of a category that mean missing; of a number ``inf`` alone, for its infinite values.
    format, zone
        How a ``datetime`` is written (None: ISO 8601, or seconds since 1970) and where its clock stood (None: UTC); a number may be
        written in ``percent``.
    monotonic
        Which way the answer (of two classes the probability of the positive one) goes as the value goes up; None for any.
    """

    name: str
    kind: Kind
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    unknown: Literal["encode", "error"] = "encode"
    out_of_range: Literal["error", "clip", "accept"] = "accept"
    derive: tuple[str, ...] = ("hour", "weekday", "month")
    missing: tuple[str, ...] = ()
    format: str | None = None
    zone: str | None = None
    monotonic: Literal["increasing", "decreasing"] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object; keys that came later are left out where they are not set, so that older hashes stay valid."""
        whole = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in whole.items() if value or key not in _LATER_KEYS}

    @property
    def is_number(self) -> bool:
        """Whether its column is float64 (everything but a category)."""
        return self.kind != "categorical"

    @property
    def drops_infinite(self) -> bool:
        """Whether an infinite number means that nothing is known."""
        return self.kind != "categorical" and INFINITE in self.missing

    @property
    def missing_texts(self) -> frozenset[str]:
        """The texts that mean missing in a category: the empty one, wherever it comes from, and those that are listed."""
        return frozenset(("", *self.missing))

    def means_missing(self, text: str) -> bool:
        """Return whether a text says that the value is not known."""
        if self.kind == "categorical":
            return not text or text in self.missing
        return is_missing_word(text) or (self.drops_infinite and is_infinite_word(text))

    @property
    def times(self) -> TimeFormat:
        """How the times of a ``datetime`` are written."""
        return time_format(self.format, self.zone)

    @property
    def wanted(self) -> str:
        """Return in words what a value must look like.

        Examples
        --------
        >>> Feature("temp", "numeric", minimum=-40, maximum=60, out_of_range="error").wanted
        'a number between -40 and 60'
        """
        noun = {
            "numeric": "a number",
            "integer": "a whole number",
            "boolean": "true or false",
            "categorical": "a string",
            "datetime": "a time (ISO 8601)" if self.format is None else f"a time ({self.format})",
        }[self.kind]
        if self.kind == "categorical" and self.categories and self.unknown == "error":
            noun = "one of " + ", ".join(self.categories)
        bounds = self._bounds() if self.out_of_range == "error" else ""
        return noun + bounds + (" or null" if self.nullable else "")

    def _bounds(self) -> str:
        low, high = (None if b is None else f"{b:g}" for b in (self.minimum, self.maximum))
        if low and high:
            return f" between {low} and {high}"
        return f" of at least {low}" if low else f" of at most {high}" if high else ""

    def violations(self, values: npt.NDArray[Any]) -> list[Violation]:
        """Return which rows of a converted column break which rule; an empty list when all is well.

        Parameters
        ----------
        values
            The column as in `Columns`: float64, or object of str and None for a category.
        """
        if self.is_number:
            return self._number_violations(values)
        broken = [] if self.nullable else [("missing", np.array([v is None for v in values.tolist()]))]
        if self.unknown == "error" and self.categories is not None:
            known = set(self.categories)
            unknown = np.array([v is not None and v not in known for v in values.tolist()])
            broken.append(("unknown_category", unknown))
        long = {value for value in set(values.tolist()) if value is not None and len(value) > MAX_LETTERS}
        too_long = [place for place, value in enumerate(values.tolist()) if value in long] if long else []
        long_ones = [Violation("too_long", np.array(too_long), f"a string of at most {MAX_LETTERS:,} letters")] if too_long else []
        return self._violations(broken) + long_ones

    def _number_violations(self, values: npt.NDArray[Any]) -> list[Violation]:
        broken: list[tuple[Any, npt.NDArray[Any]]] = [] if self.nullable else [("missing", np.isnan(values))]
        if self.kind == "integer":
            broken.append(("not_an_integer", (values != np.floor(values)) & ~np.isnan(values)))
        if self.kind == "boolean":
            broken.append(("not_a_boolean", (values != 0) & (values != 1) & ~np.isnan(values)))
        if self.out_of_range == "error":
            broken.append(("out_of_range", self.outside(values)))
        return self._violations(broken)

    def _violations(self, broken: list[tuple[Any, npt.NDArray[Any]]]) -> list[Violation]:
        return [Violation(code, np.flatnonzero(mask), self.wanted) for code, mask in broken if mask.any()]

    def outside(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return a mask of the values below the minimum or above the maximum; missing ones are inside."""
        low = -np.inf if self.minimum is None else self.minimum
        high = np.inf if self.maximum is None else self.maximum
        return (values < low) | (values > high)

    def clipped(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the column as the model shall see it: clipped to the bounds when the feature says so."""
        if self.out_of_range != "clip" or (self.minimum is None and self.maximum is None):
            return values
        return np.asarray(np.clip(values, self.minimum, self.maximum))

    def breaks(self, other: Feature) -> list[str]:
        """Return in sentences which values that this feature takes the `other` one would refuse."""
        if self.kind != other.kind and (self.kind, other.kind) not in {("integer", "numeric"), ("boolean", "numeric")}:
            return [f"{self.name}: {self.kind} becomes {other.kind}; requests with {self.wanted} are refused"]
        out = []
        if self.nullable and not other.nullable:
            out.append(f"{self.name}: may no longer be null or left out")
        if (self.format, self.zone) != (other.format, other.zone):
            out.append(f"{self.name}: is written in another way; requests must send {other.wanted}")
        if lost := [word for word in other.missing if word not in self.missing]:
            out.append(f"{self.name}: means missing from now on: {', '.join(lost)}")
        if other.out_of_range == "error":
            out += self._tighter(other)
        if other.unknown == "error" and other.categories is not None:
            own = self.categories if self.unknown == "error" else None
            gone = sorted(set(own) - set(other.categories)) if own is not None else ["every category not declared"]
            out += [f"{self.name}: refused from now on: {', '.join(gone)}"] if gone else []
        return out

    def _tighter(self, other: Feature) -> list[str]:
        bound = self.out_of_range == "error"
        low = self.minimum if bound and self.minimum is not None else -np.inf
        high = self.maximum if bound and self.maximum is not None else np.inf
        out = []
        if other.minimum is not None and other.minimum > low:
            out.append(f"{self.name}: values below {other.minimum:g} are refused")
        if other.maximum is not None and other.maximum < high:
            out.append(f"{self.name}: values above {other.maximum:g} are refused")
        return out
