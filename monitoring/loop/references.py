"""What live rows of a model are compared with: the reference in force, and where a new one comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from monitoring.drift.watch_state import FINE_FOR_US, HOURLY_FOR_US
from monitoring.journal.drift_watch import StoredReference, WatchState
from monitoring.log_windows import Range, is_kept, take
from monitoring.stores import Stores
from service.prediction_log.reading import LoggedRows
from service.recording.recounting import recount
from training.artifacts.manifest import generation_of
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.profiles.bins import Bins, ColumnBins, Profile
from training.profiles.measures import Measures
from training.profiles.phases import DAY_US, HOUR_US
from training.profiles.reference import Reference, build_reference, count_reference, learn_measures, newest_answered
from training.profiles.variation import ColumnBlocks, Variation, column_blocks, learn_variation

MOST_ROWS = 500_000  # of the log that are counted again: the newest of the window
FEWEST_ROWS = 50  # that make a reference
FULL_BIN, OUTSIDE = 0.3, 0.02  # a bin that newly holds more than that, or more rows than that outside: the bins fit no more


@dataclass(frozen=True, slots=True)
class InForce:
    """The reference in force.

    Attributes
    ----------
    number
        Counts the references of a model, from 1.
    from_us
        The slot that took it.
    why
        Where it comes from.
    """

    number: int
    from_us: int
    why: str
    reference: Reference

    @property
    def measures(self) -> Measures:
        """What is counted of a row."""
        return self.reference.measures

    @property
    def variation(self) -> Variation:
        """What the reference teaches; nothing but its counts while there were too few blocks."""
        return self.reference.variation or _unlearned(self.reference)

    @property
    def is_classic(self) -> bool:
        """Whether it was made before there was a sequential rule."""
        return self.reference.start_us is None

    def renewed(self, slot_us: int, why: str, reference: Reference, base: int) -> InForce:
        """Return another one taken at a slot; one slot takes one number after that of the slot before, whatever it does."""
        joined = f"{self.why}; {why}" if self.number > base else why
        return InForce(base + 1, slot_us, joined, reference)

    def stored(self) -> StoredReference:
        """Return what the journal keeps."""
        return StoredReference(self.number, self.from_us, self.why, self.reference.to_json().decode())


def in_force(stores: Stores, spec: ModelSpec, champion: str, slot_us: int, before: WatchState | None) -> InForce:
    """Return the reference that holds at a slot: the one the slot before went by, else the one taken last, else the first.

    The first is the champion's own: of what its training saw, or of the table that the model file names. One that was made before there
    was a sequential rule gives way to that of the first champion that was made since, and one of other features to the champion's.
    """
    stored = stores.journal.watch_beginning(spec.model)[0] if before is None else stores.journal.reference(spec.model, before.reference)
    own = stores.load(spec.model, champion).reference
    if stored is None:
        return InForce(1, slot_us, *_first(spec, champion, own))
    held = _read(stores, spec.model, stored)
    is_moved = before is not None and generation_of(before.champion) != generation_of(champion)
    if own.start_us is not None and (held.is_classic or (is_moved and _features(held.reference) != _features(own))):
        return held.renewed(slot_us, *_first(spec, champion, own), base=held.number)
    return held


def champions_own(stores: Stores, spec: ModelSpec, champion: str, slot_us: int) -> InForce:
    """Return the champion's own reference: what the classic rule compares with."""
    return InForce(0, slot_us, f"the training of {champion}", stores.load(spec.model, champion).reference)


def count_under(stores: Stores, spec: ModelSpec, measures: Measures, from_us: int) -> None:
    """See to it that rows are counted under these measures, those of the log since a model time too."""
    counted = stores.log.measures(spec.model)
    if counted is None or counted.bins_id != measures.id:
        width_us = duration_us(spec.watching.bucket)
        for _ in recount(stores.database, spec.model, measures, from_us=from_us, width_us=width_us, machine_now=datetime.now(UTC)):
            pass


def of_window(stores: Stores, spec: ModelSpec, slot_us: int, aside: Sequence[Range]) -> Reference | None:
    """Learn a reference, its bins too, from the rows of the last window, as of the slot; None where it has too few."""
    logged = _newest_rows(stores, spec, Range(slot_us - duration_us(spec.watching.window), slot_us), slot_us, aside)
    if len(logged) < FEWEST_ROWS:
        return None
    return build_reference(logged.rows, spec.schema, spec.watching, newest_answered(logged.prediction, len(logged)))


def rebinned(
    stores: Stores,
    spec: ModelSpec,
    known: Reference,
    columns: tuple[Collection[str], Collection[str]],
    span: Range,
    slot_us: int,
    aside: Sequence[Range],
) -> Reference | None:
    """Learn the bins of some columns, and how some vary, from a range's rows, as of the slot; all others stay. None with too few rows.

    Parameters
    ----------
    columns
        The names of the former, the keys of the latter.
    """
    names, moved = columns
    logged = _newest_rows(stores, spec, span, slot_us, aside)
    if len(logged) < FEWEST_ROWS or known.variation is None:
        return None
    answered = newest_answered(logged.prediction, len(logged))
    fresh = {bins.name: bins for bins in learn_measures(logged.rows, spec.schema, spec.watching, answered).bins.columns} if names else {}
    bins = Bins(tuple(fresh.get(one.name, one) if one.name in names else one for one in known.bins.columns))
    counted = count_reference(replace(known.measures, bins=bins), logged.rows, spec.watching, answered, known=known.variation)
    if counted.variation is None:
        return None
    others = [column for column in known.variation.columns if column.name not in names and column.key not in moved]
    return replace(counted, variation=replace(counted.variation.with_columns(others), is_enough=True))


