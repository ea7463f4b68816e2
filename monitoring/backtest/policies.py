"""What is compared: a policy is a variant of the model file, and who drives it through the table."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

import yaml

from monitoring.errors import InputError
from training.clock import duration_us, format_duration
from training.model_file.model_spec import ModelSpec, parse_spec
from training.policies import MEMBERS

CADENCES = (3, 9, 27)
"""In slots: each a multiple of the one before, so that what the slower trains the quicker has trained."""
RECENT = 0.16
"""Of the table's span: the window of the periodic policies where the model file has none."""
YOURS, NEVER, MAPS, ALARM, KEEPER, HINDSIGHT, PERIODIC = "yours", "never", "maps", "alarm", "keeper", "hindsight", "periodic"
NOTHING_ASKS: Mapping[str, Any] = {"act": "auto", "schedule": None, "on_performance": False, "on_drift": False, "min_new_labels": None}
"""Of `retraining`: nothing asks for a training."""
Kind = Literal["loop", "first version", "refits"]


@dataclass(frozen=True, slots=True)
class Policy:
    """One way of keeping the model.

    Attributes
    ----------
    kind
        ``loop``: the loop as it is, under the variant; ``first version``: nothing is ever done; ``refits``: bare fits at every slot.
    changes
        What of the model file is other than the user's, nested as in it; None: the key is left out. What the loop learns to do comes here
        as keys of the model file too.
    whole
        The text of another model file, in place of changes.
    """

    name: str
    sentence: str
    kind: Kind = "loop"
    changes: Mapping[str, Any] = field(default_factory=dict)
    whole: str | None = None

    def variant(self, spec: ModelSpec) -> ModelSpec:
        """Return the model file under which it is driven."""
        if self.whole is not None:
            return parse_spec(self.whole)
        if not self.changes:
            return spec
        changed = merged(yaml.safe_load(spec.text), self.changes)
        return parse_spec(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True))

    @property
    def block(self) -> str:
        """What is to be pasted into the model file to do as it does; empty where there is nothing to."""
        if not self.changes:
            return ""
        kept, left_out = _parted(self.changes)
        lines = [f"# {key}: take this line out\n" for key in left_out]
        return "".join(lines) + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def behave_alike(one: ModelSpec, other: ModelSpec) -> bool:
    """Return whether two model files differ in words only, so that one life tells of both."""
    paces = ("schedule", "cool_down")  # unwritten, they follow what new members bring
    written = [[name in each.retraining.written for name in paces] for each in (one, other)]
    return replace(one, text="") == replace(other, text="") and written[0] == written[1]


def merged(keys: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested keys with others in their place; those that are None are left out.

    Examples
    --------
    >>> merged({"retraining": {"schedule": "7d", "act": "auto"}}, {"retraining": {"schedule": None}, "training": {"window": "9d"}})
    {'retraining': {'act': 'auto'}, 'training': {'window': '9d'}}
    """
    out: dict[str, Any] = copy.deepcopy(dict(keys))
    for key, value in changes.items():
        if isinstance(value, Mapping):
            out[key] = merged(out.get(key) or {}, value)
        elif value is None:
            out.pop(key, None)
        else:
            out[key] = value
    return out


def _parted(changes: Mapping[str, Any], inside: str = "") -> tuple[dict[str, Any], list[str]]:
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in changes.items():
        if value is None:
            left_out.append(f"{inside}{key}")
        elif isinstance(value, Mapping):
            inner, more = _parted(value, f"{inside}{key}.")
            left_out += more
            if inner:
                kept[key] = inner
        else:
            kept[key] = value
    return kept, left_out


def policies_of(spec: ModelSpec, span_us: int, n_slots: int) -> tuple[Policy, ...]:
    """Return all policies there are for a table.

    Parameters
    ----------
    span_us
        How much model time the table spans.
    n_slots
        How many slots it has; a cadence that is not shorter would be that of never.
    """
    yours = Policy(YOURS, "as the model file says")
    never = Policy(NEVER, "the first version, for ever", "first version", {"retraining": {"act": "notify"}})
    alarm = Policy(
        ALARM,
        "retrained when it does worse than it did, and only then",
        changes={"retraining": {**NOTHING_ASKS, "on_performance": True}, "training": {"members": 1}},
    )
    maps = Policy(
        MAPS,
        "never retrained, its answers mapped by what came true lately",
        changes={"retraining": NOTHING_ASKS, "training": {"members": 1, "map": None}},
    )
    usual = dict.fromkeys(("schedule", "cool_down", "budget_per_week", "gate", "min_new_labels"))
    keeper = Policy(
        KEEPER,
        f"{MEMBERS} members, one more every second slot, mapped and weighed",
        changes={"retraining": {"act": "auto", **usual}, "training": {"members": None, "map": None}},
    )
    hindsight = Policy(HINDSIGHT, "bare refits at every slot, on the one window that turned out best", "refits")
    return (yours, never, maps, *_periodic(spec, span_us, n_slots), alarm, keeper, hindsight)


def _periodic(spec: ModelSpec, span_us: int, n_slots: int) -> Iterator[Policy]:
    every, own = spec.watching.every, spec.training.window
    days = max(duration_us(spec.watching.bucket), round(RECENT * span_us))
    bucket_us = duration_us(spec.watching.bucket)
    recent = own or timedelta(microseconds=days // bucket_us * bucket_us)
    for slots in CADENCES:
        if slots >= n_slots:
            continue
        schedule = format_duration(slots * every)
        retraining = {**NOTHING_ASKS, "schedule": schedule, "cool_down": format_duration(every)}
        for name, window in (("all", None), ("recent", format_duration(recent))):
            what = "all rows so far" if window is None else f"those of the last {window}"
            changes = {"retraining": retraining, "training": {"window": window, "members": 1}}
            yield Policy(f"every{slots}-{name}", f"retrained every {schedule}, on {what}", changes=changes)


def chosen(known: Sequence[Policy], names: Sequence[str]) -> tuple[Policy, ...]:
    """Return the policies of some names, the user's always among them: the others are held against it.

    Parameters
    ----------
    names
        ``periodic`` stands for all that are; none: all policies.

    Raises
    ------
    InputError
        One is not known.
    """
    if not names:
        return tuple(known)
    by_name = {one.name: one for one in known}
    wanted = [each for name in names for each in ([one for one in by_name if one.startswith("every")] if name == PERIODIC else [name])]
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        raise InputError(
            f"there is no policy {unknown[0]!r} for this table; there are {', '.join(by_name)}, and {PERIODIC} for all of every"
        )
    return tuple(one for one in known if one.name in {YOURS, *wanted})


def other_file(name: str, text: str, spec: ModelSpec) -> Policy:
    """Return the policy of another model file of the same model.

    Raises
    ------
    InputError
        It answers other requests, or looks at other times.
    SpecError
        It is none.
    """
    other = parse_spec(text, source=name)
    if other.schema.contract_hash != spec.schema.contract_hash or other.model != spec.model:
        raise InputError(
            f"{name} is of another model, or answers other requests ({'; '.join(spec.schema.breaks(other.schema)) or other.model})"
        )
    for key in ("every", "bucket"):
        mine, its = getattr(spec.watching, key), getattr(other.watching, key)
        if mine != its:
            raise InputError(
                f"{name} says watching.{key}: {format_duration(its)}, the model file {format_duration(mine)}: slots are not comparable"
            )
    return Policy(name, "as that model file says", whole=text)
