"""A classifier of the weather that takes its time while a file says so."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tests.patience import LONGER_SECONDS, LOOK_SECONDS

FOLDER = "SLUGGISH_FOLDER"
EXPENSIVE_SECONDS = 0.001
SLOW_SECONDS = 3.0


class Sluggish:
    """Answers by the clouds, after a millisecond: no service thinks that its rows are quick.

    While there is a file ``slow`` a call takes 3 s, while there is a file ``stand`` it does not end. The files lie where the variable
    `FOLDER` says.
    """

    classes_ = np.array(["no", "yes"], dtype=object)

    def fit(self, table: Any, labels: Any) -> Self:
        return self

    def predict_proba(self, table: Any) -> npt.NDArray[np.float64]:
        folder = Path(os.environ.get(FOLDER, "/nowhere"))
        time.sleep(SLOW_SECONDS if (folder / "slow").exists() else EXPENSIVE_SECONDS)
        deadline = time.monotonic() + LONGER_SECONDS
        while (folder / "stand").exists() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        cloud = np.nan_to_num(np.asarray(table["cloud"], dtype=np.float64))
        yes = 1 / (1 + np.exp(-2.0 * cloud))
        return np.column_stack([1 - yes, yes])

    def predict(self, table: Any) -> npt.NDArray[np.object_]:
        answer: npt.NDArray[np.object_] = self.classes_[(self.predict_proba(table)[:, 1] >= 0.5).astype(int)]
        return answer
