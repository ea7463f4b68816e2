import numpy as np
import pytest

from training.profiles.bin_edges import numeric_edges


def above(value: float) -> float:
    """The next number."""
    return float(np.nextafter(value, np.inf))


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        pytest.param([], [], id="none"),
        pytest.param([np.nan, np.inf, -np.inf], [], id="none that is finite"),
        pytest.param([5.0, 5.0, np.nan, np.inf], [5.0, above(5)], id="one value"),
        pytest.param([4.0, 0.0, 1.0, 1.0], [0.0, 0.5, 2.5, above(4)], id="a bin a value"),
        pytest.param([*range(12)], [0.0, *(k + 0.5 for k in range(11)), above(11)], id="twelve values are few"),
        # thirteen are not: the tenths of 0..12 stand at 1.2, 2.4, ..., 10.8, and the next value above each is an edge;
        # 1 of 13 is less than 8 %
        pytest.param([*range(13)], [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 9.0, 10.0, 11.0, above(12)], id="tenths"),
        # 85 of 100 are the heavy 0, two tenths' worth (1.5, rounded) are left: parted at position 7 of 1..15
        pytest.param([0.0] * 85 + [*range(1, 16)], [0.0, above(0), 8.0, above(15)], id="a heavy value stands alone"),
        # 1.4 tenths' worth are one piece
        pytest.param([0.0] * 86 + [*range(1, 15)], [0.0, above(0), above(14)], id="a piece that is not parted"),
        # less than half a tenth's worth
        pytest.param([0.0] * 287 + [*range(1, 14)], [0.0, above(0), above(13)], id="hardly anything beside the heavy value"),
        # 8 of 100 are heavy, 92 are light, nine pieces (9.2): positions 91 k / 9 of 0..91, the value above
        pytest.param(
            [*range(92)] + [1000.0] * 8,
            [0.0, 11.0, 21.0, 31.0, 41.0, 51.0, 61.0, 71.0, 81.0, 1000.0, above(1000)],
            id="eight of a hundred are heavy",
        ),
        # seven are not, and all 100 are parted: positions 9.9, 19.8, ..., 89.1
        pytest.param(
            [*range(93)] + [1000.0] * 7,
            [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, above(1000)],
            id="seven of a hundred are not",
        ),
    ],
)
def test_a_number_is_parted_by_value_where_values_are_few_and_in_tenths_else(values: list[float], edges: list[float]) -> None:
    assert list(numeric_edges(np.array(values, float))) == edges
