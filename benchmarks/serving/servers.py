"""Evergreen and its peers: how each is started, where it listens, which encodings it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.serving.places import APPS, ROOT, commit, is_installed, python_of

OURS, BEFORE = "evergreen", "before"


@dataclass(frozen=True)
class Server:
    """One way to serve the model.

    Parameters
    ----------
    venv
        Which environment it lives in; None is Evergreen's own.
    command
        With ``{python}`` and ``{bin}`` of the environment, ``{apps}``, ``{port}``, ``{model_path}``, ``{scratch}``.
    paths
        Encoding (of `benchmarks.serving.encodings`) to path; the first is the one of the small requests.
    is_batching
        Whether it joins requests of several callers.
    dists
        Distributions whose versions are reported.
    patience
        Seconds it may take to start.
    checkout
        The repository it runs from, with its environment in ``.venv``; None for a peer.
    """

    name: str
    venv: str | None
    command: tuple[str, ...]
    paths: Mapping[str, str]
    note: str
    dists: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    is_batching: bool = False
    patience: float = 60.0
    checkout: Path | None = None

    @property
    def main(self) -> str:
        """The encoding of the small requests."""
        return next(iter(self.paths))

    @property
    def python(self) -> Path:
        """The interpreter it runs in."""
        return python_of(self.venv) if self.checkout in (None, ROOT) else self.checkout / ".venv" / "bin" / "python"

    def filled(self, text: str, port: int, model: str, scratch: Path, prepared: Path) -> str:
        """Return a word of the command or a value of the environment for one start."""
        python = self.python
        words = {"python": python, "bin": python.parent, "apps": APPS, "port": port, "root": ROOT, "scratch": scratch}
        return text.format(**words, model_path=prepared / f"{model}.joblib", mlflow_path=prepared / f"{model}.mlflow")


_GUNICORN = ("{bin}/gunicorn", "-b", "127.0.0.1:{port}", "--chdir", "{apps}", "-w", "2")
_UVICORN = ("--app-dir", "{apps}", "--port", "{port}", "--workers", "2", "--no-access-log", "--log-level", "warning")
_BENTO = ("{bin}/bentoml", "serve", "-q", "bento_app:Predictor", "--working-dir", "{apps}", "--port", "{port}", "--host", "127.0.0.1")
_MLFLOW = ("{bin}/mlflow", "models", "serve", "-m", "{mlflow_path}", "--env-manager", "local", "-p", "{port}", "-h", "127.0.0.1", "-w", "2")
_MLSERVER = ("{python}", "{apps}/mlserver_start.py", "{scratch}", "{model_path}", "{port}")
_INSTANCES, _INFER, _BATCH = {"instances": "/predict"}, {"tensors": "/v2/models/bench/infer"}, {"BATCH": "1"}
_QUIET_BENTO, _QUIET_RAY = {"BENTOML_DO_NOT_TRACK": "True"}, {"RAY_USAGE_STATS_ENABLED": "0"}
_FLASK, _FASTAPI, _MLS, _LIT = ("flask", "gunicorn"), ("fastapi", "uvicorn"), ("mlserver", "mlserver-sklearn"), ("litserve",)

EVERGREEN = Server(
    OURS,
    None,
    ("{python}", "-m", "service"),
    {
        "rows": "/models/bench/predict",
        "columns": "/models/bench/predict",
        "arrow": "/models/bench/predict",
        "raw tensors": "/v2/models/bench/infer",
    },
    "`python -m service` with every setting at its default: validates, records in the spool, counts, gives a request id",
    ("flask", "gunicorn", "scikit-learn", "numpy", "pandas", "orjson", "pyarrow"),
    {"EVERGREEN_HOME": "{scratch}/home", "EVERGREEN_BIND": "127.0.0.1:{port}", "EVERGREEN_LOG_LEVEL": "WARNING"},
    checkout=ROOT,
)
PEERS: tuple[Server, ...] = (
    Server("flask-sync", "flask", (*_GUNICORN, "-k", "sync", "flask_app:app"), _INSTANCES, "gunicorn, 2 sync workers", _FLASK),
    Server(
        "flask-gthread",
        "flask",
        (*_GUNICORN, "-k", "gthread", "--threads", "4", "flask_app:app"),
        _INSTANCES,
        "gunicorn, 2 workers of 4 threads",
        _FLASK,
    ),
    Server(
        "fastapi",
        "fastapi",
        ("{bin}/uvicorn", "fastapi_app:app", *_UVICORN),
        _INSTANCES,
        "uvicorn (uvloop, httptools), 2 workers, a plain function",
        _FASTAPI,
    ),
    Server("mlserver", "mlserver", _MLSERVER, _INFER, "parallel_workers 2, debug false", _MLS),
    Server(
        "mlserver-batch",
        "mlserver",
        (*_MLSERVER, "batch"),
        _INFER,
        "the same with max_batch_size 32, max_batch_time 2 ms",
        _MLS,
        is_batching=True,
    ),
    Server("bentoml", "bentoml", _BENTO, _INSTANCES, "workers 2", ("bentoml",), _QUIET_BENTO),
    Server(
        "bentoml-batch",
        "bentoml",
        _BENTO,
        _INSTANCES,
        "the same, batchable, max_batch_size 100",
        ("bentoml",),
        _QUIET_BENTO | _BATCH,
        is_batching=True,
    ),
    Server(
        "mlflow",
        "mlflow",
        _MLFLOW,
        {"split": "/invocations", "parquet": "/invocations"},
        "models serve -w 2",
        ("mlflow",),
        {"MLFLOW_DISABLE_TELEMETRY": "true"},
        patience=90.0,
    ),
    Server("litserve", "litserve", ("{python}", "{apps}/litserve_app.py", "{port}"), _INSTANCES, "workers_per_device 2", _LIT),
    Server(
        "litserve-batch",
        "litserve",
        ("{python}", "{apps}/litserve_app.py", "{port}"),
        _INSTANCES,
        "the same with max_batch_size 32, batch_timeout 2 ms",
        _LIT,
        _BATCH,
        is_batching=True,
    ),
    Server(
        "vetiver",
        "vetiver",
        ("{bin}/uvicorn", "vetiver_app:app", *_UVICORN),
        {"list": "/predict"},
        "uvicorn, 2 workers, prototype checked; answers labels, not probabilities",
        ("vetiver", "uvicorn"),
    ),
    Server(
        "ray",
        "ray",
        ("{python}", "{apps}/ray_app.py", "{port}"),
        _INSTANCES,
        "Ray Serve, 2 replicas, 1 proxy",
        ("ray",),
        _QUIET_RAY,
        patience=120.0,
    ),
    Server(
        "ray-batch",
        "ray",
        ("{python}", "{apps}/ray_app.py", "{port}"),
        _INSTANCES,
        "the same with serve.batch: 32 requests, 2 ms",
        ("ray",),
        _QUIET_RAY | _BATCH,
        is_batching=True,
        patience=120.0,
    ),
)
BY_NAME = {server.name: server for server in (EVERGREEN, *PEERS)}


def before(checkout: Path) -> Server:
    """Return Evergreen as another checkout has it."""
    return replace(EVERGREEN, name=BEFORE, checkout=checkout.resolve(), note=f"Evergreen at {commit(checkout)}")


def installed(names: list[str]) -> tuple[list[Server], list[str]]:
    """Return Evergreen and the peers of these names (all by default) that are there, and the names of those that are not."""
    wanted = [BY_NAME[name] for name in names or [peer.name for peer in PEERS] if name != OURS]
    return [EVERGREEN, *(s for s in wanted if is_installed(s.venv))], [s.name for s in wanted if not is_installed(s.venv)]
