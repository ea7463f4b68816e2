"""Labels as bytes: the typed reading takes only what the strict reading takes, and gives the same; wrong entries are named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.codecs.label_bodies import SentLabels, _read_plain, _read_strictly, read_labels
from service.columns.explaining import MAX_LISTED
from service.errors import InvalidRowsError, TooManyRowsError, UnreadableBodyError
from tests.service.attacks import ENVELOPES

AMBIGUOUS = {
    "an id twice": b'{"labels": [{"id": "a", "id": "b", "label": 1}]}',
    "a label twice": b'{"labels": [{"id": "a", "label": 1, "label": 2}]}',
    "a label twice, once with an escape": b'{"labels": [{"id": "a", "l\\u0061bel": 1, "label": 2}]}',
    "an id twice beside an entry with none": b'{"labels": [{"id": "a", "id": "b", "label": 1}, {"label": 2}]}',
    "labels twice": b'{"labels": [{"id": "a", "label": 1}], "labels": [{"id": "b", "label": 1}]}',
    "NaN": b'{"labels": [{"id": "a", "label": NaN}]}',
    "Infinity": b'{"labels": [{"id": "a", "label": -Infinity}]}',
    "5000 digits": b'{"labels": [{"id": "a", "label": ' + b"9" * 5000 + b"}]}",
    "too large a number": b'{"labels": [{"id": "a", "label": 1e999}]}',
    "latin-1": b'{"labels": [{"id": "a", "label": "\xe9"}]}',
    "lone surrogate": b'{"labels": [{"id": "a", "label": "\\ud800"}]}',
    "control letter": b'{"labels": [{"id": "a", "label": "\x01"}]}',
}
WRONG_ENTRIES = [
    '"a"', "{}", '{"id": "a"}', '{"label": 1}', '{"id": "a", "own_id": "b", "label": 1}', '{"id": 3, "label": 1}',
    '{"own_id": "", "label": 1}', '{"own_id": "a\\u0000", "label": 1}', '{"own_id": true, "label": 1}', '{"own_id": 0.5, "label": 1}',
    '{"id": null, "label": 1}', '{"id": null, "own_id": "a", "label": 1}', '{"id": "a", "label": 1, "x": 2}', "null", "[]",
]  # fmt: skip
WORDS = st.sampled_from(["label", "id", "own_id", "labels", "true", "", "a", "é", "\\", '"', "\u2028"])
SCALARS = st.one_of(WORDS, st.booleans(), st.none(), st.integers(-(2**65), 2**65), st.floats(allow_nan=False, allow_infinity=False))
LABELS: st.SearchStrategy[Any] = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(WORDS, SCALARS, max_size=2))
ENTRIES = st.one_of(
    st.fixed_dictionaries({"id": SCALARS, "label": LABELS}),
    st.fixed_dictionaries({"own_id": SCALARS, "label": LABELS}),
    st.dictionaries(WORDS, LABELS, max_size=3),
)


@pytest.mark.parametrize("body", [*ENVELOPES.values(), *AMBIGUOUS.values()], ids=[*ENVELOPES, *AMBIGUOUS])
def test_a_hostile_body_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        read_labels(body, 10)


@given(st.lists(ENTRIES, min_size=1, max_size=4), st.booleans())
@example([{"id": "a", "label": "label"}], True)
@example([{"id": "a", "own_id": "b", "label": 1}, {"label": 1}], True)
@example([{"own_id": 2**64, "label": 2**64}], True)
@example([{"own_id": -0.0, "label": -0.0}], True)
def test_the_typed_reading_takes_nothing_that_the_strict_one_does_not_and_gives_the_same(entries: list[Any], is_ascii: bool) -> None:
    body = json.dumps({"labels": entries}, ensure_ascii=is_ascii).encode()

    plain = _read_plain(body)

    assert plain is None or repr(plain) == repr(_read_strictly(body, 10, 64))


@pytest.mark.parametrize(
    "label", ["true", "1", "-3", "0.25", '"yes"', '"é"', "null", "1e3", "18446744073709551615"], ids=lambda label: f"label {label}"
)
@pytest.mark.parametrize("name", ['"id": "a-0"', '"own_id": "ride"', '"own_id": 17', '"own_id": 50.0'])
def test_plain_labels_are_read_typed(label: str, name: str) -> None:
    body = f'{{"labels": [{{{name}, "label": {label}}}]}}'.encode()

    plain = _read_plain(body)

    assert plain is not None
    assert repr(plain) == repr(_read_strictly(body, 1, 3))


@pytest.mark.parametrize("entry", WRONG_ENTRIES)
def test_a_label_of_another_shape_is_named_by_its_row(entry: str) -> None:
    with pytest.raises(InvalidRowsError) as caught:
        read_labels(f'{{"labels": [{{"id": "good", "label": 1}}, {entry}]}}'.encode(), 10)

    assert [(problem.row, problem.code) for problem in caught.value.problems] == [(1, "shape")]
    assert caught.value.total == 1


def test_what_a_label_should_look_like_is_in_the_problem() -> None:
    with pytest.raises(InvalidRowsError) as caught:
        read_labels(b'{"labels": [null, {"own_id": "", "label": 1}]}', 10)

    shape, own_id = caught.value.problems
    assert (shape.got, own_id.got) == ("null", "an object of 2")
    assert shape.want.startswith('{"id": "..."')
    assert own_id.want.startswith("text of 1 to 128")


def test_the_first_problems_are_named_and_all_are_counted() -> None:
    body = b'{"labels": [' + b",".join([b"{}"] * (MAX_LISTED + 1)) + b"]}"

    with pytest.raises(InvalidRowsError) as caught:
        read_labels(body, 1000)

    assert (len(caught.value.problems), caught.value.total) == (MAX_LISTED, MAX_LISTED + 1)


def test_an_own_id_may_be_written_as_a_whole_float() -> None:
    sent = read_labels(b'{"labels": [{"own_id": 18446744073709551614, "label": 1}, {"own_id": 50.0, "label": 1}]}', 10)

    assert sent == SentLabels([None, None], ["18446744073709551614", "50"], [1, 1])


@pytest.mark.parametrize("n", [10, 11])
def test_more_labels_than_the_limit_are_refused(n: int) -> None:
    body = b'{"labels": [' + b",".join([b'{"id": "a", "label": 1}'] * n) + b"]}"

    if_allowed = read_labels(body, n)

    assert len(if_allowed.labels) == n
    with pytest.raises(TooManyRowsError, match=f"{n} labels in one request; the limit is {n - 1}"):
        read_labels(body, n - 1)


@pytest.mark.parametrize(("label", "depth"), [("1", 3), ("[1]", 4), ("[[]]", 5)], ids=["scalar", "list", "list of lists"])
def test_labels_nested_deeper_than_the_limit_are_refused(label: str, depth: int) -> None:
    body = f'{{"labels": [{{"id": "a", "label": {label}}}]}}'.encode()

    allowed = read_labels(body, 10, depth)

    assert allowed.labels == [json.loads(label)]
    with pytest.raises(UnreadableBodyError, match=f"nested deeper than {depth - 1}"):
        read_labels(body, 10, depth - 1)
