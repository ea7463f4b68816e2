"""The FastAPI application of the tutorials: rows with declared types, a plain function."""

import os

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, create_model

NUMBERS = {f"number_{i}": (float, ...) for i in range(14)}
CATEGORIES = {f"category_{i}": (str, ...) for i in range(6)}
Row = create_model("Row", **NUMBERS, **CATEGORIES)


class Request(BaseModel):
    """Rows to predict."""

    instances: list[Row]


app = FastAPI()
model = joblib.load(os.environ["MODEL_PATH"])


@app.post("/predict")
def predict(request: Request) -> dict[str, list[float]]:
    """Answer the probability of the second class of each row."""
    table = pd.DataFrame([row.model_dump() for row in request.instances])
    return {"predictions": model.predict_proba(table)[:, 1].tolist()}
