"""Several models that answer together: each answer mapped, then the mean by weight. What is served of a version of members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from training.compiled.calibration_map import EDGE, Intercept, Map, refuse_intercept
from training.compiled.compiled_model import CompiledModel
from training.compiled.joint_boosting import JointBoosting, joins
from training.compiled.preparation import Floats
from training.compiled.trees import TreeEngine
from training.schema.costs import Costs, Table, decide
from training.schema.prediction import Prediction
from training.schema.rows import Columns, count_rows, object_column
from training.schema.schema import Schema

MOST_NUMBERS = 1 << 22
_KEPT = (1.0, 0.0)


class Predicts(Protocol):
    """Anything that answers rows: a compiled model, a plain pipeline, one that is asked in a process of its own."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes in the order of the answers; None for regression."""

    def predict(self, columns: Columns) -> Prediction:
        """Return the answer for each row."""


@dataclass(frozen=True, slots=True)
class Part:
    """A model with its share of the answer.

    Attributes
    ----------
    map
        Slope and intercept of its answers, beside what it does itself; None leaves them as they are.
    """

    predictor: Predicts
    weight: float
    map: tuple[float, float] | None = None


@dataclass(frozen=True)
class Mixture:
    """The mean of what some models answer, by weight: a drop-in for each of them.

    Attributes
    ----------
    parts
        Their weights add up to 1; one without any is not asked.
    classes
        Every class that one of them knows, in the order of the answers; to those that do not know it, it has the probability 0. None for
        regression.
    costs
        What it costs to decide a class (column) where another is true (row); None where the most probable is decided.
    threshold
        Of two classes the last is decided where its probability reaches it; None where the most probable is.
    most_numbers
        So many probabilities of all models are in memory at a time: more rows are answered in pieces.

    Notes
    -----
    The map of a compiled model and its own calibration are one map, and the maps of all are computed in one go: for one row numpy's
    calls cost more than their arithmetic.

    Raises
    ------
    ValueError
        A model answers other classes, or has an intercept where there are more than two.

    Examples
    --------
    >>> class Says:
    ...     def __init__(self, classes, *probability):
    ...         self.classes, self.probability = classes, np.array([probability])
    ...     def predict(self, columns):
    ...         return Prediction(object_column(["?"]), self.probability, self.classes)
    >>> parts = (Part(Says(("no", "yes"), 0.5, 0.5), 0.75), Part(Says(("never", "no"), 0.5, 0.5), 0.25))
    >>> answer = Mixture(parts, ("never", "no", "yes")).predict({"x": np.zeros(1)})
    >>> answer.probability.tolist(), answer.label.tolist()
    ([[0.125, 0.5, 0.375]], ['no'])
    """

    parts: tuple[Part, ...]
    classes: tuple[str, ...] | None
    costs: Table | None = None
    threshold: float | None = None
    most_numbers: int = MOST_NUMBERS

    def __post_init__(self) -> None:
        _ = self._values if self.classes is None else self._shares

    def predict(self, columns: Columns) -> Prediction:
        """Predict n rows given as columns; the values must already fit the schema."""
        count = count_rows(columns)
        if self.classes is None:
            return Prediction(self._mean_value(columns, count))
        most = max(1, self.most_numbers // (len(self.parts) * len(self.classes)))
        if count <= most:
            probability = self._mean(columns, count)
        else:
            pieces = [{name: values[at : at + most] for name, values in columns.items()} for at in range(0, count, most)]
            probability = np.concatenate([self._mean(piece, count_rows(piece)) for piece in pieces])
        codes = decide(probability, self.costs, self.threshold)
        return Prediction(self._labels[codes], probability, self.classes, codes)

    @property
    def engine_name(self) -> str:
        """The word for how it answers."""
        return "mixture"

    @cached_property
    def _labels(self) -> npt.NDArray[Any]:
        return object_column(self.classes or ())

    # ---- values ---------------------------------------------------------------------------------------------------

    @cached_property
    def _values(self) -> tuple[_Asked, list[float], float]:
        """The models, what the values of each are multiplied by, and what is added to the sum."""
        if any(part.predictor.classes is not None for part in self.parts):
            raise ValueError("one of the models answers classes, others values")
        parts = [part for part in self.parts if part.weight > 0.0]
        maps = [_map_of(part) or _KEPT for part in parts]
        factors = [part.weight * slope for part, (slope, _) in zip(parts, maps, strict=True)]
        added = [part.weight * np.asarray(intercept, np.float64) for part, (_, intercept) in zip(parts, maps, strict=True)]
        return _Asked.of([part.predictor for part in parts]), factors, float(np.sum(added))

    def _mean_value(self, columns: Columns, count: int) -> Floats:
        asked, factors, start = self._values
        total = np.full(count, start)
        for factor, answer in zip(factors, asked.answers(columns, count), strict=True):
            total += factor * answer
        return total

    # ---- probabilities --------------------------------------------------------------------------------------------

    @cached_property
    def _shares(self) -> _Shares:
        return _Shares.of(self.parts, self.classes or ())

    def _mean(self, columns: Columns, count: int) -> Floats:
        """Return the mean probabilities, shape (count, k)."""
        shares = self._shares
        answers = np.empty((len(shares.places), count, len(self.classes or ())))
        for answer, places, out in zip(shares.asked.answers(columns, count), shares.places, answers, strict=True):
            if places is None:
                out[:] = answer
            else:
                out[:] = 0.0
                out[:, places] = answer
        if shares.n_mapped:
            _remap(answers[: shares.n_mapped], shares.slopes, shares.intercepts)
        answers *= shares.weights
        return np.asarray(np.add.reduce(answers, axis=0))


def mix(parts: Sequence[Part], schema: Schema, costs: Costs | None, threshold: float | None = None) -> CompiledModel | Mixture:
    """Return what models answer together; a compiled one by itself stays one, and takes its map in.

    Parameters
    ----------
    costs
        What wrong decisions cost, of all classes that one of the models may know.
    threshold
        From which probability on the last of two classes is decided; None decides the most probable.

    Raises
    ------
    ValueError
        They answer different things, a class has no costs, or a map is none for what is answered.
    """
    known = {name for part in parts for name in part.predictor.classes or ()}
    classes = tuple(name for name in schema.order_classes(known) if name in known)
    table = None if costs is None else costs.ordered(classes)
    only = parts[0].predictor
    if len(parts) == 1 and isinstance(only, CompiledModel):
        return replace(only if parts[0].map is None else only.mapped(*parts[0].map), costs=table, threshold=threshold)
    return Mixture(tuple(parts), classes if schema.is_classification else None, table, threshold)


def _remap(probability: Floats, slopes: Floats, intercepts: Floats) -> None:
    """Map the answers of several models in their place, as `training.compiled.calibration_map.remap` does those of one.

    Parameters
    ----------
    probability
        Shape (m, n, k); of a class that a model does not know it becomes 0.
    slopes
        Shape (m, 1, 1).
    intercepts
        Shape (m, 1, k); minus infinity for a class that a model does not know.
    """
    np.maximum(probability, EDGE, out=probability)
    np.log(probability, out=probability)
    probability *= slopes
    probability += intercepts
    probability -= np.maximum.reduce(probability, axis=2, keepdims=True)
    np.exp(probability, out=probability)
    probability /= np.add.reduce(probability, axis=2, keepdims=True)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Models that are asked one after the other, but for those that can be asked together.

    Attributes
    ----------
    together
        Where among them those are that `joint` answers for.
    """

    predictors: tuple[Predicts, ...]
    joint: JointBoosting | None
    together: tuple[int, ...]

    @classmethod
    def of(cls, predictors: Sequence[Predicts]) -> _Asked:
        """Return them with the largest group of those that can be asked together."""
        engines = [each.engine if isinstance(each, CompiledModel) else None for each in predictors]
        groups = [tuple(place for place, other in enumerate(engines) if joins(engine, other)) for engine in engines]
        together = max(groups, key=len, default=())
        if len(together) < 2:
            return cls(tuple(predictors), None, ())
        joined = [engine for place, engine in enumerate(engines) if place in together and isinstance(engine, TreeEngine)]
        return cls(tuple(predictors), JointBoosting.of(joined), together)

    def answers(self, columns: Columns, count: int) -> list[Floats]:
        """Return values, shape (n,), or probabilities, shape (n, k), of each; those of a compiled model as its engine gives them."""
        known: dict[int, Floats] = {}
        if self.joint is not None and count <= self.joint.crossover:
            known.update(zip(self.together, self.joint.answer(columns, count), strict=True))
        return [known[place] if place in known else _answer(each, columns, count) for place, each in enumerate(self.predictors)]


def _answer(predictor: Predicts, columns: Columns, count: int) -> Floats:
    if isinstance(predictor, CompiledModel):
        return predictor.engine.answer(columns, count)
    prediction = _checked(predictor.predict(columns), count)
    return prediction.label if prediction.probability is None else prediction.probability


@dataclass(frozen=True, slots=True)
class _Shares:
    """What of the parts the arithmetic needs: those with a map come first.

    Attributes
    ----------
    places
        Where among the classes of all each column of a model belongs; None where they are the same.
    n_mapped
        How many have a map.
    slopes, intercepts
        Of these; shapes (m, 1, 1) and (m, 1, k).
    weights
        Of all; shape (m, 1, 1).
    """

    asked: _Asked
    places: tuple[tuple[int, ...] | None, ...]
    n_mapped: int
    slopes: Floats
    intercepts: Floats
    weights: Floats

    @classmethod
    def of(cls, parts: Sequence[Part], classes: tuple[str, ...]) -> _Shares:
        """Return what is needed of parts, with the classes of the answers; those without a weight are not asked."""
        known = [(_places(part, classes), _map_of(part)) for part in parts]
        asked = [place for place, part in enumerate(parts) if part.weight > 0.0]
        order = sorted(asked, key=lambda place: known[place][1] is None)
        mapped = [(known[place][0], point) for place in order if (point := known[place][1]) is not None]
        slopes = np.array([slope for _, (slope, _) in mapped]).reshape(-1, 1, 1)
        intercepts = np.array([_by_class(places, intercept, len(classes)) for places, (_, intercept) in mapped])
        weights = np.array([parts[place].weight for place in order]).reshape(-1, 1, 1)
        places = tuple(known[place][0] for place in order)
        models = _Asked.of([parts[place].predictor for place in order])
        return cls(models, places, len(mapped), slopes, intercepts.reshape(-1, 1, len(classes)), weights)


def _places(part: Part, classes: tuple[str, ...]) -> tuple[int, ...] | None:
    """Return where each column of a part's answers belongs, as they come: before those of a compiled model are put in order."""
    predictor, own = part.predictor, part.predictor.classes
    if own is None or not set(own) <= set(classes):
        raise ValueError(f"a model answers {'values' if own is None else ', '.join(own)}, wanted some of {', '.join(classes)}")
    refuse_intercept((part.map or _KEPT)[1], len(own))
    order = predictor.order if isinstance(predictor, CompiledModel) else None
    columns = own if order is None else tuple(own[order.index(column)] for column in range(len(own)))
    places = tuple(classes.index(name) for name in columns)
    return None if places == tuple(range(len(classes))) else places


def _map_of(part: Part) -> Map | None:
    """Return the one map of a part's answers, a compiled model's own calibration in it, in the order of its engine."""
    predictor, more = part.predictor, part.map
    if not isinstance(predictor, CompiledModel):
        return more
    return (predictor if more is None else predictor.mapped(*more)).calibration


def _by_class(known_places: tuple[int, ...] | None, intercept: Intercept, k: int) -> list[float]:
    """Return what is added for each of k classes: minus infinity for one that the model does not know."""
    places = known_places or tuple(range(k))
    own = intercept if isinstance(intercept, tuple) else (0.0, intercept) if len(places) == 2 else (0.0,) * len(places)
    known = dict(zip(places, own, strict=True))
    return [known.get(place, -np.inf) for place in range(k)]


def _checked(prediction: Prediction, count: int) -> Prediction:
    """Refuse what is no answer of a model: in a mean it would not be seen.

    Raises
    ------
    ValueError
        It has another shape, a value that is not finite, or probabilities that are none.
    """
    fault = prediction.fault(count)
    if fault is not None:
        raise ValueError(f"one of the models {fault}")
    return prediction
