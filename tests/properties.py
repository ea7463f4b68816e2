"""How many examples a property sees that takes long to look at: few each time, many where new ones are drawn."""

from __future__ import annotations

from hypothesis import settings

TIMES_WHERE_NEW = 5


def few(number: int) -> settings:
    """Return settings of some examples, the same at each run; `--hypothesis-profile new` draws five times as many, others each time."""
    return settings(max_examples=number * (TIMES_WHERE_NEW if settings.get_current_profile_name() == "new" else 1))
