"""A metric of a user's own: a loss for each row, imported where it is asked, or asked in a process of its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import CandidateError, EvergreenError
from training.evaluation.losses import Floats, Labels, Metric, mean_loss
from training.own_code import Code, child_environment, extend_path, folder_in, isolated, load_factory, refuse_other_code
from training.schema.prediction import Prediction

TASKS = ("binary", "multiclass", "regression")
TIMEOUT_SECONDS = 600.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class OwnLoss:
    """The losses of rows by ``module:function``, which is imported at the first call."""

    factory: str

    def __call__(self, y: Labels, prediction: Prediction) -> Floats:
        """Return ``function(y, prediction)``, shape (n,).

        Raises
        ------
        CandidateError
            It cannot be imported, raises, or gives something else than a finite number for each row.
        """
        function = load_factory(self.factory, "metric(y, prediction)")
        own = prediction.take(np.arange(len(prediction)))  # copies, which it may write into
        try:
            with isolated(0):
                losses = np.asarray(function(y.copy(), own), dtype=np.float64)
        except EvergreenError:
            raise
        except (Exception, SystemExit) as error:
            raise CandidateError(f"the metric {self.factory} failed: {type(error).__name__}: {error}") from error
        if losses.shape != (len(y),):
            raise CandidateError(f"the metric {self.factory} gives shape {losses.shape}, wanted a loss for each row, {(len(y),)}")
        if len(bad := np.flatnonzero(~np.isfinite(losses))):
            raise CandidateError(f"the metric {self.factory} gives a loss that is not finite (row {bad[0]})")
        return losses


def is_own(metric: str) -> bool:
    """Return whether a metric's name is ``module:function``, a user's own."""
    return ":" in metric


def own_metric(factory: str) -> Metric:
    """Return the mean loss as a metric; nothing is imported until it is asked."""
    loss = OwnLoss(factory)
    return Metric(factory, False, TASKS, partial(mean_loss, loss), loss)


@dataclass(frozen=True, slots=True)
class _Known:
    """Losses that were asked before, by prediction."""

    pairs: tuple[tuple[Prediction, Floats], ...]

    def __call__(self, y: Labels, prediction: Prediction) -> Floats:
        return next(losses for known, losses in self.pairs if known is prediction)


def asked_in_child(
    factory: str,
    y: Labels,
    predictions: Sequence[Prediction],
    made_with: Mapping[str, Any] | None = None,
    seconds: float = TIMEOUT_SECONDS,
) -> Metric:
    """Return a user's metric for just these predictions of just these labels, its losses computed by a child process.

    Parameters
    ----------
    made_with
        The code of the metric when the version was made, as a manifest has it: other code is refused.
    seconds
        How long the child may take.

    Raises
    ------
    CandidateError
        The child cannot import it, has other code, fails or takes too long; with its last words.
    """
    if not len(y):
        return own_metric(factory)  # which asks nobody about no rows
    with tempfile.TemporaryDirectory(prefix="evergreen-metric-") as folder:
        asked, answered = Path(folder) / "asked.pickle", Path(folder) / "losses.npy"
        asked.write_bytes(pickle.dumps((y, list(predictions))))
        command = [sys.executable, "-m", "training.evaluation.own_metric", factory, json.dumps(made_with), str(asked), str(answered)]
        try:
            done = subprocess.run(command, cwd=_ROOT, env=child_environment(), capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise CandidateError(f"the metric {factory} gave no answer within {seconds:g} s") from None
        if done.returncode != 0 or not answered.exists():
            words = done.stderr.decode(errors="replace").strip().splitlines()
            raise CandidateError(words[-1] if words else f"the metric {factory} cannot be asked: its process ended with {done.returncode}")
        losses = np.load(answered, allow_pickle=False)
    known = _Known(tuple(zip(predictions, losses, strict=True)))
    return Metric(factory, False, TASKS, partial(mean_loss, known), known)


def _main(factory: str, made_with: str, asked: str, answered: str) -> int:
    stored = json.loads(made_with)
    try:
        if stored is not None:
            refuse_other_code(Code.from_dict(stored))
        y, predictions = pickle.loads(Path(asked).read_bytes())
        losses = np.array([OwnLoss(factory)(y, each) for each in predictions])
    except EvergreenError as error:
        sys.stderr.write(f"{str(error).splitlines()[0]}\n")
        return 1
    np.save(answered, losses)
    return 0


if __name__ == "__main__":
    extend_path(folder_in(os.environ))
    sys.exit(_main(*sys.argv[1:]))
