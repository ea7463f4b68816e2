"""From a fitted model to a registered version: profiled, compiled, described, saved, registered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from training.artifacts.artifact import Artifact, save_artifact
from training.artifacts.draft import Draft
from training.artifacts.golden_rows import choose_golden
from training.artifacts.held_out import held_out_content
from training.artifacts.manifest import digest_of
from training.artifacts.signing import load_or_make_key
from training.cards.markdown import write_card
from training.cards.page import write_card_page
from training.clock import from_us
from training.compiling.compiling import prepare_serving
from training.dataset.dataset import fingerprint, split_by_time, write_rows
from training.dataset.report import DataReport
from training.errors import UnknownModelError
from training.fitting.learning import Learned
from training.learnable_rows import LearnableRows
from training.model_file.model_spec import ModelSpec, parse_spec
from training.own_code import Code, imported_code
from training.profiles.reference import Answered, Reference, build_reference
from training.progress import Progress
from training.registry.aliases import CHAMPION
from training.registry.registry import Registry
from training.registry.tables import Cause, Right
from training.result import Made, TrainingResult
from training.schema.rows import Rows
from training.settings import Home


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a version goes, when, and on whose behalf."""

    home: Home | None
    registry: Registry | None
    parent: str | None
    now: datetime | None
    right: Right | None
    who: str
    why: str

    @property
    def folders(self) -> Home:
        """The home, made."""
        return (self.home or Home(Path(".evergreen").absolute())).ensure()

    def check(self) -> None:
        """Raise what the right's guard raises when a run of the loop may not write any more: before files are written."""
        if self.registry is not None and self.right is not None:
            self.right.reached("run.fitted")
            self.registry.check(self.right.guard)


def publish(  # 7 parameters: what was learned, from what, how, where to, and who is told
    fitted: Learned,
    checked: LearnableRows,
    spec: ModelSpec,
    destination: Destination,
    durations: dict[str, float],
    progress: Progress,
    *,
    stores_rows: bool = True,
) -> TrainingResult:
    """Profile, write, register; `durations` takes how long each step took, in seconds."""
    rows, report = checked.rows, checked.report
    registry, now, began = destination.registry, destination.now or datetime.now(UTC), time.perf_counter()
    home = destination.folders
    progress.start("saving", 4)
    serving = prepare_serving(fitted.model, split_by_time(rows, spec.training.holdout)[1], seed=spec.training.seed)
    durations["compile"] = time.perf_counter() - began
    progress.advance(serving.sentence)
    reference = _reference(fitted, checked, spec)
    progress.advance("reference profile")
    destination.check()
    digest = write_rows(rows, spec.schema, home.rows)[0] if stores_rows else None
    breaks = _breaks(registry, spec)
    own = _own_code(fitted, spec)
    card, page = _cards(spec, fitted, report, serving=serving.sentence, breaks=breaks, more=_making(own, fitted, reference), now=now)
    search, first, last = fitted.search, int(rows.time_us[0]), int(rows.time_us[-1])
    durations["profile"] = time.perf_counter() - began - durations["compile"]
    draft = Draft(
        name=spec.model,
        model=fitted.model,
        reference=reference,
        golden=choose_golden(fitted.model, rows, spec.schema),
        spec_text=spec.text,
        data_start=from_us(first),
        data_end=from_us(last),
        trained_through_us=last,
        algorithm=fitted.algorithm,
        compiled=serving.compiled,
        report=_report(fitted, report, serving.to_dict(), breaks),
        parent=destination.parent or _champion(registry, spec.model),
        rows_digest=digest,
        data_fingerprint=digest or fingerprint(rows),
        metrics={name: e.to_dict() for name, e in fitted.evaluation.overall.items()},
        params=fitted.params,
        durations=durations,
        seed=spec.training.seed,
        rungs=search.rungs_completed if search else 0,
        fits=search.fits if search else 0,
        code={name: code.to_dict() for name, code in own.items()} or None,
        asked=spec.asked_of(is_imported=search is None) or None,
        card=card,
        page=page,
        **_kept(fitted, rows, is_stored=stores_rows),
    )
    artifact = save_artifact(draft, home.artifacts, load_or_make_key(home.signing_key), now)
    progress.advance(artifact.version)
    progress.advance("not registered" if registry is None else _register(artifact, spec, destination, registry, now))
    progress.done()
    return TrainingResult(
        artifact,
        Made(spec, draft, rows),
        fitted.evaluation.overall,
        fitted.evaluation,
        fitted.baseline,
        report,
        search,
        fitted.calibration,
        breaks,
        serving.sentence,
        *([] if fitted.refit is None else [fitted.refit.sentence]),
    )


