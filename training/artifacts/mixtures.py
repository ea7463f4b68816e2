"""A version of members is saved: a small artifact that names them, with golden rows and a card of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from training.artifacts.artifact import Artifact, LoadedArtifact, together
from training.artifacts.draft import CARD, REPORT, SPEC, save_whole, write_durably
from training.artifacts.golden_rows import answered
from training.artifacts.manifest import FileEntry, Manifest, current_libraries, digest_of
from training.artifacts.members import Member, newest, refuse_wrong
from training.artifacts.pickles import GOLDEN
from training.clock import from_us
from training.compiled.cost import Cost
from training.drawing.page import Table, section, text
from training.errors import ArtifactError
from training.json_text import to_bytes
from training.schema.schema import Schema

_HEADINGS = ("member", "family", "trained through", "weight", "map")


def save_mixture(  # 12 parameters: the public call, all but two of them options by name
    members: Sequence[Member],
    loaded: Mapping[str, LoadedArtifact],
    *,
    spec_text: str,
    parent: str,
    generation: str | None,
    reweighed: int | None = None,
    weighed_through_us: int | None,
    home_artifacts: Path,
    key: bytes,
    now: datetime,
    report: Mapping[str, Any] | None = None,
    threshold: float | None = None,
) -> Artifact:
    """Write a version of members to `home_artifacts/<model>/<version>`, whole and signed or not at all.

    What a manifest says beside (rows, metrics, algorithm) is that of the newest member, as are the requests of the golden rows.

    Parameters
    ----------
    members
        Their artifacts lie in `home_artifacts/<model>` too.
    loaded
        Each of them by its digest; more do no harm.
    spec_text
        The model file it answers by.
    parent
        The champion it follows.
    generation
        The first version with these members, which of one member is that itself; None where this is it.
    reweighed
        Which reweigh of its generation this is, from 1; None for the first version of one.
    weighed_through_us
        Model time of the last row that weights and maps were fitted on; None where they never were.
    now
        Machine time; the version is named by it.
    report
        How it came to weights and maps; under ``mixture`` in its report.
    threshold
        From which probability on the positive of two classes is decided; None decides the most probable, or the cheapest.

    Raises
    ------
    ArtifactError
        The members are none of one version, or cannot answer together; the disk is full or refuses.
    """
    try:
        refuse_wrong(members)
    except ValueError as error:
        raise ArtifactError(f"no version can be made: {error}") from error
    last = _loaded(newest(members), loaded)
    for member in members:
        _refuse_other(member, _loaded(member, loaded), last)
    schema = Schema.from_dict(last.manifest.schema)
    predictor = together(members, loaded, schema, spec_text, threshold)
    cost = Cost.total([loaded[member.digest].cost for member in members])
    serving = {"engine": "mixture", "cost": None if cost is None else cost.to_dict()}
    contents = {
        GOLDEN: to_bytes(answered(predictor, last.golden.rows, schema).to_dict()),
        CARD: (_section(last.manifest.model, members, schema, _together(cost, threshold)) + last.card).encode(),
        SPEC: spec_text.encode(),
        REPORT: to_bytes({**last.report, "serving": serving, "mixture": report or {}}),
    }
    manifest = replace(
        last.manifest,
        created=now,
        parent=parent,
        libraries=current_libraries(),
        durations={},
        model_sha256=digest_of(_answering(members, threshold)),
        files={name: FileEntry(digest_of(content), len(content)) for name, content in contents.items()},
        members=tuple(members),
        weighed_through_us=weighed_through_us,
        threshold=threshold,
        reweighed=reweighed,
        generation=generation or (members[0].version if len(members) == 1 else None),
    )

    def fill(folder: Path) -> Manifest:
        for name, content in contents.items():
            write_durably(folder / name, content)
        return manifest

    path, _ = save_whole(manifest.model, home_artifacts, key, fill)
    return Artifact(path, manifest, manifest.digest)


def _answering(members: Sequence[Member], threshold: float | None) -> bytes:
    """Return the canonical bytes of all that a version of members answers by."""
    stored = [member.to_dict() for member in members]
    return to_bytes(stored if threshold is None else {"members": stored, "threshold": threshold})


def _together(cost: Cost | None, threshold: float | None) -> list[str]:
    """Return what is said of members together."""
    costs = [] if cost is None else [f"Together: {cost.sentence}."]
    return costs if threshold is None else [*costs, f"The positive class is decided from a probability of {threshold:.4g} on."]


def _loaded(member: Member, loaded: Mapping[str, LoadedArtifact]) -> LoadedArtifact:
    if member.digest not in loaded:
        raise ArtifactError(f"no version can be made: its member {member.version} is not loaded")
    return loaded[member.digest]


def _refuse_other(member: Member, own: LoadedArtifact, last: LoadedArtifact) -> None:
    """Raise ArtifactError where an artifact is not what its member says, or answers other requests than the newest."""
    manifest = own.manifest
    wanted = {"version": member.version, "trained through": member.trained_through_us}
    wanted |= {"model": last.manifest.model, "contract": last.manifest.contract_hash, "members": None}
    there = {"version": own.version, "trained through": manifest.trained_through_us}
    there |= {"model": manifest.model, "contract": manifest.contract_hash, "members": manifest.members}
    for name, value in there.items():
        if value != wanted[name]:
            raise ArtifactError(f"no version can be made: of its member {member.version} {name} is {value}, wanted {wanted[name]}")


def with_members(page: str, manifest: Manifest) -> str:
    """Return the page of the newest member's card as that of a version of members: these come first."""
    members = manifest.members or ()
    schema = Schema.from_dict(manifest.schema)
    table = Table(_HEADINGS, _rows(members, schema), numeric=frozenset({3}))
    facts = [*_together(None, manifest.threshold), f"What follows is the card of the newest member, {newest(members).version}."]
    rest = "".join(f"<p>{text(fact)}</p>" for fact in facts)
    before, end, after = page.partition("</h1>")
    return before + end + section("members", "Members", table.html(), rest) + after


def _section(model: str, members: Sequence[Member], schema: Schema, facts: Sequence[str]) -> str:
    """Return the head of the card: which members answer, and with what share."""
    rows = [f"| {' | '.join(row)} |" for row in _rows(members, schema)]
    head = [f"# {model}: {len(members)} member{'s' if len(members) > 1 else ''}", "", "## Members", ""]
    table = [f"| {' | '.join(_HEADINGS)} |", "|---|---|---|--:|---|", *rows, ""]
    lines = [part for fact in facts for part in (fact, "")]
    return "\n".join([*head, *table, *lines, f"What follows is the card of the newest member, {newest(members).version}.", "", ""])


def _rows(members: Sequence[Member], schema: Schema) -> list[tuple[str, ...]]:
    return [
        (member.version, member.family, _moment(member.trained_through_us, schema), f"{member.weight:.3f}", _map(member))
        for member in members
    ]


def _moment(us: int, schema: Schema) -> str:
    return f"{from_us(us):%Y-%m-%d %H:%M}" if schema.is_dated(us) else "no time"


def _map(member: Member) -> str:
    return "none" if member.map is None else f"slope {member.map[0]:.4g}, intercept {member.map[1]:.4g}"
