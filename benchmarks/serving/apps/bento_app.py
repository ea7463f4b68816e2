"""BentoML with its documented input of a table; with BATCH=1 its adaptive batching.

The batching form takes rows: with a table it never answers (BentoML 1.4.39).
"""

import os

import bentoml
import joblib
import numpy as np
import pandas as pd

BATCH = os.environ.get("BATCH") == "1"


@bentoml.service(workers=2, traffic={"timeout": 60})
class Predictor:
    """Serves the model."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL_PATH"])

    if BATCH:

        @bentoml.api(batchable=True, batch_dim=0, max_batch_size=100)
        def predict(self, instances: list[dict]) -> list[float]:
            """Answer the probability of the second class of each row, of many requests at once."""
            return self.model.predict_proba(pd.DataFrame(instances))[:, 1].tolist()

    else:

        @bentoml.api
        def predict(self, instances: pd.DataFrame) -> np.ndarray:
            """Answer the probability of the second class of each row."""
            return self.model.predict_proba(instances)[:, 1]
