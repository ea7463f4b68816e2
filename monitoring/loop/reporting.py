"""What the drift watch says at a slot: each column's distance and evidence, the episodes, and why nothing can be said."""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.drift.e_detector import Look
from monitoring.drift.watch_report import OpenEpisode, WatchedColumn, WatchReport, farthest_first
from monitoring.loop.watched import Watched, feature_of, lesson_us
from training.artifacts.manifest import generation_of
from training.clock import from_us
from training.profiles.bins import Profile, is_derived
from training.profiles.variation import parts_of_key


def report(watched: Watched, seen: Look) -> WatchReport:
    """Return what is said of a watch that was measured, by the evidence on it."""
    slot, state, variation = watched.slot, watched.state, watched.in_force.variation
    window = slot.stores.log.profile(
        slot.spec.model, watched.in_force.measures.id, slot.slot_us - slot.window_us, slot.slot_us, known_before_us=slot.slot_us
    )
    distances = watched.distances
    shown = [name for e in state.open if not e.is_muted(slot.slot_us) for name in e.names]
    looks = {one.key: one for one in seen.columns}
    left_out = set(watched.detector.left_out)
    keys = [*looks, *(c.key for c in variation.columns if c.key not in looks and c.key not in left_out)]
    columns = tuple(
        WatchedColumn(
            column=key,
            psi=distances.get(key, 0.0),
            floor=slot.policy.drift.floor_of(feature_of(key)),
            log10_evidence=looks[key].log10_evidence if key in looks else None,
            since_us=looks[key].since_us if key in looks else None,
            missing_share=_missing(window, key),
            is_drifting=key in shown,
        )
        for key in keys
    )
    episodes = tuple(
        OpenEpisode(
            number=e.number,
            since_us=e.since_us,
            columns=farthest_first([(c.column, distances.get(c.column, c.psi)) for c in e.columns]),
            is_new=e.opened_us == slot.slot_us,
            is_muted=e.is_muted(slot.slot_us),
        )
        for e in state.open
    )
    ended = tuple(e.ended_sentence() for e in state.episodes if e.ended_us is not None)
    rows = 0 if window is None else window.rows
    note = _note(watched, seen)
    return WatchReport(
        columns=columns,
        rows=rows,
        bins_id=watched.in_force.measures.id,
        note=note,
        log10_evidence=seen.log10_evidence,
        log10_threshold=seen.log10_threshold,
        episodes=episodes,
        ended=ended,
        reference=watched.in_force.number,
    )


def _missing(window: Profile | None, key: str) -> float | None:
    name, segment = parts_of_key(key)
    if segment:
        return None
    counts = None if window is None else window.counts.get(name)
    return 0.0 if counts is None or not counts.sum() else float(counts[-1] / counts.sum())


def _note(watched: Watched, seen: Look) -> str:
    notes = [seen.note] if seen.note else []
    end_us = watched.detector.begin_us + lesson_us(watched.slot)
    if notes and not watched.in_force.variation.is_enough and watched.slot.slot_us < end_us:
        notes = [f"the rows up to {from_us(end_us):%Y-%m-%d %H:%M} teach what is usual: nothing is called drift before"]
    if watched.waits:
        notes.append(watched.waits)
    if watched.detector.left_out:
        notes.append(_left_out(watched.detector.left_out, len(watched.in_force.variation.columns)))
    if watched.state.outputs_since_us is not None and generation_of(watched.state.champion) == watched.state.champion:
        notes.append(f"what {watched.slot.champion} answers is gathered for a window before it is watched")
    return "; ".join(notes)


def _left_out(keys: Sequence[str], n_columns: int) -> str:
    """Say what there was no room for.

    Examples
    --------
    >>> _left_out(["wind where place=coast", "wind where place=lake", "@distance"], 9)
    'not watched, as the state of one model has room for 6 of 9 columns: 2 of segments, 1 derived'
    """
    parts = [parts_of_key(key) for key in keys]
    of_segments = sum(bool(segment) for _, segment in parts)
    derived = sum(not segment and is_derived(name) for name, segment in parts)
    counts = {"of segments": of_segments, "derived": derived, "features": len(keys) - of_segments - derived}
    what = ", ".join(f"{n:,} {kind}" for kind, n in counts.items() if n)
    return f"not watched, as the state of one model has room for {n_columns - len(keys):,} of {n_columns:,} columns: {what}"
