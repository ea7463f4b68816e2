"""Ask a plain pipeline in a process of its own: the monitor judges what users wrote without importing it."""

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.artifacts.manifest import Manifest
from training.artifacts.pickles import load_model
from training.errors import ArtifactError
from training.own_code import child_environment, extend_path, folder_in, refuse_other_code
from training.schema.prediction import Prediction
from training.schema.rows import Columns, object_column
from training.schema.schema import Schema

TIMEOUT_SECONDS = 600.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class ModelInChild:
    """The model of a verified folder, asked in a child process at each call.

    Attributes
    ----------
    classes
        The classes in the order of the answers; None for a regression.
    map
        Slope and intercept of the map of its probabilities, beside what it does itself; None without.
    """

    folder: Path
    classes: tuple[str, ...] | None
    map: tuple[float, float] | None = None
    timeout_seconds: float = TIMEOUT_SECONDS

    def predict(self, columns: Columns) -> Prediction:
        """Predict n rows given as columns.

        Raises
        ------
        ArtifactError
            The child cannot load the model, fails, crashes or takes too long; with its last words.
        """
        with tempfile.TemporaryDirectory(prefix="evergreen-ask-") as folder:
            asked, answered = Path(folder) / "columns.pickle", Path(folder) / "answer.npz"
            asked.write_bytes(pickle.dumps(columns))
            paths = [str(path) for path in (self.folder.resolve(), asked, answered)]
            command = [sys.executable, "-m", "training.artifacts.answer_in_child", json.dumps(self.map), *paths]
            try:
                done = subprocess.run(
                    command, cwd=_ROOT, env=child_environment(), capture_output=True, timeout=self.timeout_seconds, check=False
                )
            except subprocess.TimeoutExpired:
                raise ArtifactError(f"the model gave no answer within {self.timeout_seconds:g} s") from None
            if done.returncode != 0 or not answered.exists():
                words = done.stderr.decode(errors="replace").strip().splitlines()
                raise ArtifactError(f"the model cannot be asked: {words[-1] if words else f'its process {end_of(done.returncode)}'}")
            with np.load(answered, allow_pickle=False) as arrays:
                return self._named({name: arrays[name] for name in arrays.files})

    def _named(self, arrays: Columns) -> Prediction:
        if self.classes is None:
            return Prediction(arrays["label"])
        codes = arrays["codes"]
        return Prediction(object_column(self.classes)[codes], arrays["probability"], self.classes, codes)


def end_of(code: int) -> str:
    """Say how a process ended by its return code, which is negative where a signal ended it.

    Examples
    --------
    >>> end_of(3), end_of(-11), end_of(-40)
    ('ended with 3', 'died of SIGSEGV', 'died of signal 40')
    """
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"died of {signal.Signals(-code).name}"
    except ValueError:
        return f"died of signal {-code}"


def _main(point: tuple[float, float] | None, folder: Path, asked: Path, answered: Path) -> int:
    from training.fitting.calibration import mapped  # a process that only asks needs no scikit-learn

    manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
    if manifest.served_code is not None:
        refuse_other_code(manifest.served_code)
    model = mapped(load_model(folder, Schema.from_dict(manifest.schema)), point)
    prediction = model.predict(pickle.loads(asked.read_bytes()))
    if prediction.probability is None:
        np.savez(answered, label=prediction.label)
    else:
        np.savez(answered, probability=prediction.probability, codes=np.asarray(prediction.codes))
    return 0


if __name__ == "__main__":
    extend_path(folder_in(os.environ))
    sys.exit(_main(json.loads(sys.argv[1]), *map(Path, sys.argv[2:])))