def _newest_rows(stores: Stores, spec: ModelSpec, span: Range, slot_us: int, aside: Sequence[Range]) -> LoggedRows:
    logged = stores.log.rows(spec.model, span.start_us, span.end_us, spec.schema, known_by=slot_us - 1)
    logged = take(logged, is_kept(logged.rows.time_us, aside))
    return logged if len(logged) <= MOST_ROWS else take(logged, logged.rows.time_us >= logged.rows.time_us[-MOST_ROWS])


def learned(
    stores: Stores, held: InForce, model: str, span: Range, slot_us: int, aside: Sequence[Range], version: str | None = None
) -> Variation:
    """Learn from the counts of a range of model time, as they were known at a slot; what it is too short to show is as it was known."""
    measures = held.measures
    width_us = _width(stores, model, span.start_us, slot_us)

    def columns() -> Iterator[ColumnBlocks]:
        for segment in measures.keys:
            buckets = stores.log.buckets(
                model, measures.id, span.start_us, span.end_us, known_before_us=slot_us, segment=segment, version=version
            )
            kept = ((bucket_us, part) for bucket_us, part in buckets if not any(r.start_us <= bucket_us < r.end_us for r in aside))
            blocks = column_blocks(measures.bins, list(_joined(kept, width_us)), width_us, segment)
            yield from (one for one in blocks if one.name in measures.watched)

    return learn_variation(measures.id, columns(), held.variation)


def with_variation(reference: Reference, variation: Variation) -> Reference:
    """Return a reference that teaches something else."""
    return replace(reference, variation=variation)


def fits(bins: ColumnBins, before: Sequence[int], now: Sequence[int]) -> bool:
    """Return whether bins still part a column: none newly holds most of it, and little lies outside.

    Examples
    --------
    >>> bins = ColumnBins("x", "numeric", edges=(0.0, 1.0, 2.0))
    >>> fits(bins, [50, 50, 0, 0, 0], [45, 54, 0, 1, 0]), fits(bins, [50, 50, 0, 0, 0], [40, 50, 0, 10, 0])
    (True, False)
    >>> fits(bins, [25, 75, 0, 0, 0], [60, 40, 0, 0, 0])
    False
    """
    were, are = [n / max(1, sum(before)) for n in before], [n / max(1, sum(now)) for n in now]
    outside = slice(-2, -1) if bins.kind == "categorical" else slice(-3, -1)
    is_fuller = any(was <= FULL_BIN < now_is for was, now_is in zip(were[:-1], are[:-1], strict=True))
    return not is_fuller and sum(are[outside]) - sum(were[outside]) <= OUTSIDE


def _first(spec: ModelSpec, champion: str, own: Reference) -> tuple[str, Reference]:
    chosen = spec.watching.drift.reference
    if isinstance(chosen, timedelta):
        return f"the first rows after {champion} was promoted", replace(own, variation=None)
    return f"the training of {champion}" if chosen == "training" else f"the table {chosen}", own


def _features(reference: Reference) -> set[str]:
    return {column.name for column in reference.bins.columns if not column.name.startswith("@")}


def _read(stores: Stores, model: str, stored: StoredReference) -> InForce:
    key = (model, stored.number, stored.from_us)
    if key not in stores.references:
        stores.references.clear()
        stores.references[key] = Reference.from_json(stored.content)
    return InForce(stored.number, stored.from_us, stored.why, stores.references[key])


def _unlearned(reference: Reference) -> Variation:
    wholes = {"": reference.total, **reference.segments}
    width_us = duration_us(reference.bucket)
    columns = (
        one
        for segment in reference.measures.keys
        if segment in wholes
        for one in column_blocks(reference.bins, [(0, wholes[segment])], width_us, segment)
        if one.name in reference.measures.watched
    )
    return replace(learn_variation(reference.measures.id, columns), is_enough=False)


def _width(stores: Stores, model: str, start_us: int, slot_us: int) -> int:
    counted = stores.log.measures(model)
    width_us = HOUR_US if counted is None else counted.width_us
    if slot_us - start_us > HOURLY_FOR_US:
        return max(width_us, DAY_US)
    return max(width_us, HOUR_US) if slot_us - start_us > FINE_FOR_US else width_us


def _joined(buckets: Iterable[tuple[int, Profile]], width_us: int) -> Iterator[tuple[int, Profile]]:
    start_us: int | None = None
    held: Profile | None = None
    for bucket_us, part in buckets:
        block_us = bucket_us // width_us * width_us
        if held is not None and start_us == block_us:
            held = held.merge(part)
            continue
        if held is not None and start_us is not None:
            yield start_us, held
        start_us, held = block_us, part
    if held is not None and start_us is not None:
        yield start_us, held
