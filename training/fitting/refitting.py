"""Can an imported model be fitted again? Tried once, on the older rows, when it comes in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.errors import CandidateError
from training.fitting.candidates import original_candidate
from training.fitting.fitted_model import FittedModel
from training.fitting.original import original_of
from training.fitting.search import ask, fit
from training.policies import Original, Weighing
from training.schema.prediction import Prediction
from training.schema.rows import Rows


@dataclass(frozen=True, slots=True)
class Refit:
    """What the loop may do with an imported model.

    Attributes
    ----------
    original
        What refits clone; None where it cannot even be cloned.
    why_not
        In words, why it cannot be fitted again; None when it can.
    """

    original: Original | None
    why_not: str | None

    @property
    def sentence(self) -> str:
        """One sentence, for the card."""
        if self.why_not is None:
            return "each retraining fits a clone of the imported estimator, until the model file names candidates"
        return f"the model is `act: notify` until its file names candidates: {self.why_not}"


def try_refit(model: FittedModel, older: Rows, newest: Rows, answers: Prediction, seed: int, weighing: Weighing | None = None) -> Refit:
    """Fit a clone of an imported model on the older rows and let it answer the newest.

    One that answers them as the imported one did is fitted on other labels too: when it still does, nothing of it is refitted.
    """
    if model.schema.monotonic:
        return Refit(None, f"no estimator but our own can be held to keep {', '.join(model.schema.monotonic)} monotonic")
    try:
        original = original_of(model)
    except CandidateError as error:
        return Refit(None, str(error))
    candidate = original_candidate(original, seed, weighing)
    try:
        for rows in (older, replace(older, target=older.labels[::-1])):
            again = ask(candidate, fit(candidate, rows, model.schema), newest.columns)
            if again.classes != answers.classes:
                return Refit(original, f"fitted again it knows the classes {again.classes}")
            if not np.array_equal(again.score, answers.score):
                return Refit(original, None)
    except CandidateError as error:
        return Refit(original, str(error))
    return Refit(original, "fitting it again changes nothing: it is frozen")
