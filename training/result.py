"""What a training run made: its figures, its answers to a table, and the way into a registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from training.artifacts.artifact import Artifact, save_artifact
from training.artifacts.draft import Draft
from training.artifacts.signing import load_or_make_key
from training.dataset.dataset import rows_from_columns, write_rows
from training.dataset.report import DataReport
from training.errors import DataError, DataProblem
from training.evaluation.scores import Estimate, Metrics
from training.fitting.search import SearchResult
from training.model_file.model_spec import ModelSpec
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.schema.rows import Rows
from training.settings import Home
from training.storage.database import open_database


@dataclass(frozen=True, slots=True)
class Made:
    """What a version was made of: its model file, everything that goes into its artifact, and the rows."""

    spec: ModelSpec
    draft: Draft
    rows: Rows


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a run made.

    Attributes
    ----------
    metrics
        Scores on the held-out rows, the newest or those drawn at random, by name.
    evaluation
        The same with the segments; `baseline` is what the constant guess scored there.
    breaks
        In sentences, the requests of the registered contract that this version would refuse.
    serving
        In a sentence, how it answers, and what a row costs.
    retraining
        In a sentence, what a retraining fits.
    """

    artifact: Artifact
    made: Made = field(repr=False)
    metrics: Mapping[str, Estimate]
    evaluation: Metrics
    baseline: Metrics
    report: DataReport
    search: SearchResult | None
    calibration: str
    breaks: tuple[str, ...] = ()
    serving: str = ""
    retraining: str = "the candidates of the model file compete"

    @property
    def version(self) -> str:
        """The name of the version."""
        return self.artifact.version

    @property
    def warnings(self) -> tuple[str, ...]:
        """In sentences, what may be wrong with the rows, and what was left out of the search or cut from it."""
        return self.report.problems + (self.search.remarks if self.search else ())

    @property
    def moving(self) -> tuple[str, ...]:
        """In sentences, which features move by themselves, and what is watched of them."""
        return self.made.draft.reference.measures.moving

    def predict(self, table: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
        """Predict the rows of a table, in its order and with its index; the target and the time may be missing or anything.

        Returns
        -------
        `prediction` and, for classes, `probability_<class>`, as `evergreen predict` writes them.

        Raises
        ------
        DataError
            With every value that does not fit the contract, or that there are no rows.
        """
        table = _as_table(table)
        if not len(table):
            raise DataError([DataProblem(None, "", "nothing", "rows to predict")], "the table")
        schema, model = self.made.spec.schema, self.made.draft.model
        time = () if schema.time is None else (schema.time.column, *schema.time.columns)
        unused = [name for name in table.columns if str(name) in (schema.target, *time) and str(name) not in schema.names]
        asked = replace(schema, time=None)
        rows = rows_from_columns(table.drop(columns=unused), asked, source="the table")
        answer = model.predict(rows.columns)
        shares = {} if answer.probability is None else dict(zip(answer.classes or (), answer.probability.T, strict=True))
        return pd.DataFrame({"prediction": answer.label, **{f"probability_{name}": values for name, values in shares.items()}}, table.index)

    def register(self, home: Home | Path | str, *, database_url: str | None = None) -> str:
        """Register the version, with its model file, in a home; return its name. No alias is moved: `evergreen promote` does that.

        Parameters
        ----------
        home
            Where a service serves from; artifact and rows are written there if they are elsewhere.
        database_url
            Its database; by default the SQLite file in it.
        """
        folders = (home if isinstance(home, Home) else Home(Path(home).absolute())).ensure()
        artifact, now = self.artifact, self.artifact.manifest.created
        if not artifact.path.absolute().is_relative_to(folders.artifacts.absolute()):
            write_rows(self.made.rows, self.made.spec.schema, folders.rows)
            artifact = save_artifact(self.made.draft, folders.artifacts, load_or_make_key(folders.signing_key), now)
        database = open_database(database_url or folders.database_url)
        try:
            registry = Registry(database)
            registry.put_model(self.made.spec, who="train", now=now)
            registry.register(artifact, cause=Cause("train", "registered by hand"), now=now)
        finally:
            database.close()
        return artifact.version


def _as_table(table: object) -> pd.DataFrame:
    """Take columns by name as a table; raise DataError for what is none."""
    if isinstance(table, pd.DataFrame):
        return table
    got = type(table).__name__
    if isinstance(table, Mapping):
        try:
            return pd.DataFrame(dict(table))
        except ValueError as error:  # columns of one value each, or of different lengths
            got = f"{got} of which pandas says: {error}"
    raise DataError([DataProblem(None, "", got, "a DataFrame, or a mapping of names to columns of one length")], "the table")
