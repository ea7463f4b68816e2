"""vetiver with a prototype of the rows, which it checks; it answers labels."""

import os
from pathlib import Path

import joblib
import pandas as pd
from vetiver import VetiverAPI, VetiverModel

path = Path(os.environ["MODEL_PATH"])
some = pd.read_json(path.with_name("rows.json")).head(20)
model = VetiverModel(model=joblib.load(path), model_name="bench", prototype_data=some)
app = VetiverAPI(model=model, check_prototype=True).app
