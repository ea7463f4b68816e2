"""Is this home in order? One check a line, each a pure look: nothing is changed."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from monitoring.admin.status import labels_came, undelivered
from monitoring.admin.workbench import Workbench
from monitoring.journal.tables import COMPONENT, VERSION
from monitoring.known_tables import KNOWN_TABLES
from monitoring.settings import from_environment as monitoring_settings
from service.errors import AddressTakenError, ServiceError, SettingsError
from service.ports import refuse_taken
from service.recording.disk_room import shortage
from service.recording.spool import KEPT_SUFFIX
from service.settings import from_environment as service_settings
from training.clock import from_us, to_us
from training.errors import EvergreenError, SpecError
from training.model_file.model_spec import parse_spec
from training.registry.aliases import CHAMPION
from training.registry.tables import VersionRecord

State = Literal["ok", "warning", "broken"]
LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "joblib", "sqlalchemy", "flask", "gunicorn", "apscheduler")
WAL_FIXED = (3, 51, 3)
STUCK_US = 2 * 3_600_000_000  # of a message: twice as long as one waits for the digest of its hour
LEAST_FREE_BYTES = 1 << 30
CLOCKS_APART = timedelta(minutes=5)  # a client's clock may be ahead of ours


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
    looks: tuple[Callable[[Workbench], Iterator[Check]], ...] = (
        _python,
        _home,
        _disk,
        _spool,
        _database,
        _key,
        _model_files,
        _champions,
        retained,
        _ports,
        _clocks,
        _labels,
        _messages,
    )
    return [check for look in looks for check in _safely(look, bench)]


def _safely(look: Callable[[Workbench], Iterator[Check]], bench: Workbench) -> list[Check]:
    try:
        return list(look(bench))
    except (EvergreenError, ServiceError, OSError, sa.exc.SQLAlchemyError) as error:
        return [Check(look.__name__.strip("_"), "broken", str(error))]


def _python(bench: Workbench) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", "ok" if sys.version_info >= (3, 11) else "broken", version)
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
    short = shortage(folder, service_settings(bench.environment).disk_reserve)
    if short is not None:
        yield Check("disk", "broken", short)
        return
    yield Check("disk", "ok" if free > LEAST_FREE_BYTES else "warning", f"{free / 2**30:.1f} GiB free")


def _spool(bench: Workbench) -> Iterator[Check]:
    kept = sorted(bench.home.spool.glob(f"*{KEPT_SUFFIX}"))
    if kept:
        size = sum(path.stat().st_size for path in kept)
        detail = f"{len(kept)} files of {size} bytes were kept because of damage; what was whole in them is in the log"
        yield Check("spool", "warning", f"{detail}: look at {bench.home.spool}/*{KEPT_SUFFIX}, then delete them")


def _database(bench: Workbench) -> Iterator[Check]:
    fixed = sqlite3.sqlite_version_info >= WAL_FIXED
    if bench.settings.database_url.startswith("sqlite"):
        note = "" if fixed else ": has the WAL-reset bug fixed in 3.51.3; Evergreen writes under its own lock, let no other program write"
        yield Check("sqlite", "ok" if fixed else "warning", sqlite3.sqlite_version + note)
        if not bench.home.database.exists():
            gone = bench.is_orphaned()
            detail = f"{bench.home.database} is gone: restore it from a backup" if gone else "not there yet"
            yield Check("database", "broken" if gone else "warning", detail)
            return
        damage = bench.database.find_damage()
        if damage is not None:
            yield Check("database", "broken", f"damaged: {damage}; see 'A damaged database' in docs/deployment.md")
            return
    versions = bench.database.schema_versions()
    older = [name for name, known in KNOWN_TABLES.items() if name in versions and versions[name] < known]
    listed = f"{bench.database.dialect}; schema " + (", ".join(f"{name} {number}" for name, number in versions.items()) or "not there yet")
    yield Check(
        "database", "warning" if older else "ok", listed + (f"; {', '.join(older)} will be migrated by the next start" if older else "")
    )


def _key(bench: Workbench) -> Iterator[Check]:
    for name, path in (("signing key", bench.home.signing_key), ("prediction id key", bench.home.ids_key)):
        if not path.exists():
            yield Check(name, "warning", "not there yet; made when first needed")
            continue
        private = _mode(path) & 0o077 == 0
        yield Check(name, "ok" if private else "broken", f"mode {_mode(path):04o}" + ("" if private else f": chmod 600 {path}"))


def _model_files(bench: Workbench) -> Iterator[Check]:
    """Say which registered model files would be refused today; they go on as they are."""
    if not bench.home.database.exists() and bench.settings.database_url.startswith("sqlite"):
        return
    for record in bench.registry.models():
        try:
            parse_spec(record.spec_text)
        except SpecError as error:
            problems = "; ".join(f"{problem.field}: {problem.message}" for problem in error.problems)
            yield Check(
                f"model file of {record.name}", "warning", f"it is used as it was registered, and train would refuse it: {problems}"
            )


def _champions(bench: Workbench) -> Iterator[Check]:
    if not bench.home.database.exists() and bench.settings.database_url.startswith("sqlite"):
        return
    versions: dict[str, VersionRecord] = {}
    for record in bench.registry.models():
        champion = bench.registry.alias(record.name, CHAMPION)
        if champion is None:
            yield Check(f"champion of {record.name}", "warning", "none: the model is not served")
            continue
        try:
            versions[record.name] = bench.registry.version(record.name, champion.version)
        except (EvergreenError, ValueError) as error:
            yield Check(f"champion of {record.name}", "broken", f"{champion.version}: its line in the registry cannot be read: {error}")
    reasons = _why_not(bench, versions)
    for name, version in versions.items():
        reason = reasons[name]
        state = "signed, unchanged, loads and reproduces its golden rows" if reason is None else reason
        yield Check(f"champion of {name}", "ok" if reason is None else "broken", f"{version.version}: {state}")
        rows = version.manifest.get("rows_digest")
        if rows is not None and not (bench.home.rows / f"{rows}.parquet").exists():
            yield Check(
                f"rows of {name}", "broken", f"the training rows of {version.version} are not in {bench.home.rows}: it cannot be retrained"
            )


def retained(bench: Workbench) -> Iterator[Check]:
    """Say of which models versions went by retention: they cannot answer any more."""
    if not bench.home.database.exists() and bench.settings.database_url.startswith("sqlite"):
        return
    for record in bench.registry.models():
        if gone := len(bench.registry.expired(record.name)):
            yield Check(f"versions of {record.name}", "ok", f"the files of {gone} went by retention; their manifests are left")


def _why_not(bench: Workbench, versions: Mapping[str, VersionRecord]) -> dict[str, str | None]:
    """Return why the service does not answer with a version, or None, by model; nothing is loaded in this process."""
    from service.models.load_attempts import MOST_DEATHS, LoadAttempts
    from service.models.trial import Tried, try_in_child
    from training.artifacts.verification import verify_version

    reasons: dict[str, str | None] = {}
    tried: dict[str, Tried] = {}
    attempts = LoadAttempts(bench.home.loading)
    for name, version in versions.items():
        try:
            verify_version(bench.home.artifacts / version.path, bench.home.cache, bench.key, version.digest)
            tried[name] = Tried(name, version.version, version.digest)
        except EvergreenError as error:
            reasons[name] = str(error)
    reasons |= dict(zip(tried, try_in_child(bench.home, list(tried.values())), strict=True))
    for name, version in versions.items():
        if attempts.deaths(name, version.version) >= MOST_DEATHS:
            refusal = f"the service refuses it: {MOST_DEATHS} workers died on it"
            again = f"; it loads here: the service tries it again by itself, at once if {bench.home.loading} is emptied"
            again = again if reasons[name] is None else f"; {reasons[name]}"
            reasons[name] = refusal + again
    return reasons


def _ports(bench: Workbench) -> Iterator[Check]:
    for name, variable, default in (
        ("service", "EVERGREEN_BIND", "127.0.0.1:8000"),
        ("monitoring", "EVERGREEN_MONITOR_BIND", "127.0.0.1:8001"),
    ):
        bind = bench.environment.get(variable) or default
        try:
            refuse_taken(bind, variable)
        except AddressTakenError:
            yield Check(f"port of the {name}", "warning", f"{bind} is in use: Evergreen is running, or something else is")
            continue
        except SettingsError as error:
            yield Check(f"port of the {name}", "broken", str(error))
            continue
        yield Check(f"port of the {name}", "ok", f"{bind} is free")


def _clocks(bench: Workbench) -> Iterator[Check]:
    if not bench.home.database.exists() and bench.settings.database_url.startswith("sqlite"):
        return
    for record in bench.registry.models():
        size = bench.log.size(record.name)
        future = _future(bench, record.name)
        stuck = (
            f"{size.ahead_rows} rows are dated further ahead than watching.clock_bound and do not move the clock; "
            "if their times are right: evergreen resume --advance-clock"
        )
        remarks = [*([future] if future else []), *([stuck] if size.ahead_rows > 0 else [])]
        detail = "; ".join(remarks) or f"{size.rows} rows, none ahead of the clock"
        yield Check(f"model time of {record.name}", "warning" if remarks else "ok", detail)


def _labels(bench: Workbench) -> Iterator[Check]:
    """Say of each model what became of the labels of a window, and what to do where most of them came to nothing."""
    if not bench.home.database.exists() and bench.settings.database_url.startswith("sqlite"):
        return
    for record in bench.registry.models():
        watermark_us, spec = bench.log.watermark(record.name), parse_spec(record.spec_text, stored=True)
        if watermark_us is None:
            continue
        came = labels_came(bench, spec, watermark_us)
        advice = f"; {came.remedy(spec.labels, spec.retention)}" if came.is_mostly_lost else ""
        yield Check(f"labels of {record.name}", "warning" if advice else "ok", f"{came.plain()}{advice}")


def _messages(bench: Workbench) -> Iterator[Check]:
    """Say who is told of what happens, and whether it arrives there."""
    settings = monitoring_settings(bench.environment)
    ways = [
        *([f"webhook {settings.webhook.where}"] if settings.webhook else []),
        *([f"mail to {settings.mail.where}"] if settings.mail else []),
    ]
    detail = "; ".join(ways) or "nobody is told: EVERGREEN_WEBHOOK_URL or EVERGREEN_MAIL_TO names who is (docs/settings.md)"
    is_there = bench.home.database.exists() or not bench.settings.database_url.startswith("sqlite")
    if not is_there or bench.database.schema_versions().get(COMPONENT) != VERSION:
        yield Check("messages", "ok", detail)
        return
    oldest_us = min((one.oldest_us for one in bench.journal.outbox.backlog()), default=None)
    is_stuck = oldest_us is not None and to_us(bench.now()) - oldest_us > STUCK_US
    yield Check("messages", "warning" if is_stuck else "ok", f"{detail}; {undelivered(bench)}" if is_stuck else detail)


def _future(bench: Workbench, model: str) -> str | None:
    """Return what to do about a model time that the machine's clock has not reached; None where it has, or its times are ordinal."""
    watermark_us, now, time = bench.log.watermark(model), bench.now(), bench.spec(model).schema.time
    if watermark_us is None or (time is not None and time.is_ordinal_clock) or watermark_us <= to_us(now + CLOCKS_APART):
        return None
    return (
        f"it is {from_us(watermark_us):%Y-%m-%d %H:%M}, and the machine's clock says {now:%Y-%m-%d %H:%M} (UTC): until then "
        f"labels count as too late and slots are judged too early; if the machine's clock is right: "
        f"evergreen resume --model {model} --set-clock {now:%Y-%m-%dT%H:%M}"
    )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