def publish_again(made: TrainingResult, spec: ModelSpec, destination: Destination) -> TrainingResult:
    """Save and register once more, elsewhere or under another parent, what was learned already from these rows by this model file.

    Raises
    ------
    LeaseLostError, RunEndedError
        What the guard of the right raises.
    """
    destination.check()
    registry, now, home = destination.registry, destination.now or datetime.now(UTC), destination.folders
    write_rows(made.made.rows, spec.schema, home.rows)
    draft = replace(made.made.draft, parent=destination.parent or _champion(registry, spec.model), spec_text=spec.text)
    artifact = save_artifact(draft, home.artifacts, load_or_make_key(home.signing_key), now)
    if registry is not None:
        _register(artifact, spec, destination, registry, now)
    return replace(made, artifact=artifact, made=Made(spec, draft, made.made.rows))


def _own_code(fitted: Learned, spec: ModelSpec) -> dict[str, Code]:
    """Return the code of a user's that a version is made with, by candidate and metric."""
    own = {c.name: imported_code(c.factory) for c in spec.training.own} if fitted.search else {}
    return own if spec.own_metric is None else own | {spec.metric: imported_code(spec.metric)}


def _reference(fitted: Learned, checked: LearnableRows, spec: ModelSpec) -> Reference:
    """Count the rows of the range that was learned from, labelled or not, or the table that the model file names."""
    calm = checked.calm
    if calm is not None:
        answered = Answered(fitted.model.predict(calm.columns), np.arange(len(calm)))
        return build_reference(calm, spec.schema, spec.watching, answered)
    answered = Answered(fitted.newest, checked.places[-len(fitted.newest) :])
    return build_reference(checked.seen, spec.schema, spec.watching, answered)


def _making(own: Mapping[str, Code], fitted: Learned, reference: Reference) -> list[str]:
    lines = [f"own code: {name}: {code.sentence}" for name, code in own.items()]
    lines += [] if fitted.refit is None else [f"retraining: {fitted.refit.sentence}"]
    lines += [f"deciding: {fitted.deciding}"] if fitted.deciding else []
    return [*lines, *reference.measures.moving]


def _cards(spec: ModelSpec, fitted: Learned, report: DataReport, **how: Any) -> tuple[str, str]:
    """Return the model card, and the page of it."""
    return write_card(spec, fitted, report, **how), write_card_page(spec, fitted, report, **how)


def _kept(fitted: Learned, rows: Rows, *, is_stored: bool) -> dict[str, Any]:
    """Return what an artifact keeps of the answers for rows that were held out, and of an imported estimator."""
    time_us = None if is_stored else rows.time_us[len(rows) - len(fitted.newest) :]
    held_out = (
        {} if fitted.search is None else {"held_out": held_out_content(fitted.newest, len(rows), time_us)}
    )  # what else was fitted on nobody knows
    refit = fitted.refit
    if refit is None:
        return held_out
    content = None if refit.original is None else refit.original.content
    facts = {"sha256": None if content is None else digest_of(content), "why_not": refit.why_not}
    return {**held_out, "original": facts, "original_content": content}


def _register(artifact: Artifact, spec: ModelSpec, destination: Destination, registry: Registry, now: datetime) -> str:
    """Register a version, with its model file when a person trained it; say so in a word."""
    right, cause = destination.right, Cause(destination.who, destination.why)
    if right is None:
        registry.put_model(spec, who=destination.who, now=now)
        registry.register(artifact, cause=cause, now=now)
    else:
        right.reached("run.saved")
        cause = cause.with_evidence(fencing=dict(right.fencing))
        registry.register(artifact, cause=cause, run_id=right.run_id, now=now, guard=right.guard)
        right.reached("run.registered")
    return "registered"


def _report(fitted: Learned, report: DataReport, serving: dict[str, Any], breaks: tuple[str, ...]) -> dict[str, Any]:
    return {
        "data": report.to_dict(),
        "metrics": fitted.evaluation.to_dict(),
        "baseline": fitted.baseline.to_dict(),
        "curves": fitted.curves.to_dict(),
        "importance": None if fitted.importances is None else fitted.importances.to_dict(),
        "search": fitted.search.to_dict() if fitted.search else None,
        "calibration": fitted.calibration,
        **({"deciding": fitted.deciding} if fitted.deciding else {}),
        "serving": serving,
        "breaks": list(breaks),
    }


def _breaks(registry: Registry | None, spec: ModelSpec) -> tuple[str, ...]:
    if registry is None:
        return ()
    try:
        known = parse_spec(registry.get_model(spec.model).spec_text, stored=True).schema
    except UnknownModelError:
        return ()
    return tuple(known.breaks(spec.schema))


def _champion(registry: Registry | None, model: str) -> str | None:
    record = None if registry is None else registry.alias(model, CHAMPION)
    return None if record is None else record.version
