"""What a model that was not fitted on them answered for the newest of the rows a version was made from: kept to know its errors by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import ArtifactError
from training.schema.prediction import Prediction
from training.schema.rows import object_column

MOST_ROWS, MOST_NUMBERS = 5_000, 50_000
_FORMAT, _DIGITS = 1, 7
Places = npt.NDArray[np.intp]


def held_out_content(prediction: Prediction, n_rows: int, time_us: npt.NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Return as a JSON object what was answered for the newest of `n_rows` rows: of more than 5,000 so many spread over them.

    Parameters
    ----------
    time_us
        Of the newest rows, where they are not stored with the version: by it they are known in the log.

    Examples
    --------
    >>> held_out_content(Prediction(np.array([1.0, 2.0])), 5)
    {'v': 1, 'rows': [3, 4], 'output': [1.0, 2.0], 'classes': None, 'probabilities': None}
    """
    k = 1 if prediction.probability is None else prediction.probability.shape[1]
    most = min(len(prediction), MOST_ROWS, max(1, MOST_NUMBERS // k))
    chosen = np.unique(np.linspace(0, len(prediction) - 1, most).astype(np.intp)) if len(prediction) else np.zeros(0, np.intp)
    some = prediction.take(chosen)
    return {
        "v": _FORMAT,
        "rows": (chosen + n_rows - len(prediction)).tolist(),
        "output": some.label.tolist(),
        "classes": None if some.classes is None else list(some.classes),
        "probabilities": None if some.probability is None else np.round(some.probability, _DIGITS).tolist(),
        **({} if time_us is None else {"time_us": time_us[chosen].tolist()}),
    }


def read_held_out(content: Mapping[str, Any]) -> tuple[Places, Prediction]:
    """Read what `held_out_content` returned: places among the stored rows, and what was answered for them.

    Raises
    ------
    ArtifactError
        It is in a format that only a newer Evergreen knows.

    Examples
    --------
    >>> places, prediction = read_held_out(held_out_content(Prediction(np.array([1.0, 2.0])), 5))
    >>> places.tolist(), prediction.label.tolist()
    ([3, 4], [1.0, 2.0])
    """
    if content["v"] != _FORMAT:
        raise ArtifactError(
            f"answers for rows that were held out are in format {content['v']}, wanted {_FORMAT}: a newer Evergreen wrote them"
        )
    places = np.array(content["rows"], dtype=np.intp)
    if content["classes"] is None:
        return places, Prediction(np.array(content["output"], dtype=np.float64))
    classes = tuple(content["classes"])
    probability = np.array(content["probabilities"], dtype=np.float64).reshape(len(places), len(classes))
    return places, Prediction(object_column(content["output"]), probability, classes)
