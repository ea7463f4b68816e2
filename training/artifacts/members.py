"""The members of a version: which artifacts answer together, each with its weight and the map of its answers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from training.clock import from_us
from training.schema.schema import Schema

Map = tuple[float, float]
ALL = "all"
"""The family of a version that is no mixture."""
NEAR_ONE = 1e-9
_VERSION, _DIGEST = re.compile(r"\d{8}T\d{6}Z-([0-9a-f]{12})"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Member:
    """An artifact as a part of a version.

    Attributes
    ----------
    version, digest
        Name and digest of the member's own artifact, which lies beside those it answers in.
    family
        What it was fitted on, such as all history or a window.
    trained_through_us
        Model time of the last row it has seen; microseconds since the epoch.
    weight
        Its share of the answer; those of a version's members add up to 1.
    map
        Slope and intercept of the map of its answers, before they are averaged; None leaves them as they are. Of values it is
        ``intercept + slope * y``, of probabilities ``softmax(slope * log(p) + intercept)``: the intercept moves the last of two classes
        and is 0 where there are more.

    Examples
    --------
    >>> one = Member("20260101T000000Z-" + "a" * 12, "a" * 64, "all", 0, 1.0, (1.1, -0.2))
    >>> Member.from_dict(one.to_dict()) == one
    True
    """

    version: str
    digest: str
    family: str
    trained_through_us: int
    weight: float
    map: Map | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "map": None if self.map is None else list(self.map)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave; raises ValueError or TypeError for what is no member."""
        if set(stored) != set(cls.__slots__):
            raise ValueError(f"a member has the fields {', '.join(cls.__slots__)}, not {', '.join(sorted(stored))}")
        point = stored["map"]
        if point is not None:
            slope, intercept = point
            point = (float(slope), float(intercept))
        through_us, weight = int(stored["trained_through_us"]), float(stored["weight"])
        return cls(str(stored["version"]), str(stored["digest"]), str(stored["family"]), through_us, weight, point)


def refuse_wrong(members: Sequence[Member]) -> None:
    """Refuse what can be no version's members.

    Raises
    ------
    ValueError
        There are none; a name is no version's, or of another digest; one is there twice; a number is not finite; weights are below 0 or
        do not add up to 1.

    Examples
    --------
    >>> refuse_wrong([Member("20260101T000000Z-" + "a" * 12, "a" * 64, "all", 0, 0.5)])
    Traceback (most recent call last):
    ValueError: the weights of the members add up to 0.5, wanted 1
    """
    if not members:
        raise ValueError("a version of members has none")
    for member in members:
        named = _VERSION.fullmatch(member.version)
        if named is None or not _DIGEST.fullmatch(member.digest) or named[1] != member.digest[:12]:
            raise ValueError(f"no artifact has the name {member.version!r} and the digest {member.digest!r}")
        if not member.family:
            raise ValueError(f"the member {member.version} has no family")
        if not (math.isfinite(member.weight) and member.weight >= 0.0):
            raise ValueError(f"the weight of {member.version} is {member.weight}, wanted a number from 0 to 1")
        if member.map is not None and not all(map(math.isfinite, member.map)):
            raise ValueError(f"the map of {member.version} is {member.map}, wanted two finite numbers")
    if len({member.digest for member in members}) < len(members):
        raise ValueError("the same artifact is a member twice")
    total = math.fsum(member.weight for member in members)
    if abs(total - 1.0) > NEAR_ONE:
        raise ValueError(f"the weights of the members add up to {total:.12g}, wanted 1")


def shown(
    members: Sequence[Member], *, generation: str, weighed_through_us: int | None, threshold: float | None, schema: Schema
) -> dict[str, Any]:
    """Return what answers in a version as plain JSON values for people and programs: the same wherever it is asked for.

    Times are ISO 8601, None where the model has none.
    """

    def moment(us: int | None) -> str | None:
        return None if us is None or not schema.is_dated(us) else from_us(us).isoformat()

    def line(member: Member) -> dict[str, Any]:
        point = None if member.map is None else {"slope": member.map[0], "intercept": member.map[1]}
        named = {"version": member.version, "digest": member.digest, "family": member.family}
        return {**named, "trained_through": moment(member.trained_through_us), "weight": member.weight, "map": point}

    through, lines = moment(weighed_through_us), [line(member) for member in members]
    return {"generation": generation, "weighed_through": through, "threshold": threshold, "members": lines}


def newest(members: Sequence[Member]) -> Member:
    """Return the member that has seen the newest rows; of several the one made last."""
    return max(members, key=lambda member: (member.trained_through_us, member.version))
