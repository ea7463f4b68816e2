"""What is left out and why, what the target is, and what a person is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from training.dataset.dataset import read_table
from training.errors import DataError
from training.model_file.model_spec import parse_spec
from training.proposing.facts import Span
from training.proposing.features import bounds
from training.proposing.proposing import Proposed, propose
from training.proposing.target import positive_of

N = 1_200
X = [i * 37 % 101 / 7 for i in range(N)]
Y = ["yes" if i % 3 else "no" for i in range(N)]


def proposed(folder: Path, columns: dict[str, Sequence[object]], target: str = "y") -> Proposed:
    path = folder / "table.csv"
    pd.DataFrame({"x": X, **columns, **({} if target in columns else {"y": Y})}).to_csv(path, index=False)
    return propose(path, target)


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("v", ["a"] * N, "every row holds a"),
        ("v", [7] * N, 'every row holds "7"'),
        ("v", ["0", "-0"] * (N // 2), 'every row holds "0"'),
        ("v", ["1", "1.0", "1e0"] * (N // 3), 'every row holds "1"'),
        ("v", [0.0, -0.0] * (N // 2), 'every row holds "0.0"'),
        ("v", ["2026-01-01", "2026-01-01T00:00"] * (N // 2), 'every row holds "2026-01-01"'),
        ("v", [f"{i}.5-" if i % 3 else f"{i}" for i in range(N)], "mean a negative number: kind: numeric, format: accounting"),
        ("v", ["a" * 9_000, "b" * 10_001] * (N // 2), "texts of up to 10,001 letters, more than the 10,000 a category may have"),
        ("v", [None] * N, "it holds nothing"),
        ("v", ["NA"] * N, "it holds nothing"),
        ("v", [f"r{i}" for i in range(N)], "every value is different, as in an id or free text"),
        ("v", list(range(N)), "every value is different, as in an id (seen 0 to 1199)"),
        ("v", [2**60 + i for i in range(N)], "every value is different"),
        ("v", [f"t{i % 1100}" for i in range(N)], "1,100 different texts, more than the 1,000 a category may have"),
        ("v", [f"a remark on {i % 700}" for i in range(N)], "free text (700 different ones in 1,200 rows)"),
        ("v", [i / 7 if i % 50 else "unknown" for i in range(N)], "1,176 are numbers, unknown is none"),
        ("v", [i / 7 if i % 50 else "<0.5" for i in range(N)], '1,176 are numbers, "<0.5" is none'),
        ("v", [i / 7 if i else "total" for i in range(N)], "as in an id or free text; 1,199 are numbers, total is none"),
        ("v", [i / 7 if i % 50 else "1e999" for i in range(N)], '24 of its numbers are too large ("1e999")'),
        ("v", ["2026-01-01", "9999-12-31"] * (N // 2), 'in 600 rows the year is not in 1900 to 2200, such as "9999-12-31"'),
        ("_id", ["a", "b"] * (N // 2), "the name means the caller's own id of a row"),
        ("@v", ["a", "b"] * (N // 2), "names that start with @ are Evergreen's"),
        (" ", ["a", "b"] * (N // 2), "it has no name"),
    ],
)
def test_a_column_that_is_no_feature_is_left_out_with_the_reason(name: str, cells: list[object], reason: str, tmp_path: Path) -> None:
    text = proposed(tmp_path, {name: cells}).text

    line = next(line for line in text.splitlines() if "is left out" in line)
    assert reason in line
    assert parse_spec(text).schema.names == ("x",)


@pytest.mark.parametrize(
    "place", [lambda i: ["a"], lambda i: {"a": i}, lambda i: ["a"] if i > 80 else None, lambda i: ["a"] if i < 9 else "a"]
)
def test_lists_and_objects_of_json_are_left_out_as_those_of_parquet(place: Callable[[int], object], tmp_path: Path) -> None:
    rows = [{"x": X[i], "v": place(i), "y": Y[i]} for i in range(120)]
    for name, part in {"table.jsonl": rows, "parts/1.jsonl": rows[:60], "parts/2.jsonl": rows[60:]}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("\n".join(map(json.dumps, part)))

    for table in ("table.jsonl", "parts"):
        text = propose(tmp_path / table, "y").text

        spec = parse_spec(text)
        assert "    # v is left out: it holds lists or structs\n" in text
        assert len(read_table(tmp_path / table, spec.schema, spec.read)) == 120


FRENCH = ["janvier", "mars", "août"]


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        (lambda i: f"{i % 20 + 1} {FRENCH[i % 3]} 2026", 'looks like dates with months that are no English names ("1 janvier 2026")'),
        (lambda i: f"{i % 20 + 1} {('april', 'maart')[i % 2]} 2026", 'with months that are no English names ("2 maart 2026")'),
        (lambda i: f"{i % 20 + 1}. März 2026 10:30", 'looks like dates with months that are no English names ("1. März 2026 10:30")'),
        (lambda i: f"2026-01-{i % 20 + 1:02}" if i % 2 else f"{i % 20 + 1:02}.01.2026", 'two formats ("01.01.2026", "2026-01-02")'),
        (lambda i: f"13/{i % 9 + 1:02}/2026" if i % 2 else f"{i % 9 + 1:02}/13/2026", 'two formats ("01/13/2026", "13/02/2026")'),
        (lambda i: f"2026-01-{i % 20 + 1:02}" if i % 9 else "soon", 'looks like dates ("2026-01-02"), but soon is none'),
        (lambda i: f"{i % 20 + 1} apples 25", ""),
        (lambda i: f"10.0.0.{i % 9}", ""),
        (lambda i: f"{i % 20 + 2000}-{i % 20 + 1:02}x", ""),
    ],
)
def test_dates_that_cannot_be_read_stay_text_and_are_said_to_be_dates(cell: Callable[[int], str], hint: str, tmp_path: Path) -> None:
    cells = [cell(i) for i in range(N)]
    line = next(line for line in proposed(tmp_path, {"v": cells}).text.splitlines() if line.startswith("    v: categorical"))

    assert hint in line
    assert ("dates" in line, "left as text" in line) == (hint != "", hint != "")
    with pytest.raises(DataError, match=f"values that are no time .*{re.escape(hint)}"):
        propose(tmp_path / "table.csv", "y", "v")


def test_a_table_of_nothing_else_is_refused_with_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("k,y\n" + "7,yes\n7,no\n" * 20)

    with pytest.raises(DataError, match="nothing to predict it from \\(k: every row holds"):
        propose(tmp_path / "table.csv", "y")


@pytest.mark.parametrize(
    ("low", "high"),
    [(1, 8), (-0.25, 0.2521), (1767225600, 1767942000), (5, 5), (-7, -7), (0, 0), (-1e300, 1e300), (1e-12, 3e-12), (0.1, 123456.7)],
)
def test_bounds_hold_all_that_was_seen_with_room(low: float, high: float) -> None:
    is_whole = low == int(low) and high == int(high)

    least, most = map(float, bounds(Span(2, low, high, low + high, is_whole)))

    assert least < low or (least == 0 <= low)
    assert most > high or (most == 0 >= high)


@pytest.mark.parametrize(
    ("counts", "positive"),
    [
        ({"YES": 90, "NO": 10}, "YES"),
        ({"stayed": 10, "Canceled": 90}, "Canceled"),
        ({"benign": 300, "malignant": 200}, "malignant"),
        ({"0": 5, "1": 95}, "1"),
        ({"a": 3, "b": 2}, "b"),
        ({"b": 2, "a": 2}, "b"),
        ({"bad": 9, "late": 1}, "late"),
    ],
)
def test_the_positive_class_is_told_by_meaning_or_is_the_rarer(counts: dict[str, int], positive: str) -> None:
    assert positive_of(counts) == positive


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        ([1, 2, 3], "multiclass"),
        ([1.0, 2.0, None], "binary"),
        (list(range(10)), "multiclass"),
        (list(range(11)), "regression"),
        ([0, 1], "binary"),
        ([0.5, 1.5], "regression"),
        ([*([1, 2] * 100), 3, 3, 3, 3], "regression"),
        ([-1, 1], "binary"),
    ],
)
def test_whole_numbers_of_few_values_are_classes(cells: list[object], task: str, tmp_path: Path) -> None:
    few = N if len(cells) < 20 else len(cells)
    (tmp_path / "table.csv").write_text(
        "x,y\n" + "".join(f"{i % 7},{'' if cells[i % len(cells)] is None else cells[i % len(cells)]}\n" for i in range(few))
    )

    text = propose(tmp_path / "table.csv", "y").text

    assert parse_spec(text).schema.task == task
    assert ("if they are amounts: task: regression" in text) == (task != "regression")


def test_calendar_numbers_and_a_time_that_was_not_named_are_pointed_out(tmp_path: Path) -> None:
    columns = {"year": [2024, 2025] * (N // 2), "month": [i % 12 + 1 for i in range(N)], "day": [i % 28 + 1 for i in range(N)]}
    result = proposed(tmp_path, {**columns, "at": [f"2026-01-{i % 28 + 1:02}" for i in range(N)]})

    assert result.text.count("a calendar number") == 3
    assert "# time: {column: at} " in result.text
    assert "# time: {columns: [year, month, day]} " in result.text
    assert "no --time was given; it may be: time: {column: at}" in result.notes
    for line in ("time: {column: at}", "time: {columns: [year, month, day]}"):
        taken = parse_spec(re.sub(r"\n  split: random.*", "", result.text).replace(f"  # {line} ", f"  {line} #"), tmp_path)
        assert taken.schema.time is not None
        assert len(read_table(tmp_path / "table.csv", taken.schema)) == N


def test_numbers_that_are_called_a_time_are_offered_as_an_order(tmp_path: Path) -> None:
    result = proposed(tmp_path, {"event_time": list(range(N)), "overtime": [None, 2.5] * (N // 2)})

    line = "time: {column: event_time, kind: ordinal, origin: 2000-01-01, step: 1h}"
    assert f"  # {line} " in result.text
    assert "overtime, kind" not in result.text
    assert f"no --time was given; it may be: {line}" in result.notes


def test_a_suspected_leak_and_rows_sorted_by_the_target_are_told(tmp_path: Path) -> None:
    leak = [1.5 if y == "yes" else 0.25 for y in sorted(Y)]

    notes = proposed(tmp_path, {"hindsight": leak, "y": sorted(Y)}).notes
    text = proposed(tmp_path, {"hindsight": leak, "y": sorted(Y)}).text

    assert "hindsight predicts y alone (1.000): is it known before the outcome?" in notes
    assert "the rows are sorted by y" in notes
    assert "# predicts the target alone (1.000): is it known before the outcome?" in text


def test_rows_in_any_order_are_not_told_to_be_sorted(tmp_path: Path) -> None:
    assert proposed(tmp_path, {}).notes == ()


@pytest.mark.parametrize(("target", "meant"), [("Price", "price"), (" price", "price"), ("pric", "price"), ("Y", "y")])
def test_a_typing_error_is_answered_with_what_was_meant(target: str, meant: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("price,area,y\n1,2,no\n")

    with pytest.raises(DataError, match=f"did you mean '{meant}'\\?"):
        propose(tmp_path / "table.csv", target)


def test_the_path_of_the_table_holds_from_where_the_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "models").mkdir()
    proposed(tmp_path / "data", {})
    monkeypatch.chdir(tmp_path)

    spec = parse_spec(propose(Path("data/table.csv"), "y", folder=Path("models")).text, Path("models"))

    assert spec.data is not None
    assert spec.data.resolve() == tmp_path / "data" / "table.csv"


def test_a_table_of_many_columns_has_a_model_file_that_can_be_read(tmp_path: Path) -> None:
    names, levels = [f"c{place}" for place in range(1_100)], [f"{letter * 40}" for letter in "abcdefg"]
    rows = [",".join([*(levels[(i + place) % 7] for place in range(len(names))), Y[i]]) for i in range(40)]
    (tmp_path / "table.csv").write_text("\n".join([",".join([*names, "y"]), *rows]))

    text = propose(tmp_path / "table.csv", "y").text

    assert len(parse_spec(text).schema.names) == len(names)


def test_columns_that_somebody_asks_for_are_not_judged(tmp_path: Path) -> None:
    columns = {"id": list(range(N)), "name": [f"r{i}" for i in range(N)], "one": ["a"] * N, "many": [f"t{i % 1100}" for i in range(N)]}
    proposed(tmp_path, columns)

    schema = parse_spec(propose(tmp_path / "table.csv", "y", only=list(columns)).text).schema

    assert {f.name: f.kind for f in schema.features} == {
        "id": "integer",
        "name": "categorical",
        "one": "categorical",
        "many": "categorical",
    }


def test_few_numbers_that_count_the_rows_are_an_id(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("row,x,y\n" + "".join(f"{i + 5},{i * 7 % 29},{'no' if i % 2 else 'yes'}\n" for i in range(25)))

    assert parse_spec(propose(tmp_path / "table.csv", "y").text).schema.names == ("x",)


def test_texts_that_differ_only_in_case_or_blanks_are_pointed_out(tmp_path: Path) -> None:
    result = proposed(tmp_path, {"c": ["Oslo", "oslo ", "Rome"] * (N // 3), "late": ["Yes", "yes", "no"] * (N // 3)}, "late")

    assert [note for note in result.notes if "differ" in note] == [
        "c: 'Oslo' (400 rows) and 'oslo ' (400 rows) differ only in case or in blanks around them",
        "late: 'Yes' (400 rows) and 'yes' (400 rows) differ only in case or in blanks around them",
    ]
    assert result.text.count("differ only in case") == 2
    assert parse_spec(result.text).schema.classes == ("Yes", "no", "yes")


def test_numbers_with_commas_beside_others_with_points_are_pointed_out(tmp_path: Path) -> None:
    result = proposed(tmp_path, {"v": [f"{i % 9},5" for i in range(N)]})

    assert "look like numbers with decimal commas, but other columns have decimal points" in result.text


def test_a_word_among_few_numbers_is_pointed_out(tmp_path: Path) -> None:
    text = proposed(tmp_path, {"v": [i % 9 if i % 50 else "#DIV/0!" for i in range(N)]}).text

    assert '1,176 are numbers, "#DIV/0!" is none' in text


@pytest.mark.parametrize(
    "content",
    [{"x": X, "y": Y}, {"columns": ["x", "y"], "data": [[1, "a"]]}, {"data": [{"x": 1, "y": "a"}]}, {"meta": {}, "y": "a", "rows": [1]}],
    ids=["columns", "split", "rows under a name", "an object beside"],
)
def test_json_of_one_object_with_the_table_in_it_is_told(content: object, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps(content))

    with pytest.raises(DataError, match=r"row 0, column '.*': got the only row, .*, wanted one object for each row"):
        propose(tmp_path / "t.json", "y")


def test_a_title_above_the_names_is_told(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl", reason="SKIPPED: no openpyxl; install requirements.txt to run these tests")
    for name, title in {"one.xlsx": ["Rides"], "two.xlsx": ["seen", "out"]}.items():
        book = openpyxl.Workbook()
        for row in (title, ["x", "y"], *zip(X[:30], Y[:30], strict=True)):
            book.active.append(row)
        book.save(tmp_path / name)

    with pytest.raises(DataError, match=r"got 2 cells, wanted 1, as the first row has; does a title stand above the names"):
        propose(tmp_path / "one.xlsx", "y")
    with pytest.raises(DataError, match=r"one of seen, out; the first row has it: is there a title above the names"):
        propose(tmp_path / "two.xlsx", "y")


def test_what_train_cannot_learn_from_is_told_before(tmp_path: Path) -> None:
    pd.DataFrame({"x": X[:59], "at": ["2026-01-01"] * 59, "y": Y[:59]}).to_csv(tmp_path / "t.csv", index=False)

    assert "59 labelled rows are too few to learn from; 60 are the least" in propose(tmp_path / "t.csv", "y").notes
    with pytest.raises(DataError, match="column 'at': got the same time in every row, wanted times that order the rows, or no --time"):
        propose(tmp_path / "t.csv", "y", "at")
