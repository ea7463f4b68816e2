"""Two compiled functions of scikit-learn and scipy, without importing either: all that this room takes from them.

`import sklearn.ensemble` runs the modules of the whole of scikit-learn, pandas and scipy.stats, a second and a hundred megabytes;
`import scipy.special` runs numpy.f2py. The functions lie in extension modules that need none of it. So the packages around an
extension stand empty while it is imported, and are then forgotten: a later `import sklearn` runs as ever, and finds the extension in
its place. Where that fails, in another version of these libraries, it is imported the long way. That a model answers the right thing
is proven when it is compiled, and again by its golden rows wherever it is loaded.

Each is loaded when the first model that needs it answers: only trees need that of scikit-learn. The first call is to be made
while one thread runs, or under the lock of whoever loads models: another thread that imports scikit-learn in the same
milliseconds would find it empty.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_TREES = ("sklearn", "sklearn.utils", "sklearn.ensemble", "sklearn.ensemble._hist_gradient_boosting")
_SPECIAL = ("scipy", "scipy.special")


@cache
def boosting_walk() -> Callable[..., None]:
    """Return scikit-learn's walk over the trees of histogram boosting.

    It takes records of nodes, a float64 matrix, three arrays of bitsets, the number of threads, and the array for the answers. The
    records may be mapped read-only from a file.

    Examples
    --------
    >>> callable(boosting_walk())
    True
    """
    return load_kernel(_TREES, "_predictor", "_predict_from_raw_data")


@cache
def expit() -> Callable[..., Any]:
    """Return scipy's logistic sigmoid, the one that scikit-learn uses.

    Examples
    --------
    >>> float(expit()(0.0))
    0.5
    """
    return load_kernel(_SPECIAL, "_special_ufuncs", "expit")


def load_kernel(packages: tuple[str, ...], module: str, function: str) -> Callable[..., Any]:
    """Return a function of an extension module in the last of some packages, without running the packages where that can be done."""
    root, name = packages[0], f"{packages[-1]}.{module}"
    if root not in sys.modules:
        known = set(sys.modules)
        try:
            with _empty(packages):
                return _function(name, function)
        except (ImportError, AttributeError, OSError):
            for half_made in set(sys.modules) - known:
                if half_made.partition(".")[0] == root:
                    del sys.modules[half_made]
    try:
        return _function(name, function)
    except (ImportError, AttributeError):  # it lies elsewhere in this version, but the package gives it
        return _function(packages[-1], function)


def _function(module: str, name: str) -> Callable[..., Any]:
    kernel: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return kernel


@contextmanager
def _empty(packages: tuple[str, ...]) -> Iterator[None]:
    """Let packages stand empty: their folders are known, what is in their ``__init__`` is not run."""
    spec = importlib.util.find_spec(packages[0])
    if spec is None or spec.origin is None:
        raise ImportError(f"{packages[0]} is not installed")
    folder = Path(spec.origin).parents[1]
    try:
        for name in packages:
            package: Any = ModuleType(name)
            package.__path__ = [str(folder.joinpath(*name.split(".")))]
            sys.modules[name] = package
        yield
    finally:
        for name in packages:
            sys.modules.pop(name, None)
