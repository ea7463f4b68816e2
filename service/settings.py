"""The settings of the service: read once from the environment into an immutable value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import SettingsError
from service.ports import is_loopback, split_bind
from service.prediction_log.ids import MAX_ROWS_PER_ID
from training import errors
from training.settings import Home, code_folder, default_database_url

FRONTS = ("evergreen", "gthread")


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What the service reads from the environment; see `VARIABLES` for meanings and defaults."""

    home: Home
    database_url: str
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 2
    front: str = "evergreen"
    threads: int = 32
    max_in_flight: int = 256
    max_held_bytes: int = 256 << 20
    deadline_seconds: float = 30.0
    models: tuple[str, ...] | None = None
    default_model: str | None = None
    keys_file: Path | None = None
    hosts: tuple[str, ...] = ()
    max_body_bytes: int = 64 << 20
    max_decompressed_bytes: int = 64 << 20
    max_rows: int = 100_000
    max_json_depth: int = 64
    max_string_letters: int = 10_000
    spool_max_bytes: int = 1 << 30
    spool_segment_bytes: int = 16 << 20
    spool_oldest_seconds: float = 60.0
    disk_reserve: int | None = None
    log_max_rows: int = 50_000_000
    drain_interval_seconds: float = 0.1
    alias_poll_seconds: float = 0.5
    failpoint: str | None = None
    log_level: str = "INFO"
    metrics_folder: Path | None = None
    code: Path | None = None
    log_patience_seconds: float = 1.0
    """No variable: how long a request waits for the prediction log, for its write lock and for what a label is about to be drained."""

    @property
    def bind(self) -> str:
        """The address as gunicorn takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def metrics_home(self) -> Path:
        """Where the workers of a gunicorn on this port share their metrics."""
        return self.home.metrics / f"service-{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its name without ``EVERGREEN_``, default as text, meaning."""

    name: str
    default: str
    meaning: str


VARIABLES = (
    Variable("HOME", ".evergreen", "directory of database, artifacts, keys and spool"),
    Variable("DATABASE_URL", "sqlite:///<home>/evergreen.db", "where registry and prediction log live"),
    Variable("CODE", "(none)", "folder of your own modules, looked into after all that is installed"),
    Variable("BIND", "127.0.0.1:8000", "address and port; other than loopback only with a key file"),
    Variable("WORKERS", "2", "processes that answer"),
    Variable("FRONT", "evergreen", "what takes connections: `evergreen`, our worker, or `gthread`, gunicorn's, without its promises"),
    Variable("THREADS", "32", "most threads in each of them, for requests that take long; two of them read at a time"),
    Variable("MAX_IN_FLIGHT", "256", "most such requests in progress or waiting in each of them; 503 beyond"),
    Variable(
        "MAX_HELD_BYTES",
        "268435456",
        "what unfinished requests and unread answers may hold in memory in each of them; 503 beyond",
    ),
    Variable("DEADLINE_SECONDS", "30", "a request that takes longer is answered with 504, and its worker replaced"),
    Variable("MODELS", "(all)", "comma-separated names of the models to serve"),
    Variable("DEFAULT_MODEL", "(the only one)", "the model that answers `/invocations`, which names none"),
    Variable("KEYS_FILE", "<home>/keys/api_keys.json", "hashes of the API keys; without it there are no keys"),
    Variable("HOSTS", "(none)", "comma-separated names by which this machine may be asked without keys, beside localhost"),
    Variable("MAX_BODY_BYTES", "67108864", "largest request body"),
    Variable("MAX_DECOMPRESSED_BYTES", "67108864", "largest request body when decompressed"),
    Variable("MAX_ROWS", "100000", "most rows or labels in one request"),
    Variable("MAX_JSON_DEPTH", "64", "most lists and objects within each other in a request body"),
    Variable("MAX_STRING_LETTERS", "10000", "longest text value of a feature"),
    Variable("SPOOL_MAX_BYTES", "1073741824", "bound on all spool files; predictions are refused beyond"),
    Variable("SPOOL_SEGMENT_BYTES", "16777216", "size at which a new spool file is started"),
    Variable("SPOOL_OLDEST_SECONDS", "60", "how long a prediction may wait in the spool before `/readyz` says *degraded*"),
    Variable("DISK_RESERVE", "(the lesser of 64 MiB and 2 %)", "bytes of the disk that predictions leave free; they are refused beyond"),
    Variable("LOG_MAX_ROWS", "50000000", "bound on the rows in the prediction log; predictions are refused beyond"),
    Variable("DRAIN_INTERVAL_SECONDS", "0.1", "how often the spool is drained to the prediction log"),
    Variable("ALIAS_POLL_SECONDS", "0.5", "how often a worker looks for a moved champion"),
    Variable("FAILPOINT", "(none)", "for tests: name[:nth][:stop], kill the process there, or stop it"),
    Variable("LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR"),
)


