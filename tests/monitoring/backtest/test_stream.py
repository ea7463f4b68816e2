"""The table of a back-test: parted, shuffled, with faults; what it cannot live through is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from monitoring.backtest.stream import Circumstances, fault_rows, faulty_labels, read_stream, with_stuck_column
from monitoring.errors import InputError
from tests.monitoring.world import DAY_US, MODEL_FILE, weather
from training.errors import DataError
from training.model_file.model_spec import parse_spec

SPEC = parse_spec(MODEL_FILE)
ROWS = weather(0, 0, 60)
TABLE = pd.DataFrame({**ROWS.columns, "wet": ROWS.labels, "at": ROWS.time_us // 60_000_000})


def test_the_first_share_is_learned_from_and_the_rest_lived_through() -> None:
    stream = read_stream(TABLE, SPEC, Circumstances("25%"))

    assert (len(stream.first), len(stream.live)) == (600, 1800)
    assert [int(stream.live.time_us[bound - 1]) // DAY_US for bound in stream.bounds] == [21, 28, 35, 42, 49, 56]


def test_a_label_comes_when_its_column_says() -> None:
    stream = read_stream(TABLE.assign(known=TABLE["at"] + 3 * 1440), SPEC, Circumstances(label_delay_column="known"))

    late_us = stream.feedback.due - stream.live.time_us[stream.feedback.row]
    assert set(late_us.tolist()) == {3 * DAY_US}


def test_labels_after_some_rows_count_rows() -> None:
    stream = read_stream(TABLE, SPEC, Circumstances(label_delay="30 rows"))

    assert stream.feedback.counts_rows
    assert stream.feedback.due[0] == 31


def test_shuffled_rows_keep_the_times_of_the_table() -> None:
    plain, shuffled = (read_stream(TABLE, SPEC, Circumstances(shuffle=each)) for each in (False, True))

    np.testing.assert_array_equal(plain.live.time_us, shuffled.live.time_us)
    assert sorted(np.append(plain.first.columns["wind"], plain.live.columns["wind"])) == sorted(
        np.append(shuffled.first.columns["wind"], shuffled.live.columns["wind"])
    )
    assert plain.live.columns["wind"].tolist() != shuffled.live.columns["wind"].tolist()


def test_flipped_labels_are_handed_in_and_the_true_ones_judged_by() -> None:
    plain, flipped = (read_stream(TABLE, SPEC, Circumstances(fault=each)) for each in (None, "flip"))
    is_faulty = fault_rows(len(ROWS))[len(plain.first) :]
    is_other = flipped.feedback.label != plain.feedback.label

    assert flipped.live.labels.tolist() == plain.live.labels.tolist()
    assert not is_other[~is_faulty].any()
    assert is_other[is_faulty].mean() == pytest.approx(0.4, abs=0.05)


def test_constant_labels_are_all_of_one_class() -> None:
    constant = faulty_labels(ROWS, "constant", SPEC)

    assert set(constant.labels[fault_rows(len(ROWS))]) == {"no"}


def test_a_stuck_column_repeats_what_it_had_when_it_stuck() -> None:
    stream = read_stream(TABLE, SPEC, Circumstances())

    stuck = with_stuck_column(stream, "wind").live.columns["wind"]

    is_faulty = fault_rows(len(ROWS))[len(stream.first) :]
    assert len(set(stuck[is_faulty].tolist())) == 3
    assert stuck[~is_faulty].tolist() == stream.live.columns["wind"][~is_faulty].tolist()


@pytest.mark.parametrize(
    ("how", "change", "message"),
    [
        ({}, lambda t: t.assign(wet=None), "no row of the table has a label in 'wet'"),
        ({}, lambda t: t.drop(columns="wet"), "no row of the table has a label in 'wet'"),
        ({}, lambda t: t.head(800), "680 rows after the first 120 pass 2 slots (watching.every: 7 days); wanted at least 3"),
        ({}, lambda t: t.assign(at=0), "all 2400 rows of the table have the same time"),
        ({"first": "100%"}, lambda t: t, "what comes first, 100%, are 2400 of the 2400 rows"),
        ({"first": "a lot"}, lambda t: t, "what comes first is 'a lot'; wanted a share such as 15%"),
        ({"label_delay_column": "wind"}, lambda t: t, "the column of label delays, 'wind', is a feature"),
        ({"label_delay_column": "none"}, lambda t: t, "the table has no column 'none' of label delays"),
        ({"label_delay": "x"}, lambda t: t, "the label delay 'x' cannot be read"),
    ],
)
def test_a_table_that_cannot_be_lived_through_is_refused(
    how: dict[str, str], change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        read_stream(change(TABLE), SPEC, Circumstances(**how))

    assert message in str(refused.value)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="column 'wind': got no such column"):
        read_stream(TABLE.drop(columns="wind"), SPEC, Circumstances())


def test_a_model_without_a_time_is_refused() -> None:
    spec = parse_spec("model: m\nschema: {target: y, task: regression, features: {x: numeric}}")

    with pytest.raises(InputError, match=r"has no schema\.time"):
        read_stream(TABLE, spec, Circumstances())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"fault": "burn"}, "the fault is 'burn'; wanted one of flip, constant, stuck"),
        ({"label_delay": "1d", "label_delay_column": "c"}, "one of them"),
    ],
)
def test_circumstances_that_make_no_sense_are_refused(how: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Circumstances(**how)
