"""mlflow_save.py FOLDER MODEL...: save each pipeline in MLflow's layout, with a signature, answering probabilities."""

import sys
from pathlib import Path

import joblib
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature

folder = Path(sys.argv[1])
some = pd.read_parquet(folder / "rows.parquet").head(100)
some = some.astype({name: object for name in some if name.startswith("category")})
for name in sys.argv[2:]:
    pipeline = joblib.load(folder / f"{name}.joblib")
    signature = infer_signature(some, pipeline.predict_proba(some))
    how = {"pyfunc_predict_fn": "predict_proba", "serialization_format": "cloudpickle"}
    mlflow.sklearn.save_model(pipeline, folder / f"{name}.mlflow", signature=signature, **how)
