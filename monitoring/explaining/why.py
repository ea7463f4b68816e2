"""What is asked about: a version, a slot, a verdict, a quarantine, or a prediction; and why it is as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from monitoring.admin.status import ALIASES
from monitoring.admin.workbench import Workbench
from monitoring.errors import InputError
from monitoring.explaining.prediction_uses import explain_forgotten, explain_row
from monitoring.explaining.slot_records import explain_quarantine, explain_verdict
from monitoring.explaining.version_records import explain_version
from monitoring.journal.tables import LABELS_ONLY, VerdictRecord
from monitoring.judging.verdict import Kind
from monitoring.stores import Stores
from training.clock import from_us, to_us
from training.errors import UnknownVersionError
from training.own_code import extend_path

TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(\+00:00|Z)?)?(-labels)?")
MOST_NAMED = 5


def why(bench: Workbench, model: str, name: str) -> dict[str, Any]:
    """Return why something is as it is, as plain values; `kind` says what it is.

    Parameters
    ----------
    name
        A version or an alias; the time of a slot, or a day with one slot; the kind of a verdict, for the last of it; the name of a
        quarantine; a prediction id; or an id of the caller's own.

    Raises
    ------
    InputError
        Nothing is called so, or several are.
    """
    extend_path(bench.settings.code)
    stores = Stores(bench.home, bench.database, bench.registry, bench.log, bench.journal)
    if name in ALIASES:
        alias = bench.registry.alias(model, name)
        if alias is None:
            raise InputError(f"{model} has no {name}")
        return explain_version(stores, bench.registry.version(model, alias.version))
    try:
        return explain_version(stores, bench.registry.version(model, name))
    except UnknownVersionError:
        pass
    if name in get_args(Kind):
        return explain_verdict(stores, _last_of(stores, model, name))
    if TIME.fullmatch(name):
        return _of_time(stores, model, name)
    return _of_prediction(stores, bench, model, name)


def _last_of(stores: Stores, model: str, kind: str) -> VerdictRecord:
    looks = stores.journal.looks(model, 0)
    slots = [look.slot_us for look in looks if look.verdict == kind]
    if not slots:
        kinds = ", ".join(dict.fromkeys(look.verdict for look in looks)) or "none yet"
        raise InputError(f"no slot of {model} had the verdict {kind}; its verdicts: {kinds}")
    return stores.journal.verdicts(model, 1, slots=slots[-1:])[0]


def _of_time(stores: Stores, model: str, name: str) -> dict[str, Any]:
    """Explain the slot of a time, or the only one of a day; where none is, the quarantine that begins then."""
    is_day = len(name) == len("2024-01-01")
    known = stores.journal.quarantines(model, released=None, of_labels=None)
    aside = [one for one in known if one.name == name.replace(" ", "T")]
    if name.endswith(LABELS_ONLY) and not aside:
        raise InputError(f"{model} has no quarantine {name}; there is {_some([one.name for one in known]) or 'none'}")
    if name.endswith(LABELS_ONLY):
        return explain_quarantine(stores, aside[-1])
    try:
        start = datetime.fromisoformat(name.replace("Z", "+00:00"))
    except ValueError as error:
        raise InputError(f"{name!r} is no time: {error}") from error
    start = start if start.tzinfo is not None else start.replace(tzinfo=UTC)
    start_us = to_us(start)
    end_us = to_us(start + (timedelta(days=1) if is_day else timedelta(minutes=1)))
    looks = stores.journal.looks(model, 0)
    slots = [look.slot_us for look in looks if start_us <= look.slot_us < end_us]
    slots = [at for at in slots if at == start_us] or slots
    if len(slots) == 1:
        return explain_verdict(stores, stores.journal.verdicts(model, 1, slots=slots)[0])
    if len(slots) > 1:
        raise InputError(f"{len(slots)} slots of {model} are of {name}: {_some([from_us(at).isoformat() for at in slots])}; name one")
    if aside:
        return explain_quarantine(stores, aside[-1])
    near = sorted(looks, key=lambda look: abs(look.slot_us - start_us))[:2]
    nearest = "none was judged yet" if not near else f"the nearest are {_some(sorted(from_us(one.slot_us).isoformat() for one in near))}"
    raise InputError(f"{model} has no slot at {name}: {nearest}")


def _of_prediction(stores: Stores, bench: Workbench, model: str, name: str) -> dict[str, Any]:
    """Explain the prediction of an id that was minted here, or of one the caller gave it."""
    logged = stores.log.prediction(name)
    if logged is not None:
        return explain_row(stores, bench.spec(logged.model), name, logged)
    forgotten = explain_forgotten(stores, bench.spec(model), name)
    if forgotten is not None:
        return forgotten
    ids = stores.log.ids_of(model, name, MOST_NAMED + 1)
    if len(ids) > 1:
        raise InputError(f"{'more than ' if len(ids) > MOST_NAMED else ''}{min(len(ids), MOST_NAMED)} predictions of {model} carry the id "
                         f"{name}: {_some(ids)}; name one")  # fmt: skip
    if not ids:
        raise InputError(
            f"nothing of {model} is called {name!r}; wanted a version (`evergreen versions`), a slot such as 2024-10-03 or a verdict "
            "(`evergreen verdicts`), a quarantine, or the id of a prediction that is in the log"
        )
    row = stores.log.prediction(ids[0])
    assert row is not None
    return explain_row(stores, bench.spec(row.model), ids[0], row)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
