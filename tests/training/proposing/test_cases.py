"""The collected tables: what is proposed for each, and that the table is then read as proposed."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.dataset.dataset import read_table
from training.errors import DataError
from training.model_file.model_spec import ModelSpec, parse_spec
from training.proposing.proposing import propose

CASES = Path(__file__).parents[2] / "data" / "spellings"
PLAIN = {"x": "numeric", "k": "integer", "c": "categorical"}
PROPOSED: dict[str, dict[str, str]] = {
    "k1_plain.csv": PLAIN,
    "k1_quote.csv": {'width "in"': "numeric", "k": "integer", "c": "categorical"},
    "k4_train.csv": {"0": "numeric", "1": "integer", "2": "numeric"},
    "k5_time_index.parquet at": {**PLAIN, "at": "datetime"},
    "k7_epoch_seconds.csv at": {**PLAIN, "at": "datetime"},
    "k7_seen_millis.csv": {**PLAIN, "seen": "datetime"},
    "k8_target_NA.csv": PLAIN,
    "k8_target_01.csv": PLAIN,
    "k8_zip.csv": {**PLAIN, "zip": "categorical"},
    "k8_branch.csv": {**PLAIN, "branch": "categorical"},
    "k8_label_spaces.csv": PLAIN,
    "k9_year_month.csv": {**PLAIN, "month": "datetime"},
    "k9_yes_no.csv": {**PLAIN, "active": "categorical"},
    "k9_NA_tokens.csv": {**PLAIN, "z": "numeric"},
    "k9_null_tokens.csv": {**PLAIN, "z": "numeric"},
    "k9_spaces.csv": PLAIN,
    "k9_whole_number_categories.parquet": {**PLAIN, "store": "integer", "flag": "integer"},
    "k10_id_category.csv": PLAIN,
    "k12_lists.parquet": PLAIN,
    "k12_structs.parquet": PLAIN,
    "k13_decimal.parquet": {**PLAIN, "price": "numeric"},
    "k13_duration.parquet": PLAIN,
    "k17_semicolon.csv at": {**PLAIN, "at": "datetime"},
    "k17_quoted_decimal_comma.csv": PLAIN,
}
REFUSED = {
    "k6_trailing_comma.csv y": "got 5 cells, wanted 4",
    "k7_sentinel_9999.csv at": "such as '9999-12-31T00:00:00Z'",
    "k8_single_class.csv": "only one class, 'yes'",
    "k9_twice.csv": "'x': got two columns of that name",
}


def proposed(case: str) -> ModelSpec:
    name, _, time = case.partition(" ")
    return parse_spec(propose(CASES / name, "y", time or None).text)


@pytest.mark.parametrize("case", PROPOSED)
def test_a_collected_table_is_proposed_and_read(case: str) -> None:
    spec = proposed(case)

    assert {f.name: f.kind for f in spec.schema.features} == PROPOSED[case]
    assert spec.data is not None
    assert len(read_table(spec.data, spec.schema, spec.read)) == 200
    assert spec.schema.task == "binary"


@pytest.mark.parametrize("case", REFUSED)
def test_a_collected_table_is_refused_with_the_cause(case: str) -> None:
    with pytest.raises(DataError) as caught:
        proposed(case)

    assert REFUSED[case] in str(caught.value)


def test_classes_keep_their_letters() -> None:
    classes = {
        case: sorted(proposed(case).schema.classes or ()) for case in ("k8_target_NA.csv", "k8_target_01.csv", "k8_label_spaces.csv")
    }

    assert classes == {
        "k8_target_NA.csv": ["EU", "NA"],
        "k8_target_01.csv": ["01", "02"],
        "k8_label_spaces.csv": ["no", "yes"],
    }


def test_times_and_numbers_are_written_as_they_are() -> None:
    seconds, millis, german = (proposed(case) for case in ("k7_epoch_seconds.csv at", "k7_seen_millis.csv", "k17_semicolon.csv at"))

    assert seconds.schema.time is not None
    assert seconds.schema.time.format == "epoch_s"
    assert millis.schema.feature("seen").format == "epoch_ms"
    assert (german.read.delimiter, german.read.decimal) == (";", ",")
