import json

import numpy as np
import pytest

from training.dataset.report import check, refuse_many_levels
from training.errors import DataError
from training.schema.feature import Feature
from training.schema.rows import Rows
from training.schema.schema import Schema

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
    problems = " | ".join(check(make(), SCHEMA).problems)

    assert "leak predicts the target alone" in problems
    assert "still is constant" in problems
    assert "gone is missing in 75% of the rows" in problems
    assert "wild is outside its bounds" in problems


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


def test_numbers_too_large_for_a_tree_are_looked_at_all_the_same() -> None:
    y = np.array(["no", "no", "yes", "yes"] * 50, dtype=object)
    columns = {"leak": np.where(y == "yes", 1e300, -1e300)}

    (column,) = check(Rows(columns, y, np.arange(200)), Schema((Feature("leak", "numeric"),), "y", "binary")).columns

    assert column.alone == 1.0


def test_rows_without_times_have_no_start() -> None:
    report = check(make(), SCHEMA)

    assert (report.start, report.end) == (None, None)
    assert "400 rows, no time, 400 labelled" in report.to_markdown()


@pytest.mark.parametrize("n_levels", [1_000, 1_001])
def test_a_category_of_too_many_levels_is_refused(n_levels: int) -> None:
    texts = np.array([f"t{i % n_levels}" for i in range(2_000)], dtype=object)
    rows = Rows({"t": texts}, np.array(["a", "b"] * 1_000, dtype=object), np.arange(2_000))
    report = check(rows, Schema((Feature("t", "categorical"),), "y", "binary"))

    if n_levels > 1_000:
        with pytest.raises(DataError, match="'t': got 1,001 different texts, wanted at most 1,000"):
            refuse_many_levels(report)
    else:
        refuse_many_levels(report)


def test_texts_that_differ_only_in_case_or_blanks_are_named_with_their_counts() -> None:
    schema = Schema((Feature("c", "categorical", nullable=True), Feature("d", "categorical")), "y", "binary")
    c, d = (np.array(texts * 4, dtype=object) for texts in (["Oslo", "oslo ", None, "Oslo", "Rome"], ["a", "b", "a", "b", "a b"]))
    y = np.array(["Yes", "yes", "no", "no", "no"] * 4, dtype=object)

    problems = check(Rows({"c": c, "d": d}, y, np.arange(20)), schema).problems

    assert [text for text in problems if "differ" in text] == [
        "c: 'Oslo' (8 rows) and 'oslo ' (4 rows) differ only in case or in blanks around them",
        "classes: 'Yes' (4 rows) and 'yes' (4 rows) differ only in case or in blanks around them",
    ]
