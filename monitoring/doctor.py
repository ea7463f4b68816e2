"""Is this home in order? One check a line, each a pure look: nothing is changed."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from monitoring.errors import ProcessError
from monitoring.processes import refuse_taken
from monitoring.workbench import Workbench
from training.errors import EvergreenError
from training.moves import CHAMPION

State = Literal["ok", "warning", "broken"]
LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "joblib", "sqlalchemy", "flask", "gunicorn", "apscheduler")
WAL_FIXED = (3, 51, 3)
LEAST_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, and what to know or do about it."""

    check: str
    state: State
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def examine(bench: Workbench) -> list[Check]:
    """Look at everything; a check that cannot be done is broken and says why, and the next one goes on."""
    looks: tuple[Callable[[Workbench], Iterator[Check]], ...] = (_python, _home, _disk, _database, _key, _champions, _ports, _clocks)
    return [check for look in looks for check in _safely(look, bench)]


def _safely(look: Callable[[Workbench], Iterator[Check]], bench: Workbench) -> list[Check]:
    try:
        return list(look(bench))
    except (EvergreenError, OSError, sa.exc.SQLAlchemyError) as error:
        return [Check(look.__name__.strip("_"), "broken", str(error))]


def _python(bench: Workbench) -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", "ok" if sys.version_info >= (3, 11) else "broken", found)
    missing = [name for name in LIBRARIES if _installed(name) is None]
    listed = ", ".join(f"{name} {_installed(name)}" for name in LIBRARIES if name not in missing)
    yield Check("libraries", "broken" if missing else "ok", f"missing: {', '.join(missing)}" if missing else listed)


def _home(bench: Workbench) -> Iterator[Check]:
    path = bench.home.path
    if not path.exists():
        yield Check("home", "warning", f"{path} is not there yet; `evergreen train` makes it")
        return
    mode = _mode(path)
    private = mode & 0o077 == 0
    yield Check(
        "home", "ok" if private else "warning", f"{path}, mode {mode:04o}" + ("" if private else f": others may look in; chmod 700 {path}")
    )


def _disk(bench: Workbench) -> Iterator[Check]:
    folder = next(path for path in (bench.home.path, *bench.home.path.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    yield Check("disk", "ok" if free > LEAST_FREE_BYTES else "warning", f"{free / 2**30:.1f} GiB free")


def _database(bench: Workbench) -> Iterator[Check]:
    fixed = sqlite3.sqlite_version_info >= WAL_FIXED
    if bench.settings.database_url.startswith("sqlite"):
        note = "" if fixed else ": has the WAL-reset bug fixed in 3.51.3; Evergreen writes under its own lock, let no other program write"
        yield Check("sqlite", "ok" if fixed else "warning", sqlite3.sqlite_version + note)
        if not bench.home.database.exists():
            gone = bench.is_orphaned()
            said = f"{bench.home.database} is gone: restore it from a backup" if gone else "not there yet"
            yield Check("database", "broken" if gone else "warning", said)
            return
    bench.registry.prepare()
    bench.log.prepare()
    with bench.database.read() as connection:
        rows = connection.execute(sa.text("SELECT component, version FROM evergreen_schema ORDER BY component")).all()
    yield Check("database", "ok", f"{bench.database.dialect}; schema " + ", ".join(f"{name} {number}" for name, number in rows))


def _key(bench: Workbench) -> Iterator[Check]:
    for name, path in (("signing key", bench.home.signing_key), ("prediction id key", bench.home.ids_key)):
        if not path.exists():
            yield Check(name, "warning", "not there yet; made when first needed")
            continue
        private = _mode(path) & 0o077 == 0
        yield Check(name, "ok" if private else "broken", f"mode {_mode(path):04o}" + ("" if private else f": chmod 600 {path}"))


def _champions(bench: Workbench) -> Iterator[Check]:
    from training.artifact import load_verified

    if not bench.home.database.exists() and bench.settings.database_url.startswith("sqlite"):
        return
    for record in bench.registry.models():
        champion = bench.registry.alias(record.name, CHAMPION)
        if champion is None:
            yield Check(f"champion of {record.name}", "warning", "none: the model is not served")
            continue
        version = bench.registry.version(record.name, champion.version)
        try:
            load_verified(bench.home.artifacts / version.path, bench.home.cache, bench.key, expected_digest=version.digest).self_test()
        except EvergreenError as error:
            yield Check(f"champion of {record.name}", "broken", f"{champion.version}: {error}")
            continue
        yield Check(f"champion of {record.name}", "ok", f"{champion.version}: signed, unchanged, reproduces its golden rows")


def _ports(bench: Workbench) -> Iterator[Check]:
    for name, variable, default in (
        ("service", "EVERGREEN_BIND", "127.0.0.1:8000"),
        ("monitoring", "EVERGREEN_MONITOR_BIND", "127.0.0.1:8001"),
    ):
        bind = bench.environment.get(variable) or default
        try:
            refuse_taken(bind, name)
        except ProcessError:
            yield Check(f"port of the {name}", "warning", f"{bind} is in use: Evergreen is running, or something else is")
            continue
        yield Check(f"port of the {name}", "ok", f"{bind} is free")


def _clocks(bench: Workbench) -> Iterator[Check]:
    if not bench.home.database.exists() and bench.settings.database_url.startswith("sqlite"):
        return
    for record in bench.registry.models():
        size = bench.log.size(record.name)
        stuck = size.ahead_rows > 0
        advice = (
            f"{size.ahead_rows} rows are dated further ahead than watching.clock_bound and do not move the clock; "
            "if their times are right: evergreen resume --advance-clock"
        )
        yield Check(
            f"model time of {record.name}", "warning" if stuck else "ok", advice if stuck else f"{size.rows} rows, none ahead of the clock"
        )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
