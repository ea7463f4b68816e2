"""The known name that an unknown one may stand for, in little time also among thousands."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

LETTERS_COMPARED = 100
_ALIKE = 0.6
_BINS = 64
_CANDIDATES = 10


class NearNames:
    """Finds the nearest of some names.

    Notes
    -----
    How alike two names are `difflib` says, for the few whose letters, whatever their order, are most alike: it takes tens of
    microseconds a pair.

    Examples
    --------
    >>> names = NearNames(["temp", "Docks", "workday"])
    >>> names.nearest("TEMP"), names.nearest("dokcs"), names.nearest("zzz")
    ('temp', 'Docks', None)
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._by_folded = {name.casefold(): name for name in reversed(self._names)}

    def nearest(self, name: str) -> str | None:
        """Return the name that is most like this one, None when none is."""
        name = name[:LETTERS_COMPARED]
        same = self._by_folded.get(name.casefold())
        if same is not None:
            return same
        in_common = np.minimum(self._letters, _letters_of(name)).sum(axis=1)
        alike = 2.0 * in_common / np.maximum(self._lengths + len(name), 1)  # no less than difflib's ratio
        best = np.argsort(-alike, kind="stable")[:_CANDIDATES]
        candidates = [self._names[place] for place in best.tolist() if alike[place] >= _ALIKE]
        return next(iter(difflib.get_close_matches(name, candidates, n=1, cutoff=_ALIKE)), None)

    @cached_property
    def _letters(self) -> npt.NDArray[np.uint16]:
        return np.array([_letters_of(name) for name in self._names], dtype=np.uint16).reshape(-1, _BINS)

    @cached_property
    def _lengths(self) -> npt.NDArray[np.intp]:
        return np.array([len(name) for name in self._names], dtype=np.intp)


def _letters_of(name: str) -> npt.NDArray[np.uint16]:
    """Count the letters of a name, those of one remainder together."""
    return np.bincount(np.array([ord(letter) % _BINS for letter in name], dtype=np.intp), minlength=_BINS).astype(np.uint16)