def from_environment(environment: Mapping[str, str], *, metrics_folder: Path | None = None) -> ServiceSettings:
    """Read the settings.

    Parameters
    ----------
    environment
        Usually ``os.environ``; variables that are missing or empty take their default.
    metrics_folder
        Where the workers of one gunicorn share their metrics; None for a single process.

    Raises
    ------
    SettingsError
        A variable has a value that cannot be used; the message names it.

    Examples
    --------
    >>> from_environment({"EVERGREEN_HOME": "/srv/e", "EVERGREEN_BIND": "[::1]:9000"}).bind
    '[::1]:9000'
    """
    read = _Reader(environment)
    home = Home(Path(read.text("HOME", ".evergreen")).absolute())
    host, port = split_bind(read.text("BIND", "127.0.0.1:8000"), "EVERGREEN_BIND")
    return ServiceSettings(
        home=home,
        database_url=read.text("DATABASE_URL", "") or _database_url(home),
        host=host,
        port=port,
        workers=read.whole("WORKERS", 2, 1, 256),
        front=_one_of("FRONT", read.text("FRONT", "evergreen"), FRONTS),
        threads=read.whole("THREADS", 32, 1, 256),
        max_in_flight=read.whole("MAX_IN_FLIGHT", 256, 1, 1 << 20),
        max_held_bytes=read.whole("MAX_HELD_BYTES", 256 << 20, 1 << 16, 1 << 40),
        deadline_seconds=read.seconds("DEADLINE_SECONDS", 30),
        models=_names(read.text("MODELS", "")),
        default_model=read.text("DEFAULT_MODEL", "") or None,
        keys_file=_keys_file(read.text("KEYS_FILE", ""), home),
        hosts=_names(read.text("HOSTS", "")) or (),
        max_body_bytes=read.whole("MAX_BODY_BYTES", 64 << 20, 1024, 1 << 32),
        max_decompressed_bytes=read.whole("MAX_DECOMPRESSED_BYTES", 64 << 20, 1024, 1 << 32),
        max_rows=read.whole("MAX_ROWS", 100_000, 1, MAX_ROWS_PER_ID),
        max_json_depth=read.whole("MAX_JSON_DEPTH", 64, 4, 512),
        max_string_letters=read.whole("MAX_STRING_LETTERS", 10_000, 1, 1 << 30),
        spool_max_bytes=read.whole("SPOOL_MAX_BYTES", 1 << 30, 1 << 16, 1 << 50),
        spool_segment_bytes=read.whole("SPOOL_SEGMENT_BYTES", 16 << 20, 4096, 1 << 40),
        spool_oldest_seconds=read.seconds("SPOOL_OLDEST_SECONDS", 60),
        disk_reserve=read.optional_whole("DISK_RESERVE", 0, 1 << 60),
        log_max_rows=read.whole("LOG_MAX_ROWS", 50_000_000, 1, 1 << 60),
        drain_interval_seconds=read.seconds("DRAIN_INTERVAL_SECONDS", 0.1),
        alias_poll_seconds=read.seconds("ALIAS_POLL_SECONDS", 0.5),
        failpoint=read.text("FAILPOINT", "") or None,
        log_level=_level(read.text("LOG_LEVEL", "INFO")),
        metrics_folder=metrics_folder,
        code=_code_folder(environment),
    )


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str) -> str:
        return self._environment.get(f"EVERGREEN_{name}", "").strip() or default

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        return int(self._number(name, default, low, high, int, "a whole number"))

    def optional_whole(self, name: str, low: int, high: int) -> int | None:
        return self.whole(name, low, low, high) if self.text(name, "") else None

    def seconds(self, name: str, default: float) -> float:
        return float(self._number(name, default, 0.001, 3600, float, "seconds"))

    def _number(self, name: str, default: Any, low: float, high: float, kind: Callable[[str], Any], noun: str) -> Any:
        text = self.text(name, str(default))
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise SettingsError(f"EVERGREEN_{name} is {text!r}; it must be {noun} from {low} to {high}")
        return value


def _database_url(home: Home) -> str:
    try:
        return default_database_url(home)
    except errors.SettingsError as error:
        raise SettingsError(str(error)) from error


def _code_folder(environment: Mapping[str, str]) -> Path | None:
    try:
        return code_folder(environment)
    except errors.SettingsError as error:
        raise SettingsError(str(error)) from error


def _names(text: str) -> tuple[str, ...] | None:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return names or None


def _keys_file(text: str, home: Home) -> Path | None:
    if text:
        return Path(text).absolute()
    return home.api_keys if home.api_keys.exists() else None


def _one_of(name: str, text: str, values: tuple[str, ...]) -> str:
    if text not in values:
        raise SettingsError(f"EVERGREEN_{name} is {text!r}; it must be {' or '.join(values)}")
    return text


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingsError(f"EVERGREEN_LOG_LEVEL is {text!r}; it must be DEBUG, INFO, WARNING or ERROR")
    return text.upper()
