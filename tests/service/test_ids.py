"""Prediction ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ids import IdMinter

KEY = b"k" * 32
numbers = st.tuples(st.integers(0, 2**48 - 1), st.binary(min_size=5, max_size=5), st.integers(0, 2**32 - 1), st.integers(1, 2**24 - 1))


@given(numbers)
def test_what_was_minted_is_read_back(parts: tuple[int, bytes, int, int]) -> None:
    time_ms, spool, seq, n_rows = parts
    prefix = IdMinter(KEY).mint(time_ms, spool=spool.hex(), seq=seq, n_rows=n_rows)

    found = IdMinter(KEY).parse(f"{prefix}-{n_rows - 1}")

    assert found is not None
    assert (found.time_ms, found.spool, found.seq, found.n_rows, found.row) == (time_ms, spool.hex(), seq, n_rows, n_rows - 1)


@given(st.integers(0, 36), st.sampled_from("0123456789abcdefghijklmnopqrstuv"))
def test_a_changed_letter_makes_an_id_unknown(place: int, letter: str) -> None:
    minter = IdMinter(KEY)
    prefix = minter.mint(1_700_000_000_000, spool="00112233aa", seq=7, n_rows=3)
    changed = prefix[:place] + letter + prefix[place + 1 :]

    found = minter.parse(f"{changed}-0")

    assert (found is not None) == (changed == prefix)


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
