"""The drift watch of one slot: what became known, what the evidence says, which episodes open and end.

Nothing is written to the journal here: what the slot hands on is written with its verdict (`monitoring.journal.drift_watch`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from monitoring.drift.e_detector import Look, look
from monitoring.drift.episodes import Episode, MovedColumn
from monitoring.drift.watch_report import WatchReport
from monitoring.drift.watch_state import Row, State, advance
from monitoring.journal.drift_watch import WatchState, WatchUpdate
from monitoring.log_windows import Range
from monitoring.loop.references import FEWEST_ROWS, InForce, count_under, fits, learned, rebinned
from monitoring.loop.reporting import report
from monitoring.loop.watched import Slot, Watched, feature_of, lesson_us, resting_columns, rule_of
from training.clock import duration_us
from training.profiles.bins import OUTPUTS, is_derived
from training.profiles.variation import ColumnVariation


def watch(slot: Slot, in_force: InForce, before: WatchState | None) -> tuple[WatchReport, WatchUpdate]:
    """Watch one slot.

    Parameters
    ----------
    in_force
        The reference that holds at it, see `monitoring.loop.references.in_force`.
    before
        What the slot before handed on; None at the first.
    """
    slot.stores.log.set_bucket_width(slot.spec.model, duration_us(slot.policy.bucket))
    watched = _advance(_begin(slot, in_force, before))
    watched = _end_episodes(_follow_champion(_learn(_acknowledge(watched))))
    watched, seen = _open_episode(watched)
    state = replace(watched.state, detector=watched.detector.to_bytes(), reference=watched.in_force.number)
    is_taken = before is None or before.reference != state.reference
    return report(watched, seen), WatchUpdate(state, watched.in_force.stored() if is_taken else None)


def stop(slot_us: int, before: WatchState | None) -> tuple[WatchUpdate | None, tuple[str, ...]]:
    """End the watch at a slot that the classic rule judges; return what it writes, and a sentence for each episode that ended.

    What it added up is no evidence any more: it begins anew where the model file goes back.
    """
    if before is None or not before.open:
        return None, ()
    ended = tuple(episode.end(slot_us, "the rule is classic now") for episode in before.open)
    return WatchUpdate(replace(before, slot_us=slot_us, detector=b"", episodes=ended)), tuple(one.ended_sentence() for one in ended)


def report_of(slot: Slot, in_force: InForce, before: WatchState) -> WatchReport:
    """Say what the slot before said, to one who asks between two slots."""
    if not before.detector:
        return WatchReport((), 0, in_force.measures.id, "the watch begins anew at the next slot")
    detector = State.from_bytes(before.detector)
    if detector.bins_id != in_force.measures.id:
        return WatchReport((), 0, in_force.measures.id, f"{slot.champion} has other features: the watch begins anew at the next slot")
    slot = replace(slot, slot_us=before.slot_us)
    watched = Watched(slot, in_force.number, in_force, replace(before, episodes=before.open), detector).measured()
    return report(watched, look(detector, in_force.variation, rule_of(watched)))


def _begin(slot: Slot, in_force: InForce, before: WatchState | None) -> Watched:
    """Go on from the slot before; the sums begin anew under other measures, other slots, or after another rule."""
    every_us = duration_us(slot.policy.every)
    detector = None if before is None or not before.detector else State.from_bytes(before.detector)
    if before is not None and detector is not None and (detector.bins_id, detector.every_us) == (in_force.measures.id, every_us):
        count_under(slot.stores, slot.spec, in_force.measures, before.slot_us - slot.window_us)
        state = replace(before, slot_us=slot.slot_us, episodes=before.open)
        return Watched(slot, before.reference, in_force, state, detector)
    begin_us = slot.slot_us - every_us
    count_under(slot.stores, slot.spec, in_force.measures, begin_us - slot.window_us)
    detector = State.begin(in_force.variation, begin_us, every_us)
    state = WatchState(slot.slot_us, in_force.number, b"", champion=slot.version)
    if before is None:
        state = replace(state, next_episode=slot.stores.journal.watch_beginning(slot.spec.model)[1])
        return Watched(slot, 0, in_force, state, detector)
    ended = tuple(episode.end(slot.slot_us, "the watch began anew") for episode in before.open)
    state = replace(state, episodes=ended, next_episode=before.next_episode)
    if in_force.number == before.reference:  # whose outputs are those of the champion then, or are still gathered
        since_us = before.outputs_since_us
        gathered_us = None if since_us is None else max(since_us, begin_us - slot.window_us)
        state = replace(state, champion=before.champion, outputs_since_us=gathered_us)
    return Watched(slot, before.reference, in_force, state, detector)


def _advance(watched: Watched) -> Watched:
    """Add what became known since the slot before, and take out, or back in, what is left out since."""
    slot, detector = watched.slot, watched.detector
    model, bins_id = slot.spec.model, watched.in_force.measures.id
    new: list[Row] = [
        row for row in slot.stores.log.ledger(model, bins_id, detector.slot_us, slot.slot_us) if not _is_in(row.bucket_us, slot.aside)
    ]
    removed: list[Row] = []
    for row in _rows_of_changed_ranges(watched):
        (removed if _is_in(row[0], slot.aside) else new).append(row)
    aside = tuple((r.start_us, r.end_us) for r in slot.aside)
    return replace(watched, detector=advance(detector, slot.slot_us, new, removed), state=replace(watched.state, aside=aside))


def _rows_of_changed_ranges(watched: Watched) -> Iterator[Row]:
    slot, detector, measures = watched.slot, watched.detector, watched.in_force.measures
    before = tuple(Range(*span) for span in watched.state.aside)
    seen: set[tuple[int, str]] = set()
    for span in {*before} ^ {*slot.aside}:
        for segment in measures.keys:
            buckets = slot.stores.log.buckets(
                slot.spec.model, measures.id, span.start_us, span.end_us, known_before_us=detector.slot_us, segment=segment
            )
            for bucket_us, part in buckets:
                has_changed = _is_in(bucket_us, before) != _is_in(bucket_us, slot.aside)
                if has_changed and (bucket_us, segment) not in seen:
                    seen.add((bucket_us, segment))
                    yield bucket_us, duration_us(slot.policy.bucket), segment, part


def _is_in(bucket_us: int, spans: tuple[Range, ...]) -> bool:
    return any(span.start_us <= bucket_us < span.end_us for span in spans)


def _acknowledge(watched: Watched) -> Watched:
    slot, state = watched.slot, watched.state
    by_number = slot.stores.journal.acknowledgements(slot.spec.model, [e.number for e in state.open])
    for number in [n for n, one in by_number.items() if one.is_reference]:
        one = by_number.pop(number)
        renewed = watched.recount(f"{one.who} took the last window as the reference{': ' if one.why else ''}{one.why}")
        if renewed is not watched:
            return renewed
        waits = f"episode {number} waits for a window of {FEWEST_ROWS} rows or more, to be taken as the reference"
        watched = replace(watched, waits=waits)
    episodes = tuple(e.acknowledged(by_number[e.number], slot.slot_us) if e.number in by_number else e for e in state.episodes)
    return replace(watched, state=replace(state, episodes=episodes))


def _learn(watched: Watched) -> Watched:
    """Let the first live rows teach what the reference could not: without times or with few blocks, or by the model file."""
    slot, detector = watched.slot, watched.detector
    if watched.in_force.variation.is_enough:
        return watched
    length_us = lesson_us(slot)
    if slot.slot_us - detector.begin_us < length_us:
        return watched
    for end_us in (detector.begin_us + length_us, slot.slot_us):  # longer where that had too few blocks
        span = Range(detector.begin_us, end_us)
        live = learned(slot.stores, watched.in_force, slot.spec.model, span, slot.slot_us, slot.aside)
        if live.is_enough:
            return watched.renew("the first live rows", list(live.columns), is_enough=True)
    return watched


def _follow_champion(watched: Watched) -> Watched:
    """Let the outputs of another champion be their own reference, once it has answered for a window.

    Another version of the same members is another champion here: its maps move what is answered. So outputs are watched where maps rest,
    as where no labels come; where they do, it is these that tell.
    """
    slot, state = watched.slot, watched.state
    if state.champion != slot.version:
        return replace(watched, state=replace(state, champion=slot.version, outputs_since_us=slot.slot_us))
    if state.outputs_since_us is None or slot.slot_us < state.outputs_since_us + slot.window_us:
        return watched
    span = Range(state.outputs_since_us, state.outputs_since_us + slot.window_us)
    watched = replace(watched, state=replace(state, outputs_since_us=None))
    live = learned(slot.stores, watched.in_force, slot.spec.model, span, slot.slot_us, slot.aside, slot.champion)
    outputs = [column for column in live.columns if column.name in OUTPUTS]
    return watched.renew(f"the outputs of {slot.champion}", outputs) if outputs else watched


def _end_episodes(watched: Watched) -> Watched:
    """End what a training covers, and what is calm again."""
    slot = watched.slot
    for episode in watched.state.open:
        if episode.is_covered(slot.trained_through_us, slot.window_us):
            watched = _cover(watched, episode)
    watched = watched.measured()
    episodes = []
    for episode in watched.state.episodes:
        floors = {name: slot.policy.drift.floor_of(feature_of(name)) for name in episode.names}
        is_open = episode.ended_us is None
        episodes.append(episode.calmed(slot.slot_us, slot.window_us, watched.distances, floors) if is_open else episode)
    columns = watched.in_force.variation.columns
    ended, still_open = ([e for e in episodes if (e.ended_us is None) == is_open] for is_open in (False, True))
    woken = resting_columns(columns, ended) - resting_columns(columns, still_open)
    resting = {**watched.state.resting, **dict.fromkeys(woken, slot.slot_us)}
    return replace(watched, state=replace(watched.state, episodes=tuple(episodes), resting=resting))


def _live(watched: Watched, span: Range) -> Sequence[ColumnVariation]:
    """Learn how columns vary in a range from its counts, or from its rows where it began before what is counted under these bins."""
    slot, held = watched.slot, watched.in_force
    if span.start_us >= watched.detector.begin_us - slot.window_us:
        return learned(slot.stores, held, slot.spec.model, span, slot.slot_us, slot.aside).columns
    keys = {column.key for column in held.variation.columns}
    counted = rebinned(slot.stores, slot.spec, held.reference, (set(), keys), span, slot.slot_us, slot.aside)
    return () if counted is None or counted.variation is None else counted.variation.columns


def _cover(watched: Watched, episode: Episode) -> Watched:
    """Take what the champion learned from since an episode began as the reference of its columns, with new bins where those fit no more.

    What is computed of its columns has moved with them.
    """
    slot, measures = watched.slot, watched.in_force.measures
    span = Range(episode.since_us, slot.trained_through_us + 1)
    live = _live(watched, span)
    derived, features = measures.derived, {feature_of(name) for name in episode.names}
    computed = () if derived is None else [c.name for c in live if derived.is_computed_of(c.name, features)]
    columns = [column for column in live if column.key in episode.names or column.name in computed]
    known = {column.key: column for column in watched.in_force.variation.columns}
    ended = episode.covered(slot.slot_us, slot.champion, slot.trained_through_us)
    episodes = tuple(ended if e.number == episode.number else e for e in watched.state.episodes)
    watched = replace(watched, state=replace(watched.state, episodes=episodes))
    watched = watched.renew(f"episode {episode.number}, which {slot.champion} was trained on", columns)
    # What is computed keeps its bins: new ones would be of what another computation gives.
    inputs = [c for c in columns if c.key in known and not is_derived(c.name)]
    outgrown = {c.name for c in inputs if not fits(measures.bins.column(c.name), known[c.key].total.tolist(), c.total.tolist())}
    return watched.rebin(outgrown, {c.key for c in columns}, span) if outgrown else watched


def _open_episode(watched: Watched) -> tuple[Watched, Look]:
    """Open an episode on an alarm; columns that began to move before an open one was seen belong to it."""
    state, slot_us = watched.state, watched.slot.slot_us
    seen = look(watched.detector, watched.in_force.variation, rule_of(watched))
    if not seen.is_alarm:
        return watched, seen
    named = [c for c in seen.columns if c.is_named]
    columns = tuple(MovedColumn(c.key, round(c.psi, 6), round(c.log10_evidence, 3)) for c in sorted(named, key=lambda c: -c.psi))
    strongest = max(named, key=lambda c: c.log10_evidence)
    since_us = slot_us if strongest.since_us is None else strongest.since_us
    same = next((e for e in state.open if since_us <= e.opened_us), None)
    if same is not None:
        episodes = tuple(e.joined(columns) if e.number == same.number else e for e in state.episodes)
        return replace(watched, state=replace(state, episodes=episodes)), seen
    opened = Episode(state.next_episode, slot_us, since_us, columns)
    state = replace(state, episodes=(*state.episodes, opened), next_episode=state.next_episode + 1)
    return replace(watched, state=state), seen
