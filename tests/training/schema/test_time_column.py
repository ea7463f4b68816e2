import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from training.clock import to_us
from training.schema.time_column import TimeColumn

ORIGIN = datetime(2011, 1, 1, tzinfo=UTC)
ORDINAL = TimeColumn("t", "ordinal", ORIGIN, timedelta(hours=1))
STAMP = TimeColumn("t")


@pytest.mark.parametrize(
    ("column", "values", "times"),
    [
        (ORDINAL, [0, 24, -0.5], [ORIGIN, datetime(2011, 1, 2, tzinfo=UTC), datetime(2010, 12, 31, 23, 30, tzinfo=UTC)]),
        (STAMP, [0, 1715947200.25], [datetime(1970, 1, 1, tzinfo=UTC), datetime(2024, 5, 17, 12, 0, 0, 250_000, tzinfo=UTC)]),
    ],
    ids=["steps from the origin", "epoch seconds"],
)
def test_numbers_are_mapped_to_microseconds(column: TimeColumn, values: list[float], times: list[datetime]) -> None:
    mapped = column.to_us(values)

    assert (mapped.dtype, mapped.tolist()) == (np.dtype(np.int64), [to_us(t) for t in times])


@pytest.mark.parametrize(
    ("column", "seconds"),
    [(TimeColumn("t", "ordinal", datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)), 0.0000016), (STAMP, 0.0000016)],
)
def test_a_time_is_rounded_to_the_nearest_microsecond(column: TimeColumn, seconds: float) -> None:
    assert column.to_us([seconds, -seconds]).tolist() == [2, -2]


@pytest.mark.parametrize(
    ("column", "microseconds", "value"),
    [
        (ORDINAL, to_us(ORIGIN), "0"),
        (ORDINAL, to_us(ORIGIN) + 17 * 3_600_000_000, "17"),
        (ORDINAL, to_us(ORIGIN) - 900_000_000, "-0.25"),
        (TimeColumn("t", "ordinal", ORIGIN, timedelta(seconds=1000)), to_us(ORIGIN) + 1, "1e-09"),
        (TimeColumn("t", "ordinal", ORIGIN, timedelta(seconds=1001)), to_us(ORIGIN) + 1, "0"),
        (STAMP, 1_715_947_200_250_000, "'2024-05-17T12:00:00.250000+00:00'"),
    ],
)
def test_a_time_goes_back_to_the_value_a_request_carries(column: TimeColumn, microseconds: int, value: str) -> None:
    assert repr(column.from_us(microseconds)) == value, "a whole number of steps is a whole number"


@pytest.mark.parametrize("value", [0, 17, 0.25])
def test_an_ordinal_goes_there_and_back(value: float) -> None:
    assert ORDINAL.from_us(int(ORDINAL.to_us([value])[0])) == value


@pytest.mark.parametrize("column", [ORDINAL, STAMP], ids=["ordinal", "timestamp"])
@pytest.mark.parametrize("value", [float("nan"), None, float("inf"), float("-inf")])
def test_what_is_no_time_is_refused(column: TimeColumn, value: float | None) -> None:
    with pytest.raises(ValueError, match=r"^a time is missing or not finite$"):
        column.to_us(np.array([0, value], object))


@pytest.mark.parametrize("column", [STAMP, TimeColumn("at", "ordinal", ORIGIN, timedelta(minutes=5), "arrival")], ids=["defaults", "all"])
def test_a_time_column_survives_json(column: TimeColumn) -> None:
    assert TimeColumn.from_dict(json.loads(json.dumps(column.to_dict()))) == column


def test_a_time_column_is_a_timestamp_that_requests_carry_unless_it_says_otherwise() -> None:
    assert TimeColumn("t") == TimeColumn("t", "timestamp", datetime(2000, 1, 1, tzinfo=UTC), timedelta(hours=1), "event")
