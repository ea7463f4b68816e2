"""Inputs broken: data faults bucket by bucket, measured against the reference's own buckets (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from monitoring.judging.faults.column_faults import SURPRISE, broken, surprise
from monitoring.judging.faults.repeated_rows import is_flood, repeated_share, usual_share
from monitoring.judging.faults.unit_changes import Converted, conversion, convert, is_gradual, says
from monitoring.judging.usual_ranges import FEWEST_ROWS, Usual, count_varying, grouped, usual, usual_blocks
from training.policies import ColumnRule, FaultPolicy
from training.profiles.bins import DECIMALS, RULE, Profile
from training.profiles.decimals import STRAYING, is_finer
from training.profiles.reference import Reference

FaultKind = Literal[
    "null_burst", "constant", "out_of_range", "new_category", "off_calendar", "unit_change", "decimals", "duplicates", "rule", "rejects"
]
Refused = Mapping[int, Mapping[tuple[str, str], int]]
"""Rows refused by bucket start, field and code."""
WHOLE = "*"
_BETWEEN_REASONS = re.compile(rf", (?=(?:{'|'.join(get_args(FaultKind))}) )")
FINER_SHARE = 0.25  # of rows with more decimals than usual; of what was multiplied many have no more, zeros first


@dataclass(frozen=True, slots=True)
class Fault:
    """One column (or all of them, `column` "*") broken in one span of model time.

    Attributes
    ----------
    start_us, end_us
        Half-open span, microseconds of model time.
    rows
        Rows judged.
    share, usual
        The offending share of them, and the largest share any bucket of the reference had; by hand, the share that is allowed.
    detail
        What else is known: the conversion, the code of the refusals.
    """

    kind: FaultKind
    column: str
    start_us: int
    end_us: int
    rows: int
    share: float
    usual: float
    detail: str = ""

    @property
    def reason(self) -> str:
        """Why its span is set aside: the kind and the column."""
        return f"{self.kind} {self.column}"

    def sentence(self) -> str:
        """Say what is wrong in words."""
        of_rows, most = f"{self.share:.0%} of {self.rows} rows", f"at most {self.usual:.0%} in the reference"
        says = {
            "null_burst": f"{self.column}: {of_rows} are missing, {most}",
            "constant": f"{self.column}: the same value in all {self.rows} rows, while the other columns vary",
            "out_of_range": f"{self.column}: {of_rows} lie outside of everything seen in training",
            "new_category": f"{self.column}: {of_rows} have a category never seen in training",
            "off_calendar": f"{self.column}: {of_rows} differ from what the time of the row says, {most}",
            "unit_change": f"{self.column}: {self.rows} rows as if in another unit: {self.detail}",
            "decimals": f"{self.column}: {of_rows} have more decimals than in training ({most}): another unit, or values made up",
            "duplicates": f"{of_rows} came before, {most}",
            "rule": f"{self.column}: {of_rows} break the rule {self.detail}, {self.usual:.0%} may",
            "rejects": f"{self.column}: {of_rows} sent were refused by the schema ({self.detail})",
        }
        return says[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON values."""
        values = {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return values if self.detail else {k: v for k, v in values.items() if k != "detail"}


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of model time [start_us, end_us) with the reason it is set aside."""

    start_us: int
    end_us: int
    reason: str


@dataclass(frozen=True)
class Known:
    """What a reference says of faults: what is usual for its columns, and how rows are judged."""

    columns: Mapping[str, Usual]
    converted: Mapping[str, Converted]
    decimals: Mapping[str, int]
    finer: float
    repeated: float | None
    policy: FaultPolicy
    rules: Mapping[str, ColumnRule]


def reasons_of(text: str) -> list[str]:
    """Return the reasons that were joined; the name of a column may hold what joins them.

    Examples
    --------
    >>> reasons_of("constant length, mm, null_burst wind")
    ['constant length, mm', 'null_burst wind']
    """
    return _BETWEEN_REASONS.split(text)


def joined_reasons(texts: Iterable[str]) -> str:
    """Join reasons, some of which may be joined already; each stands once, as it came first."""
    return ", ".join(dict.fromkeys(reason for text in texts for reason in reasons_of(text)))


def learn(reference: Reference, policy: FaultPolicy, rules: Mapping[str, ColumnRule] | None = None) -> Known:
    """Measure what is usual in a reference, once for all buckets held against it."""
    blocks, derived = usual_blocks(reference, policy.minimum_rows), reference.measures.derived
    columns = usual(reference, policy.minimum_rows)
    still = {name: column.bins for name, column in columns.items() if not column.is_calendar and name not in reference.measures.running}
    converted = {name: findings for name, bins in still.items() if (findings := convert(bins, blocks, reference.total)) is not None}
    return Known(
        columns,
        converted,
        dict(() if derived is None else derived.decimals),
        _usually_finer(blocks[len(blocks) // 2 :]),
        usual_share(blocks),
        policy,
        {} if rules is None else rules,
    )


def faults(
    reference: Reference,
    buckets: Sequence[tuple[int, Profile]],
    bucket_us: int,
    policy: FaultPolicy,
    rejects: Refused | None = None,
    rules: Mapping[str, ColumnRule] | None = None,
) -> tuple[Fault, ...]:
    """Find broken buckets.

    Parameters
    ----------
    reference
        What the rows are held against.
    buckets
        Start (microseconds of model time) and counts of each bucket, in order, counted under the reference's bins.
    bucket_us
        Width of a bucket, microseconds.
    policy
        Least rows, and how much more than in the reference's worst bucket it must be.
    rejects
        Rows refused by the schema, by bucket start, field and code.
    rules
        What was set by hand, by column.

    Returns
    -------
    A share must be large, larger than in any bucket of the reference, and very unlikely under the worst of them.
    """
    return find(learn(reference, policy, rules), buckets, bucket_us, rejects)


def find(
    known: Known,
    buckets: Sequence[tuple[int, Profile]],
    bucket_us: int,
    rejects: Refused | None = None,
    before: Callable[[], Sequence[tuple[int, Profile]]] = tuple,
) -> tuple[Fault, ...]:
    """Find broken buckets as `faults`, against what was learned.

    Parameters
    ----------
    before
        Returns the buckets before these that are not set aside; asked only where a column may be in another unit.
    """
    earlier = _Earlier(before, bucket_us, known.policy.minimum_rows)
    findings: list[Fault] = []
    for start, end, profile in grouped(buckets, bucket_us, known.policy.minimum_rows):
        if profile.rows >= FEWEST_ROWS:
            findings += _faults(known, start, end, profile, earlier)
            earlier.note(profile, [fault.column for fault in findings if fault.start_us == start])
    return (*findings, *_refusals(rejects or {}, {s: p.rows for s, p in buckets}, bucket_us, known.policy))


def quarantine(faults: Sequence[Fault], bucket_us: int) -> tuple[Span, ...]:
    """Return what to set aside: the faulty buckets and one guard bucket on either side, merged where they touch."""
    spans: list[Span] = []
    for fault in sorted(faults, key=lambda f: (f.start_us, f.end_us)):
        start, end = fault.start_us - bucket_us, fault.end_us + bucket_us
        reason = fault.reason
        if spans and start <= spans[-1].end_us:
            last = spans.pop()
            spans.append(Span(last.start_us, max(last.end_us, end), joined_reasons([last.reason, reason])))
        else:
            spans.append(Span(start, end, reason))
    return tuple(spans)


def without_released(faults: Sequence[Fault], released: Sequence[Span], bucket_us: int) -> tuple[tuple[Fault, ...], tuple[Span, ...]]:
    """Leave out what goes on from a span that a person let go: the same, of the same column, without a gap.

    Returns
    -------
    The faults that are left, and the released spans that went on, with their new ends.
    """
    spans, left = list(released), []
    for fault in sorted(faults, key=lambda f: (f.start_us, f.end_us)):
        touching = (i for i, span in enumerate(spans) if span.start_us < fault.end_us and fault.start_us <= span.end_us)
        place = next((i for i in touching if fault.reason in reasons_of(spans[i].reason)), None)
        if place is None:
            left.append(fault)
        else:
            spans[place] = replace(spans[place], end_us=max(spans[place].end_us, fault.end_us + bucket_us))
    return tuple(left), tuple(span for span, before in zip(spans, released, strict=True) if span != before)


class _Earlier:
    """The buckets before one, column by column, without those in which the column was broken."""

    def __init__(self, before: Callable[[], Sequence[tuple[int, Profile]]], bucket_us: int, minimum_rows: int) -> None:
        self._read = cache(lambda: [profile for _, _, profile in grouped(before(), bucket_us, minimum_rows)])
        self._noted: list[tuple[Profile, frozenset[str]]] = []

    def note(self, profile: Profile, broken_columns: Iterable[str]) -> None:
        self._noted.append((profile, frozenset(broken_columns)))

    def of(self, column: str) -> list[npt.NDArray[np.int64]]:
        """Return the counts of a column, in order."""
        whole = [*self._read(), *(profile for profile, names in self._noted if column not in names)]
        return [profile.counts[column] for profile in whole if column in profile.counts]


def _faults(known: Known, start: int, end: int, profile: Profile, earlier: _Earlier) -> Iterator[Fault]:
    varying, named = count_varying(profile), set()
    for name, column in known.columns.items():
        if name not in profile.counts:  # rows of a version that does not know the column
            continue
        rows = int(profile.counts[name].sum())
        for findings in broken(column, profile, varying, known.policy):
            named.add(name)
            yield Fault(findings.kind, name, start, end, rows, findings.share, findings.usual)
    for name, found_map in _conversions(known, profile, earlier):
        if name not in named:
            named.add(name)
            yield Fault("unit_change", name, start, end, profile.rows, 1.0, 0.0, says(*found_map))
    finer, looked_at = _finer(profile)
    if _is_finer_than_usual(finer, looked_at, known.finer):
        for name in sorted(_finer_columns(known, profile) - named):
            yield Fault("decimals", name, start, end, looked_at, finer / looked_at, known.finer)
    yield from _broken_rules(known, start, end, profile)
    if known.repeated is not None and is_flood(profile, known.repeated):
        yield Fault("duplicates", WHOLE, start, end, profile.rows, min(1.0, repeated_share(profile) or 0.0), known.repeated)


def _conversions(known: Known, profile: Profile, earlier: _Earlier) -> Iterator[tuple[str, tuple[float, float]]]:
    for name, converted in known.converted.items():
        findings = conversion(converted, profile.counts[name]) if name in profile.counts else None
        if findings is not None and not is_gradual(converted, profile.counts[name], earlier.of(name)):
            yield name, findings


def _usually_finer(blocks: Sequence[Profile]) -> float:
    """Return the largest share of rows with more decimals in any but a twentieth of the buckets: of those decimals were not learned."""
    shares = [finer / max(1, rows) for finer, rows in map(_finer, blocks)]
    return float(np.quantile(shares, 1 - STRAYING, method="higher")) if shares else 0.0


def _is_finer_than_usual(finer: int, rows: int, usual_share: float) -> bool:
    return rows > 0 and finer > rows * max(FINER_SHARE, usual_share) and surprise(finer, rows, usual_share) < SURPRISE


def _finer_columns(known: Known, profile: Profile) -> set[str]:
    """Return the columns whose least or largest value has more decimals than usual, else the one that moved most beyond what is usual."""
    extremes = (profile.minimum, profile.maximum)
    findings = {name for name, digits in known.decimals.items() if any(_is_finer(values.get(name), digits) for values in extremes)}
    if findings:
        return findings
    moved = {name: _moved(known.columns[name], profile) for name in known.decimals if name in known.columns and name in profile.counts}
    most = max(moved, key=moved.__getitem__, default=WHOLE)
    return {most if moved.get(most, 0) > 0 else WHOLE}


def _moved(column: Usual, profile: Profile) -> float:
    """Return how much farther a column is from the reference's whole than its own buckets were."""
    counts = profile.counts[column.bins.name]
    return float(np.abs(counts / max(1, counts.sum()) - column.shares).sum()) / 2 - column.variability


def _finer(profile: Profile) -> tuple[int, int]:
    """Return the rows with more decimals than usual, and those looked at."""
    counts = profile.counts.get(DECIMALS)
    return (0, 0) if counts is None else (int(counts.sum() - counts[0]), int(counts.sum()))


def _is_finer(value: float | None, digits: int) -> bool:
    return value is not None and bool(is_finer(np.array([value]), digits)[0])


def _broken_rules(known: Known, start: int, end: int, profile: Profile) -> Iterator[Fault]:
    for name, rule in known.rules.items():
        counts = profile.counts.get(RULE + name)
        if counts is None:
            continue
        outside, rows = int(counts[1]), int(counts[0] + counts[1])
        if rows >= FEWEST_ROWS and outside > rows * rule.share:
            low, high = rule.between
            yield Fault("rule", name, start, end, rows, outside / rows, rule.share, f"between {low:g} and {high:g}")


def _refusals(rejects: Refused, rows: Mapping[int, int], bucket_us: int, policy: FaultPolicy) -> Iterator[Fault]:
    """Find fields that too many rows were refused for; a row is refused for a field once."""
    for start, counts in sorted(rejects.items()):
        by_field: dict[str, dict[str, int]] = {}
        for (field, code), n in counts.items():
            by_field.setdefault(field, {})[code] = n
        sent = max((sum(codes.values()) for codes in by_field.values()), default=0) + rows.get(start, 0)
        for field, codes in sorted(by_field.items()):
            refused = sum(codes.values())
            if refused >= policy.minimum_rows and refused > policy.reject_share * sent:
                detail = ", ".join(sorted(codes, key=lambda code: -codes[code]))
                yield Fault("rejects", field, start, start + bucket_us, sent, refused / sent, 0.0, detail)
