"""Failpoints."""

from __future__ import annotations

import pytest

from service.errors import SettingsError
from service.recording.failpoints import armed


@pytest.mark.parametrize("text", ["nowhere", "answer:0", "answer:x", "answer:-1", "answer:stop:2", "answer:1:kill"])
def test_an_unknown_failpoint_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="EVERGREEN_FAILPOINT"):
        armed(text)


def test_it_acts_once_at_the_nth_time() -> None:
    acted: list[str] = []
    point = armed("answer:3", lambda: acted.append("now"))

    for _ in range(9):
        point("answer")

    assert acted == ["now"]
