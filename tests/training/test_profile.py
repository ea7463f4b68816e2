from datetime import timedelta

import numpy as np

from training.prediction import Prediction
from training.profile import Reference, build_reference
from training.rows import Rows
from training.schema import Feature, Schema

DAY = 86_400_000_000
SCHEMA = Schema((Feature("x", "numeric"), Feature("c", "categorical", nullable=True), Feature("t", "datetime")), "y", "binary")


def make(n: int = 240) -> Rows:
    rng = np.random.default_rng(0)
    columns = {
        "x": np.where(rng.random(n) < 0.3, 0.0, rng.normal(size=n)),
        "c": rng.choice(np.array(["a", "b", None], object), n),
        "t": np.arange(n) * 3600.0,
    }
    return Rows(columns, np.array(["yes", "no"] * (n // 2), object), np.arange(n, dtype=np.int64) * (DAY // 24))


def test_every_row_of_the_reference_lies_inside_its_own_bins() -> None:
    total = build_reference(make(), SCHEMA, bucket=timedelta(days=1), window=timedelta(days=3)).total

    assert [total.counts[n][-3:].tolist() for n in ("x", "t")] == [[0, 0, 0], [0, 0, 0]]
    assert [int(c.sum()) for c in total.counts.values()] == [240, 240, 240]


def test_a_heavy_value_has_a_bin_of_its_own() -> None:
    rows = make()

    total = build_reference(rows, SCHEMA, bucket=timedelta(days=1), window=timedelta(days=3)).total

    assert int((rows.columns["x"] == 0).sum()) in total.counts["x"].tolist()


def test_blocks_are_buckets_of_the_epoch_and_whole_windows_from_the_end() -> None:
    reference = build_reference(make(), SCHEMA, bucket=timedelta(days=1), window=timedelta(days=3))

    assert [p.rows for p in reference.bucket_blocks] == [24] * 10
    assert [p.rows for p in reference.window_blocks] == [72] * 3


def test_outputs_are_counted_over_the_newest_rows_only() -> None:
    labels = np.array(["no", "yes"] * 24, object)
    said = Prediction(labels, np.tile([[0.9, 0.1], [0.2, 0.8]], (24, 1)), ("no", "yes"))

    reference = build_reference(make(), SCHEMA, bucket=timedelta(days=1), window=timedelta(days=3), prediction=said)

    assert (int(reference.total.counts["@score"].sum()), int(reference.total.counts["@label"].sum())) == (48, 48)
    assert ["@score" in p.counts for p in reference.bucket_blocks] == [False] * 8 + [True] * 2


def test_a_reference_survives_json() -> None:
    reference = build_reference(make(), SCHEMA, bucket=timedelta(days=1), window=timedelta(days=3))

    assert Reference.from_json(reference.to_json()).to_json() == reference.to_json()


def test_a_column_of_nothing_has_bins_too() -> None:
    schema = Schema((Feature("x", "numeric", nullable=True),), "y", "regression")
    rows = Rows({"x": np.full(5, np.nan)}, np.zeros(5), np.arange(5))

    assert build_reference(rows, schema, bucket=timedelta(1), window=timedelta(1)).total.counts["x"].tolist() == [0, 0, 5]
