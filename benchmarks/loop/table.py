"""All streams with all policies: what is run, kept, and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.loop import streams
from benchmarks.loop.lived import Lived, live
from benchmarks.loop.policies import MEMBERS, policies
from benchmarks.loop.reference import Reference, reference_of
from benchmarks.loop.scores import Spread, degraded, regret
from benchmarks.loop.streams import Case, load
from benchmarks.monitoring.table import spread

REFERENCE = "reference"
BARS = Spread(0.0, 1.0, 10.0)
HEADS = (
    "stream", "policy", "regret %", "loss", "fits", "promoted (harmful)", "refused", "failed", "reweighed", "left out", "rolled back",
    "degraded %", "alarms", "quarantined slots", "s",
)  # fmt: skip
APART = ("kdd99",)  # several classes that vanish and return: shown, and not summed


def run(stream: str, policy: str, case: Case, members: int, runs: Path | None) -> Lived | Reference | None:
    """Live through one stream under one policy, or read what an earlier run left in the folder; None where the stream is not there."""
    kept = None if runs is None else runs / f"{stream} {policy} {case}.json"
    kind: type[Lived | Reference] = Reference if policy == REFERENCE else Lived
    if kept is not None and kept.exists():
        return kind(**json.loads(kept.read_text()))
    loaded = load(stream, case)
    if loaded is None:
        return None
    result = reference_of(loaded) if policy == REFERENCE else live(loaded, policies(members)[policy])
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(asdict(result)))
        part.replace(kept)
    return result


def loop(
    case: Case, *, members: Sequence[int] = (MEMBERS,), processes: int = 1, only: Sequence[str] = (), runs: Path | None = None
) -> Iterator[str]:
    """Run all streams under all policies; yield the lines of two tables: by stream and policy, and over streams.

    Parameters
    ----------
    members
        Of the mixtures: each number is a policy.
    only
        Those whose ``stream, policy`` has one of these texts. The reference of their streams is always run.
    runs
        A folder in which finished runs are kept, of one state of the code: what lies there is not run again.
    """
    sizes = {name: size for size in members for name in policies(size)}
    pairs = [(stream, policy) for stream in streams.names() for policy in sizes]
    pairs = [pair for pair in pairs if not only or any(text in ", ".join(pair) for text in only)]
    some = dict.fromkeys(stream for stream, _ in pairs)
    wanted = [each for stream in some for each in ((stream, REFERENCE), *(pair for pair in pairs if pair[0] == stream))]
    work = {", ".join(pair): [partial(run, *pair, case, sizes.get(pair[1], 1), runs)] for pair in wanted}
    done = {name: result for name, (result,) in spread(work, processes) if result is not None}
    yield from table({tuple(name.split(", ", 1)): result for name, result in done.items()})


def table(done: Mapping[tuple[Any, ...], Lived | Reference]) -> Iterator[str]:
    """Yield the lines of both tables of what is done, by stream and policy."""
    best = {stream: one for (stream, policy), one in done.items() if isinstance(one, Reference)}
    yield f"| {' | '.join(HEADS)} |"
    yield "|" + "---|" * len(HEADS)
    for stream, reference in best.items():
        yield _line(_of_reference(stream, reference))
        for (of, policy), one in done.items():
            if of == stream and isinstance(one, Lived):
                yield _line(_of_lived(stream, policy, one, reference))
    yield from ("", "| policy | streams | median regret % | mean (cap 50) | worst | degraded % | fits |", "|---|---|---|---|---|---|---|")
    names = dict.fromkeys(policy for _, policy in done if policy != REFERENCE)
    summed = {stream: one for stream, one in best.items() if stream not in APART}
    if summed:
        regrets = [regret(one.mapped, one.losses) for one in summed.values()]
        fits = sum(one.fits for one in summed.values()) / len(summed)
        yield _line(("reference with maps", str(len(summed)), *_of_spread(Spread.of(regrets)), "-", f"{fits:.0f}"))
    for policy in names:
        lived = {stream: one for (stream, of), one in done.items() if of == policy and stream in summed and isinstance(one, Lived)}
        if lived:
            regrets = [regret(one.losses, best[stream].losses) for stream, one in lived.items()]
            late = sum(degraded(one.losses, best[stream].losses) for stream, one in lived.items()) / len(lived)
            fits = sum(one.fits for one in lived.values()) / len(lived)
            bars = BARS if policy.startswith("keeper") else None
            yield _line((policy, str(len(lived)), *_of_spread(Spread.of(regrets), bars), f"{100 * late:.1f}", f"{fits:.0f}"))


def _of_spread(figures: Spread, bars: Spread | None = None) -> Iterator[str]:
    """Yield its figures, in bold those that miss a bar."""
    for figure, bar in zip(figures, bars or figures, strict=True):
        yield f"{figure:+.1f}" if figure <= bar else f"**{figure:+.1f}** (bar {bar:g})"


def _of_reference(stream: str, one: Reference) -> tuple[str, ...]:
    maps = f"{REFERENCE}, window {one.window} (with maps {regret(one.mapped, one.losses):+.1f}, window {one.mapped_window})"
    loss = sum(one.losses) / len(one.losses)
    return stream, maps, "0", f"{loss:.4g}", str(one.fits), *["-"] * 9, f"{one.seconds:.0f}"


def _of_lived(stream: str, policy: str, one: Lived, best: Reference) -> tuple[str, ...]:
    return (
        stream,
        policy + (", from the guess" if one.is_from_guess else ""),
        f"{regret(one.losses, best.losses):+.1f}",
        f"{sum(one.losses) / len(one.losses):.4g}",
        str(one.fits),
        f"{one.promoted} ({one.harmful})",
        *(str(each) for each in (one.refused, one.failed, one.reweighed, one.left_out, one.rolled_back)),
        f"{100 * degraded(one.losses, best.losses):.0f}",
        str(one.alarms),
        f"{one.quarantined} of {one.slots}",
        f"{one.seconds:.0f}",
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
