"""Families of members, one for each window of the history: which one grows next, and who leaves (pure).

A family is a share of the labelled history, so nothing need be known of how long a stream is or how fast it moves: all of it, or
the newest half, quarter, eighth. They are as good as windows that know the length of a stream. Where there are four members, three
families are better than four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FAMILIES: Mapping[str, int] = {"all": 1, "half": 2, "quarter": 4, "eighth": 8}
"""Which part of the history each family is trained on: the newest 1 / n."""
LEAST_WINDOW = 1000
"""Rows of the shortest window, however short the history is."""
STALEST_EVERY = 3
"""Each time of so many it is the turn of the family that has waited longest: weights alone would never try what may be of use again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A member as families see it.

    Attributes
    ----------
    version
        The name of its artifact.
    trained_through_us
        Model time of the newest row it was trained on, microseconds.
    weight
        0 for one that has none yet.
    classes
        Those it knows; None for numbers.
    """

    version: str
    family: str
    trained_through_us: int
    weight: float
    classes: tuple[str, ...] | None = None


def window_rows(family: str, history: int) -> int:
    """Return how many of the newest rows a family is trained on.

    Parameters
    ----------
    history
        Labelled rows there are.

    Examples
    --------
    >>> [window_rows(family, 12_000) for family in FAMILIES], window_rows("eighth", 300)
    ([12000, 6000, 3000, 1500], 300)
    """
    return min(max(history // FAMILIES[family], LEAST_WINDOW), history)


def distinct_families(history: int, most: int | None = None) -> tuple[str, ...]:
    """Return the families that differ: in a short history the shorter ones are trained on the same rows.

    Parameters
    ----------
    history
        Labelled rows there are.
    most
        Members a mixture may have; there are fewer families, so that an old member can stay beside the newest of each.

    Examples
    --------
    >>> distinct_families(800), distinct_families(2500), distinct_families(9000)
    (('all',), ('all', 'half', 'quarter'), ('all', 'half', 'quarter', 'eighth'))
    >>> distinct_families(9000, most=4)
    ('all', 'half', 'quarter')
    """
    rows = [window_rows(family, history) for family in FAMILIES]
    distinct = tuple(family for i, family in enumerate(FAMILIES) if rows[i] not in rows[:i])
    return distinct if most is None else distinct[: max(most - 1, 1)]


def next_family(members: Sequence[Standing], grown: Sequence[str], history: int, most: int | None = None) -> str:
    """Return the family to train a member of: the one whose members weigh most together; each third time the stalest.

    Parameters
    ----------
    members
        Of the mixture that answers.
    grown
        The family of each growth so far, refused ones, too, in order.
    history, most
        See `distinct_families`.

    Examples
    --------
    >>> members = [Standing("a", "all", 10, 0.3), Standing("b", "half", 10, 0.6), Standing("c", "all", 20, 0.1)]
    >>> [next_family(members, grown, 10_000) for grown in ([], ["half"], ["half", "half"], ["half", "half", "all"])]
    ['half', 'half', 'all', 'half']
    """
    families = distinct_families(history, most)
    if len(grown) % STALEST_EVERY == STALEST_EVERY - 1:
        return min(families, key=lambda family: _last(grown, family))
    weights = {family: sum(m.weight for m in members if m.family == family) for family in families}
    return max(families, key=lambda family: weights[family])


def _last(grown: Sequence[str], family: str) -> int:
    """Return the place of the last growth of a family, -1 for none."""
    return max((i for i, each in enumerate(grown) if each == family), default=-1)


def leaving(members: Sequence[Standing], most: int) -> tuple[str, ...]:
    """Return which members leave where there are more than `most`: the lightest first.

    The last one that knows a class stays, and so does the newest of each family; where that leaves too many, the newest of the
    lightest families leave, too, but for the newest of all.

    Parameters
    ----------
    members
        With the one that comes, which has no weight yet.
    most
        Members a mixture may have, at least 1.

    Examples
    --------
    >>> old, older = Standing("old", "all", 10, 0.5), Standing("older", "all", 5, 0.1)
    >>> leaving([older, old, Standing("half", "half", 10, 0.4), Standing("new", "all", 20, 0.0)], 3)
    ('older',)
    """
    if most < 1:
        raise ValueError(f"a mixture of at most {most} members, wanted 1 or more")
    staying, gone = list(members), []
    while len(staying) > most and (out := _first_out(staying)) is not None:
        staying.remove(out)
        gone.append(out.version)
    return tuple(gone)


def _first_out(members: Sequence[Standing]) -> Standing | None:
    """Return the member that leaves first; None where all are needed."""
    newest = {}
    for member in sorted(members, key=lambda m: m.trained_through_us):
        newest[member.family] = member
    last = max(members, key=lambda m: m.trained_through_us)
    free = [m for m in members if not _is_last_to_know(m, members)]
    old = [m for m in free if newest[m.family] is not m]
    if old:
        return min(old, key=lambda m: (m.weight, m.trained_through_us))
    return min((m for m in free if m is not last), key=lambda m: (m.weight, m.trained_through_us), default=None)


def _is_last_to_know(member: Standing, members: Sequence[Standing]) -> bool:
    others = {name for m in members if m is not member for name in m.classes or ()}
    return not set(member.classes or ()) <= others
