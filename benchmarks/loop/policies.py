"""What a model file says of training and retraining, by the name of the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.policies import MEMBERS


@dataclass(frozen=True, slots=True)
class Policy:
    """Keys of a model file: of `training` and of `retraining`."""

    training: Mapping[str, Any] = field(default_factory=dict)
    retraining: Mapping[str, Any] = field(default_factory=dict)


def policies(members: int = MEMBERS) -> dict[str, Policy]:
    """Return the policies by name; the last one is the mixture of so many members."""
    return {
        "never": Policy({"members": 1, "map": False}, {"act": "notify"}),
        "maps only": Policy({"members": 1, "map": True}, {"on_performance": False}),
        "alarm": Policy({"members": 1, "map": False}),
        "alarm and maps": Policy({"members": 1, "map": True}),
        f"keeper of {members}": Policy({"members": members, "map": True}, {"budget_per_week": 100}),
    }
