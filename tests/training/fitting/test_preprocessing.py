from collections.abc import Callable

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.preprocessing import StandardScaler

from training.fitting.preprocessing import CategoryFiller, DateParts, Encoding, OutlierClipper, build_pipeline
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows
from training.schema.schema import Schema, frame


def test_outliers_are_clipped_to_the_fences_and_missing_values_stay() -> None:
    column = np.append(np.linspace(0, 1, 2000), [1e6, np.nan]).reshape(-1, 1)

    clipped = OutlierClipper().fit(column).transform(column)

    assert clipped[-2, 0] <= 1.01
    assert np.isnan(clipped[-1, 0])


def test_a_rare_flag_is_no_outlier_and_an_empty_column_is_left_alone() -> None:
    columns = np.column_stack([np.append(np.zeros(5000), 1.0), np.full(5001, np.nan)])

    clipped = OutlierClipper().fit(columns).transform(columns)

    assert clipped[-1, 0] == 1.0
    assert np.isnan(clipped[:, 1]).all()


@pytest.mark.parametrize("share", [0.5, 1e-4])
def test_huge_numbers_stay_where_trees_and_scaling_can_take_them(share: float) -> None:
    column = np.where(np.arange(20_000) < 20_000 * share, 1.7976931348623157e308, 0.5).reshape(-1, 1)

    prepared = StandardScaler().fit_transform(OutlierClipper().fit_transform(np.vstack([column, -column])))

    assert np.isfinite(prepared.astype(np.float32)).all()


def test_a_time_becomes_calendar_parts_and_a_missing_one_stays_missing() -> None:
    friday_noon = 1715947200.0

    parts = DateParts(("hour", "weekday", "month", "week", "dayofyear")).fit_transform(np.array([[friday_noon], [np.nan]]))

    assert parts[0].tolist() == [12, 4, 5, 20, 138]
    assert np.isnan(parts[1]).all()


def test_a_missing_category_is_a_category() -> None:
    assert CategoryFiller().fit_transform(np.array([["a"], [None]], object)).ravel().tolist() == ["a", "(missing)"]


@pytest.mark.parametrize("encode", ["onehot", "ordinal"])
@pytest.mark.parametrize("scale", [True, False])
def test_no_value_a_request_may_carry_stops_the_pipeline(
    scale: bool, encode: Encoding, spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows]
) -> None:
    schema: Schema = spec_of("regression").schema
    rows = rows_of(schema)
    pipeline = build_pipeline(schema, DummyRegressor(), scale=scale, encode=encode).fit(frame(rows.columns, schema), rows.labels)
    odd = {
        "a": np.array([np.nan, 1e300]),
        "b": np.array([0.0, 1.0]),
        "c": np.array(["never seen", None], object),
        "d": np.array([np.nan, 1e18]),
    }

    prepared = pipeline["prepare"].transform(frame(odd, schema))

    assert prepared.shape[0] == 2


def test_a_missing_number_leaves_an_indicator(spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows]) -> None:
    schema = spec_of("regression").schema
    rows = rows_of(schema)
    pipeline = build_pipeline(schema, DummyRegressor(), scale=False, encode="ordinal").fit(frame(rows.columns, schema), rows.labels)

    assert any("missingindicator_a" in name for name in pipeline["prepare"].get_feature_names_out())
