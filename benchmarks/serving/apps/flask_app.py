"""The Flask application of the tutorials."""

import os

import joblib
import pandas as pd
from flask import Flask, jsonify, request

app = Flask(__name__)
model = joblib.load(os.environ["MODEL_PATH"])


@app.post("/predict")
def predict():
    """Answer the probability of the second class of each row."""
    table = pd.DataFrame(request.get_json()["instances"])
    return jsonify(predictions=model.predict_proba(table)[:, 1].tolist())
