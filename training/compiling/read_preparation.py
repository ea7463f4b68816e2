"""Read a fitted scikit-learn preparation into our own form, or say which step is not known."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from training.compiled.preparation import CategoryColumn, Floats, Numbers, Preparation
from training.fitting.preprocessing import CategoryFiller, DateParts, OutlierClipper
from training.schema.schema import Schema

UNKNOWN = "\x00 a category nobody has seen \x00"
_NUMBER_STEPS = (DateParts, OutlierClipper, SimpleImputer, StandardScaler)


class UnknownStepError(Exception):
    """A step of the pipeline that cannot be compiled; the message names it."""


class _Branch(NamedTuple):
    """What one branch of numbers does, a row a column: sources, then flags; and its places in the prepared matrix."""

    sources: tuple[str, ...]
    times: tuple[tuple[str, tuple[str, ...]], ...]
    low: Floats
    high: Floats
    fill: Floats
    flagged: npt.NDArray[np.intp]
    mean: Floats
    scale: Floats
    places: npt.NDArray[np.intp]


def read_preparation(prepare: Any, schema: Schema) -> Preparation:
    """Return the fitted `prepare` in our form.

    Raises
    ------
    UnknownStepError
        When there is a step in it that is not known.
    """
    if type(prepare) is not ColumnTransformer or prepare.transformer_weights:
        raise UnknownStepError(f"the preparation is a {type(prepare).__name__}, not a plain ColumnTransformer")
    categories: list[CategoryColumn] = []
    branches: list[_Branch] = []
    width = 0
    for name, fitted, names in prepare.transformers_:
        place = prepare.output_indices_[name]
        width = max(width, place.stop)
        if fitted == "drop" or place.stop == place.start:
            continue
        known = _names(names, schema, name)
        steps = [step for _, step in fitted.steps] if isinstance(fitted, Pipeline) else [fitted]
        kinds = {schema.feature(n).is_number for n in known}
        if kinds == {False}:
            categories += _read_categories(fitted, steps, known, place.start)
        elif kinds == {True}:
            branches.append(_read_numbers(steps, known, place.start))
        else:
            raise UnknownStepError(f"branch {name!r} mixes numbers and categories")
    return Preparation(tuple(categories), _join(branches), width)


def _names(names: Any, schema: Schema, branch: str) -> tuple[str, ...]:
    chosen = tuple(names) if not isinstance(names, (str, slice)) else ()
    if not chosen or not set(chosen) <= set(schema.names):
        raise UnknownStepError(f"branch {branch!r} does not choose its columns by their names")
    return chosen


def _read_categories(fitted: Any, steps: list[Any], names: tuple[str, ...], start: int) -> list[CategoryColumn]:
    """Ask the fitted branch itself what becomes of each category, of none and of an unknown one."""
    encoder = steps[-1]
    if type(encoder) not in (OneHotEncoder, OrdinalEncoder) or any(type(s) is not CategoryFiller for s in steps[:-1]):
        raise UnknownStepError(f"step {_first_unknown(steps, (CategoryFiller, OneHotEncoder, OrdinalEncoder))} is not known")
    widths = encoder._n_features_outs if type(encoder) is OneHotEncoder else [1] * len(names)
    out = []
    first = [next(c for c in known if isinstance(c, str)) for known in encoder.categories_]
    for place, (name, known) in enumerate(zip(names, encoder.categories_, strict=True)):
        levels = (*(c for c in known.tolist() if isinstance(c, str)), None, UNKNOWN)
        cells = np.full((len(levels), len(names)), None, dtype=object)
        cells[:] = first
        cells[:, place] = levels
        try:
            table = fitted.transform(pd.DataFrame(cells, columns=list(names), dtype=object))
        except ValueError as error:
            raise UnknownStepError(f"{name}: a missing or unknown category is refused by the encoder ({error})") from error
        table = np.asarray(table.toarray() if hasattr(table, "toarray") else table, dtype=np.float64)
        left = sum(widths[:place])
        own = slice(left, left + widths[place])
        out.append(CategoryColumn(name, levels, table[:, own], np.arange(start + own.start, start + own.stop)))
    return out


def _first_unknown(steps: list[Any], known: tuple[type, ...]) -> str:
    return next((type(s).__name__ for s in steps if type(s) not in known), type(steps[-1]).__name__)


def _read_numbers(steps: list[Any], names: tuple[str, ...], start: int) -> _Branch:
    """Read a chain of DateParts, OutlierClipper, SimpleImputer and StandardScaler, each once at most and in that order."""
    order = [_NUMBER_STEPS.index(type(s)) if type(s) in _NUMBER_STEPS else -1 for s in steps]
    if -1 in order:
        raise UnknownStepError(f"step {_first_unknown(steps, _NUMBER_STEPS)} is not known")
    by_type = {type(s): s for s in steps}
    if order != sorted(set(order)) or not {SimpleImputer, StandardScaler} & by_type.keys():
        raise UnknownStepError(f"the steps {', '.join(type(s).__name__ for s in steps)} stand in an order that is not known")
    parts = tuple(by_type[DateParts].parts) if DateParts in by_type else ()
    height = len(names) * (len(parts) or 1)
    clipper, scaler = by_type.get(OutlierClipper), by_type.get(StandardScaler)
    fill, flagged = _read_imputer(by_type.get(SimpleImputer), height)
    total = height + len(flagged)
    nothing, one = np.zeros(total), np.ones(total)
    return _Branch(
        () if parts else names,
        tuple((n, parts) for n in names) if parts else (),
        np.full(height, -np.inf) if clipper is None else clipper.low_,
        np.full(height, np.inf) if clipper is None else clipper.high_,
        fill,
        flagged,
        nothing if scaler is None or not scaler.with_mean else scaler.mean_,
        one if scaler is None or not scaler.with_std else scaler.scale_,
        np.arange(start, start + total),
    )


def _read_imputer(imputer: Any, height: int) -> tuple[Floats, npt.NDArray[np.intp]]:
    if imputer is None:
        return np.full(height, np.nan), np.zeros(0, np.intp)
    fill = np.asarray(imputer.statistics_, dtype=np.float64)
    if np.isnan(fill).any() or not (isinstance(imputer.missing_values, float) and np.isnan(imputer.missing_values)):
        raise UnknownStepError("SimpleImputer drops columns without a value, or takes something else than NaN as missing")
    flagged = imputer.indicator_.features_ if imputer.add_indicator else np.zeros(0, np.intp)
    return fill, np.asarray(flagged, dtype=np.intp)


def _join(branches: list[_Branch]) -> Numbers:
    """Join all branches into one: columns first, then calendar parts, then flags."""
    plain = [b for b in branches if b.sources]
    timed = [b for b in branches if b.times]
    heights = [len(b.fill) for b in plain + timed]
    offsets = np.cumsum([0, *heights])
    body = [slice(0, h) for h in heights]
    flags = [slice(h, None) for h in heights]
    both = plain + timed

    def stack(field: str) -> Floats:
        values = [np.asarray(getattr(b, field), np.float64) for b in both]
        cut = [v[s] for v, s in zip(values, body, strict=True)] + [v[s] for v, s in zip(values, flags, strict=True)]
        return np.concatenate([np.zeros(0), *cut])[:, None]

    low, high, mean, scale = stack("low"), stack("high"), stack("mean"), stack("scale")
    clips = bool(np.isfinite(low).any() or np.isfinite(high).any())
    scales = bool((mean != 0).any() or (scale != 1).any())
    return Numbers(
        tuple(n for b in plain for n in b.sources),
        tuple(t for b in timed for t in b.times),
        (low, high) if clips else None,
        stack("fill"),
        np.concatenate([np.zeros(0, np.intp), *(b.flagged + o for b, o in zip(both, offsets, strict=False))]).astype(np.intp),
        (mean, scale) if scales else None,
        stack("places").ravel().astype(np.intp),
    )
