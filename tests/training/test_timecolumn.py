from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from training.clock import to_us
from training.timecolumn import TimeColumn

ORDINAL = TimeColumn("t", "ordinal", datetime(2011, 1, 1, tzinfo=UTC), timedelta(hours=1))


def test_an_ordinal_counts_steps_from_its_origin() -> None:
    assert ORDINAL.to_us(np.array([0, 24])).tolist() == [to_us(datetime(2011, 1, 1, tzinfo=UTC)), to_us(datetime(2011, 1, 2, tzinfo=UTC))]
    assert ORDINAL.to_datetime(24) == datetime(2011, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("value", [0, 17, 0.25])
def test_an_ordinal_goes_back_to_the_value_a_request_carries(value: float) -> None:
    assert ORDINAL.from_us(int(ORDINAL.to_us([value])[0])) == value


@pytest.mark.parametrize("value", ["2024-05-17T12:00:00Z", "2024-05-17T14:00:00+02:00", "2024-05-17 12:00", 1715947200])
def test_a_timestamp_is_read_in_any_iso_spelling_and_as_epoch_seconds(value: object) -> None:
    assert TimeColumn("t").to_datetime(value) == datetime(2024, 5, 17, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "value"), [(ORDINAL, float("nan")), (TimeColumn("t"), None), (TimeColumn("t"), "soon"), (TimeColumn("t"), float("inf"))]
)
def test_what_is_no_time_is_refused(column: TimeColumn, value: object) -> None:
    with pytest.raises(ValueError):
        column.to_us([value])
