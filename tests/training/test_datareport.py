import json

import numpy as np

from training.datareport import check
from training.rows import Rows
from training.schema import Feature, Schema

SCHEMA = Schema(
    (
        Feature("leak", "numeric"),
        Feature("still", "numeric"),
        Feature("gone", "categorical", nullable=True),
        Feature("wild", "numeric", minimum=0, maximum=1),
    ),
    "y",
    "binary",
)


def make(n: int = 400) -> Rows:
    rng = np.random.default_rng(0)
    y = rng.random(n) < 0.5
    gone = np.full(n, None, object)
    gone[: n // 4] = "a"
    columns = {"leak": y + 0.0, "still": np.ones(n), "gone": gone, "wild": rng.random(n) * 1.5}
    return Rows(columns, np.where(y, "yes", "no").astype(object), np.arange(n))


def test_the_report_says_what_is_wrong_in_sentences() -> None:
    said = " | ".join(check(make(), SCHEMA).problems)

    assert "leak predicts the target alone" in said
    assert "still is constant" in said
    assert "gone is missing in 75% of the rows" in said
    assert "wild is outside its bounds" in said


def test_duplicates_are_rows_equal_in_time_and_features() -> None:
    rows = make()
    twice = Rows.concat([rows, rows])

    assert (check(rows, SCHEMA).duplicates, check(twice, SCHEMA).duplicates) == (0, 400)


def test_the_report_is_markdown_for_people_and_json_for_programs() -> None:
    report = check(make(), SCHEMA)

    assert "| leak | numeric | 0.0% |" in report.to_markdown()
    assert json.loads(json.dumps(report.to_dict()))["rows"] == 400


def test_no_rows_make_an_empty_report() -> None:
    assert check(make().slice(0, 0), SCHEMA).rows == 0


def test_a_feature_that_gives_a_number_away_is_a_suspect_too() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 6, 500).astype(float)
    schema = Schema((Feature("leak", "numeric"),), "y", "regression")

    assert "predicts the target alone" in check(Rows({"leak": y * 2}, y, np.arange(500)), schema).problems[0]
