"""Prediction ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.prediction_log.ids import MAX_ROWS_PER_ID, IdMinter

KEY = b"k" * 32
numbers = st.tuples(st.integers(0, 2**48 - 1), st.binary(min_size=5, max_size=5), st.integers(0, 2**32 - 1), st.integers(1, 2**24 - 1))


@given(numbers)
def test_what_was_minted_is_read_back(parts: tuple[int, bytes, int, int]) -> None:
    time_ms, spool, seq, n_rows = parts
    prefix = IdMinter(KEY).mint(time_ms, spool=spool.hex(), seq=seq, n_rows=n_rows)

    identity = IdMinter(KEY).parse(f"{prefix}-{n_rows - 1}")

    assert identity == (prefix, n_rows - 1, time_ms, spool.hex(), seq, n_rows)


@given(st.integers(0, 36), st.sampled_from("0123456789abcdefghijklmnopqrstuv"))
def test_a_changed_letter_makes_an_id_unknown(place: int, letter: str) -> None:
    minter = IdMinter(KEY)
    prefix = minter.mint(1_700_000_000_000, spool="00112233aa", seq=7, n_rows=3)
    changed = prefix[:place] + letter + prefix[place + 1 :]

    identity = minter.parse(f"{changed}-0")

    assert (identity is not None) == (changed == prefix)


@given(st.text(max_size=60))
def test_any_text_is_read_or_unknown_but_never_an_error(text: str) -> None:
    assert IdMinter(KEY).parse(text) is None


def test_ids_sort_by_time() -> None:
    minter = IdMinter(KEY)

    prefixes = [minter.mint(time_ms, spool="ffffffffff", seq=0, n_rows=1) for time_ms in (1, 31, 1000, 10**12)]

    assert prefixes == sorted(prefixes)


@pytest.mark.parametrize("row", ["3", "-1", "00", "1 ", "١", ""])
def test_a_row_that_was_not_there_is_unknown(row: str) -> None:
    minter = IdMinter(KEY)
    prefix = minter.mint(1, spool="0011223344", seq=0, n_rows=3)

    assert minter.parse(f"{prefix}-{row}") is None


def test_many_ids_are_read_as_each_alone() -> None:
    minter = IdMinter(KEY)
    prefix = minter.mint(1, spool="0011223344", seq=0, n_rows=2)
    texts = [f"{prefix}-0", None, f"{prefix}-2", "made up", f"{prefix[:-1]}v-0", f"{prefix}-1"]

    identities = minter.parse_all(texts)

    assert identities == [None if text is None else minter.parse(text) for text in texts]
    assert [identity is not None for identity in identities] == [True, False, False, False, False, True]


def test_an_id_has_room_for_the_largest_request() -> None:
    minter = IdMinter(KEY)
    prefix = minter.mint(1, spool="0011223344", seq=0, n_rows=MAX_ROWS_PER_ID)

    assert minter.parse(f"{prefix}-{MAX_ROWS_PER_ID - 1}") is not None
    assert minter.parse(f"{prefix}-{MAX_ROWS_PER_ID}") is None
    with pytest.raises(OverflowError):
        minter.mint(1, spool="0011223344", seq=0, n_rows=MAX_ROWS_PER_ID + 1)
