from datetime import UTC, datetime, timedelta, timezone

import pytest

from training.clock import format_duration, from_us, parse_duration, to_us
from training.errors import DurationError


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("14d", timedelta(days=14)),
        ("6h", timedelta(hours=6)),
        ("30m", timedelta(minutes=30)),
        ("45s", timedelta(seconds=45)),
        ("2w", timedelta(weeks=2)),
        ("1.5h", timedelta(minutes=90)),
        ("1d 12h", timedelta(hours=36)),
    ],
)
def test_a_duration_is_read_and_written_back(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["1h", "5d", "14d", "400d", "1d12h", "90d", "0.5s", "59.123456s", "30m", "3h1m0.000001s"])
def test_a_duration_is_shown_as_a_model_file_writes_it(text: str) -> None:
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize("text", ["", "14", "d", "14 fortnights", "-3d", "0s", "3d!", "99999999999w"])
def test_what_is_no_duration_is_refused_with_the_text_in_the_message(text: str) -> None:
    with pytest.raises(DurationError, match=r"duration|lasts|longer"):
        parse_duration(text)


def test_a_time_goes_to_microseconds_and_back_whatever_its_zone() -> None:
    elsewhere = datetime(2024, 5, 17, 14, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))

    assert from_us(to_us(elsewhere)) == elsewhere
    assert from_us(to_us(elsewhere)).tzinfo is UTC


def test_a_naive_time_is_taken_as_utc() -> None:
    naive = datetime(2024, 5, 17, tzinfo=UTC).replace(tzinfo=None)

    assert to_us(naive) == to_us(datetime(2024, 5, 17, tzinfo=UTC))
