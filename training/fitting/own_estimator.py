"""An estimator that a user's factory builds: on one thread, fitted on codes, its answers named by us."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from training.errors import CandidateError, EvergreenError
from training.fitting.weights import weight_argument
from training.own_code import isolated, load_factory
from training.schema.schema import Schema, normalise_label

THREADS = ("n_jobs", "thread_count", "num_threads", "n_threads", "nthread")

Floats = npt.NDArray[np.float64]


class OwnEstimator(BaseEstimator):
    """An estimator of somebody else with the classes its codes 0 to k - 1 stand for; None for a regression.

    Parameters
    ----------
    estimator
        Takes the DataFrame of the schema; it is fitted on codes, or on numbers.
    order
        All classes in their order; those that occur when it is fitted get the codes.
    """

    def __init__(self, estimator: Any, order: tuple[str, ...] | None = None) -> None:
        self.estimator = estimator
        self.order = order

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the estimator on numbers, or on the codes of the classes in `y`; only one that takes weights may be given some.

        Raises
        ------
        ValueError
            It calls its classes something else than the codes it was fitted on.
        """
        weights = {} if sample_weight is None else {str(weight_argument(self.estimator)): sample_weight}
        if self.order is None:
            self.estimator.fit(X, np.asarray(y, np.float64), **weights)
            return self
        names = [normalise_label(value) for value in y]
        present = set(names)
        self.names_ = tuple(name for name in self.order if name in present)
        place = {name: code for code, name in enumerate(self.names_)}
        self.estimator.fit(X, np.array([place[name] for name in names], dtype=np.int64), **weights)
        own = np.asarray(getattr(self.estimator, "classes_", np.arange(len(place))))
        if own.tolist() != list(range(len(place))):
            raise ValueError(f"fitted on the codes 0 to {len(place) - 1}, it says its classes_ are {own.tolist()}")
        return self

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes in the order of the probabilities."""
        return np.array(self.names_, dtype=object)

    def predict_proba(self, X: Any) -> Floats:
        """Return probabilities, shape (n_rows, n_classes).

        Raises
        ------
        ValueError
            The estimator's answer has another shape.
        """
        answer = _real(self.estimator.predict_proba(X))
        if answer.shape != (len(X), len(self.names_)):
            raise ValueError(f"predict_proba gives shape {answer.shape}, wanted {(len(X), len(self.names_))}")
        return answer

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row, or its value; raises as `predict_proba`."""
        if self.order is not None:
            return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
        answer = _real(self.estimator.predict(X))
        if answer.shape != (len(X),):
            raise ValueError(f"predict gives shape {answer.shape}, wanted {(len(X),)}")
        return answer


def _real(answer: Any) -> Floats:
    """Return numbers as floats; raise ValueError for complex ones, of which a part would be lost."""
    if np.iscomplexobj(answer):
        raise ValueError("its answers are complex numbers")
    return np.asarray(answer, np.float64)


def build_own(factory: str, schema: Schema, seed: int, params: Mapping[str, Any]) -> Any:
    """Call ``factory(schema, seed=seed, **params)``; return a copy of what it gives, on one thread.

    Raises
    ------
    CandidateError
        It is no factory, raises, or gives something that cannot be fitted and asked.
    """
    build = load_factory(factory)
    with named(factory, "building", seed):
        built = build(schema, seed=seed, **copy.deepcopy(dict(params)))
    wanted = ("fit", "predict_proba") if schema.is_classification else ("fit", "predict")
    if isinstance(built, type) or not all(callable(getattr(built, name, None)) for name in wanted):
        kind = f"the class {built.__name__}" if isinstance(built, type) else type(built).__name__
        raise CandidateError(f"{factory} returned {kind}, wanted an estimator with {' and '.join(wanted)}")
    with named(factory, "copying what it built", seed):
        own = copy.deepcopy(built)  # a factory may hand out the same one twice
        on_one_thread(own)
    return own


@contextmanager
def named(factory: str, doing: str, seed: int) -> Iterator[None]:
    """Let a user's code do something to nothing but itself; what it raises names the factory.

    Raises
    ------
    CandidateError
        It raises, or would end the process.
    """
    try:
        with isolated(seed):
            yield
    except EvergreenError:
        raise
    except (Exception, SystemExit) as error:
        raise CandidateError(f"{factory} failed at {doing}: {type(error).__name__}: {error}") from error


def on_one_thread(estimator: Any) -> None:
    """Set every parameter that counts threads to 1, in the parts of a pipeline too."""
    if not (hasattr(estimator, "get_params") and hasattr(estimator, "set_params")):
        return
    values = estimator.get_params(deep=True)
    parts = {"": estimator, **{f"{name}__": value for name, value in values.items() if _has_params(value)}}
    for place in [f"{at}{name}" for at, part in parts.items() for name in THREADS if name in _accepted(part)]:
        with suppress(ValueError):  # a frozen part takes no parameters
            estimator.set_params(**{place: 1})


def _has_params(value: Any) -> bool:
    return hasattr(value, "get_params") and hasattr(value, "set_params") and not isinstance(value, type)


def _accepted(part: Any) -> set[str]:
    """Return the parameters it takes, but those that scikit-learn leaves unset: that is one thread already, and some warn when set."""
    values, make = part.get_params(deep=False), type(part).__init__
    unset = {name for name, value in values.items() if value is None and str(getattr(make, "__module__", "")).startswith("sklearn.")}
    return {*values, *inspect.signature(make).parameters} - unset
