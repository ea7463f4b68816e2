"""Records: what goes into the spool comes out of it, also from files of earlier versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.prediction_log import records
from service.prediction_log.packing import MAGIC, pack, unpack
from service.prediction_log.records import FEW, AnsweredRequest, decode, encode_body, with_prefix
from service.prediction_log.watermark import ClockRule
from service.prediction_log.writing import _COLUMNS, stored_rows
from service.recording.counting import count_rows
from service.recording.version_facts import VersionFacts
from tests.properties import few
from training.profiles.bins import LABEL, SCORE, Bins, ColumnBins
from training.profiles.measures import Measures
from training.schema.prediction import Prediction
from training.schema.rows import BlockColumns, Coded


def payload_of(request: AnsweredRequest) -> bytes:
    """Write a whole record."""
    return b"".join(with_prefix("0a", encode_body(request)))


def encoded(**more: Any) -> bytes:
    columns = {"x": np.array([1.5, np.nan]), "word": np.array(["é", None], dtype=object)}
    prediction = Prediction(np.array([2.5, 3.5]))
    return payload_of(AnsweredRequest("fares", "v1", "b", 7, np.array([1, 2]), ["a", None], columns, prediction)._replace(**more))


@pytest.mark.parametrize(
    ("more", "ids"),
    [({}, (None, None)), ({"request_id": "r-1", "trace_id": "t" * 32}, ("r-1", "t" * 32)), ({"request_id": "r-1"}, ("r-1", None))],
)
def test_a_record_comes_back_as_it_went_in(more: dict[str, str], ids: tuple[str | None, str | None]) -> None:
    record = decode(encoded(**more))

    assert (record.prefix, record.model, record.version, record.arrived_us) == ("0a", "fares", "v1", 7)
    assert (record.event_us, record.own_ids, record.outputs) == ([1, 2], ["a", None], [2.5, 3.5])
    assert record.features == {"x": [1.5, None], "word": ["é", None]}
    assert (record.request_id, record.trace_id) == ids


@pytest.mark.parametrize("n_rows", [2, FEW + 1], ids=["text", "packed"])
@pytest.mark.parametrize("key", ["", "shop"])
def test_the_name_of_the_key_comes_back_and_without_one_takes_no_room(n_rows: int, key: str) -> None:
    columns, prediction = {"x": np.zeros(n_rows)}, Prediction(np.zeros(n_rows))
    request = AnsweredRequest("fares", "v1", "b", 7, None, ["a"] * n_rows, columns, prediction, key=key)

    payload = payload_of(request)

    assert decode(payload).key == (key or None)
    assert (b'"k":' in payload) == (key != "")
    assert [row[-1] for row in stored_rows([decode(payload)])] == [key or None] * n_rows


def test_a_record_of_a_spool_file_from_before_traces_is_read() -> None:
    old = b'{"id":"0a","m":"fares","v":"v1","b":"b","t":7,"e":[1],"own":null,"x":{"x":[1.5]},"y":[2.5],"p":null,"c":null}'

    record = decode(old)

    assert (record.request_id, record.trace_id, record.key, record.outputs) == (None, None, None, [2.5])


def test_a_record_without_ids_takes_no_more_room_than_before() -> None:
    assert orjson.loads(encoded()).keys() == {"id", "m", "v", "b", "t", "e", "own", "x", "y", "p", "c"}


# ---- many rows: packed --------------------------------------------------------------------------------------------

BINS = Bins(
    (
        *(ColumnBins(name, "numeric", edges=(0.0, 1.0, 2.0)) for name in ("plain", "strided", SCORE)),
        *(ColumnBins(name, "categorical", categories=("no", "é")) for name in ("word", "coded", LABEL)),
    )
)
NUMBERS = st.floats(width=64) | st.sampled_from([np.nan, 0.0, -0.0, 3.0, 1e300, 2.0**53, 5e-324])
WORDS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(["no", "],[", "\x01", "😀"])
IDS = st.none() | st.text("ab", max_size=2)
SIZES = st.integers(1, 6) | st.integers(FEW - 2, FEW + 3) | st.integers(500, 502) | st.just(1003)


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@st.composite
def requests(draw: st.DrawFn, sizes: st.SearchStrategy[int] = SIZES) -> AnsweredRequest:
    """Few values drawn, then spread over the rows."""
    n_rows = draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def some(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=1, max_size=5))

    def spread(values: list[Any]) -> list[Any]:
        return [values[place] for place in rng.integers(0, len(values), n_rows)]

    numbers = np.array([spread(some(NUMBERS)) for _ in range(2)])
    known = tuple(dict.fromkeys(some(WORDS)))
    coded = Coded(rng.integers(0, len(known), n_rows).astype(np.int32), known)
    columns = [("plain", numbers[0]), ("word", objects(spread(some(WORDS)))), ("coded", coded.column())]
    columns.append(("strided", np.asfortranarray(numbers)[1]))
    classes = draw(st.sampled_from([None, ("no", "é"), tuple(f"c{place}" for place in range(300))]))
    stray = draw(st.sampled_from([[], [], ["none of the classes"]]))
    outputs = np.array(spread(some(NUMBERS))) if classes is None else objects(spread([*classes[-200:], *stray]))
    codes = None if classes is None or stray else np.array([classes.index(name) for name in outputs])
    chances = rng.random((n_rows, len(classes or ())))
    chances[rng.random(chances.shape) < draw(st.sampled_from([0, 0.1]))] = np.nan
    return AnsweredRequest(
        model="fares",
        version=draw(st.sampled_from(["v1", "é"])),
        bins_id=BINS.id,
        arrived_us=7,
        event_us=draw(st.none() | st.just(np.array(spread(draw(st.sampled_from([[7], [-(2**62), 5, 2**62]]))), dtype=np.int64))),
        own_ids=draw(st.sampled_from([None, spread(some(IDS))])),
        columns=BlockColumns(columns, ("plain", "strided"), numbers, draw(st.sampled_from([{}, {"coded": coded}]))),
        prediction=Prediction(outputs, None if classes is None else chances, classes, draw(st.sampled_from([None, codes]))),
        request_id=draw(st.sampled_from(["", "r"])),
    )


def as_text(request: AnsweredRequest) -> bytes:
    """The record as earlier versions wrote it, however many rows it has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "FEW", 10**9)
        return payload_of(request)


def counted(payload: bytes) -> dict[int, dict[str, Any]]:
    counts, uncounted = count_rows([decode(payload)], lambda *_: VersionFacts(Measures(BINS), 100, ClockRule(10**9)))
    assert uncounted == 0
    return {count.bucket_us: {"rows": count.rows, **count.profile.to_dict()} for count in counts}


@given(requests())
@few(50)
def test_what_is_stored_and_counted_does_not_depend_on_the_form(request: AnsweredRequest) -> None:
    payload = payload_of(request)

    text = as_text(request)

    assert payload.startswith(b"{") == (len(request.prediction) <= FEW)
    assert stored_rows([decode(payload)]) == stored_rows([decode(text)])
    assert orjson.dumps(counted(payload), option=orjson.OPT_NON_STR_KEYS) == orjson.dumps(counted(text), option=orjson.OPT_NON_STR_KEYS)


@given(requests())
@few(40)
def test_the_values_of_any_record_come_back(request: AnsweredRequest) -> None:
    record = decode(payload_of(request))

    assert (record.prefix, record.version, record.own_ids) == ("0a", request.version, request.own_ids)
    assert list(record.features) == list(request.columns)
    event_us = np.full(len(record), 7) if request.event_us is None else request.event_us
    for name, sent in [*request.columns.items(), ("outputs", request.prediction.label), ("event_us", event_us)]:
        values = record.features.get(name, getattr(record, name, None))
        assert len(values) == len(sent)
        if sent.dtype == object:
            assert list(values) == sent.tolist()
        else:
            np.testing.assert_array_equal(np.array(values, dtype=sent.dtype), np.where(np.isfinite(sent), sent, np.nan))


def many(n_rows: int = FEW + 1) -> AnsweredRequest:
    coded = Coded(np.arange(n_rows, dtype=np.int32) % 2, ("a", None))
    columns = [("x", np.arange(n_rows) / 2), ("coded", coded.column()), ("word", objects(["é", None, "z"] * n_rows)[:n_rows])]
    block = BlockColumns(columns, ("x",), np.arange(n_rows)[None] / 2, {"coded": coded})
    label, codes = objects(["no", "yes", "no"] * n_rows)[:n_rows], np.array([0, 1, 0] * n_rows)[:n_rows]
    prediction = Prediction(label, np.full((n_rows, 2), 0.5), ("no", "yes"), codes)
    return AnsweredRequest("fares", "v1", "b", 7, np.arange(n_rows), ["a"] * n_rows, block, prediction)


def test_a_packed_record_is_smaller_than_text() -> None:
    request = many(1000)
    request = request._replace(prediction=replace(request.prediction, probability=np.random.default_rng(0).random((1000, 2))))

    assert len(encode_body(request)) < len(as_text(request)) * 0.7


def test_integers_stay_integers() -> None:
    request = many()._replace(columns={"x": np.arange(FEW + 1)}, prediction=Prediction(np.arange(FEW + 1)))

    rows = stored_rows([decode(payload_of(request))])

    assert rows == stored_rows([decode(as_text(request))])
    assert rows[3][_COLUMNS.index("features")] == "[3]"


def test_a_packed_record_that_is_cut_off_or_too_long_is_refused() -> None:
    payload = payload_of(many())

    for damaged in [*(payload[:stop] for stop in range(1, len(payload))), payload + b"\x00"]:
        with pytest.raises((ValueError, KeyError, TypeError)):
            decode(damaged)


@given(st.data())
@few(150)
def test_damage_to_a_packed_record_is_refused_or_leaves_every_row_whole(data: st.DataObject) -> None:
    payload = bytearray(payload_of(many()))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(1, len(payload) - 1))] = data.draw(st.integers(0, 255) | st.sampled_from(list(b'0129,[]{}":')))
    try:
        record = decode(bytes(payload))
        rows = stored_rows([record])
    except (ValueError, KeyError, TypeError):
        return

    lengths = {len(values) for values in [record.event_us, record.outputs, *record.features.values()]}
    assert lengths == {len(rows)} == {FEW + 1}


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"n":25', b'"n":26'),
        (b'"n":25', b'"n":-5'),
        (b'"n":25', b'"n":""'),
        (b'["c",25,["no","yes"]]', b'["c",25,["no   yes"]]'),
        (b'["c",25,["no","yes"]]', b'["c",25,"no     yes"]'),
        (b'["c",25,["no","yes"]]', b'["j",25             ]'),
        (b'["f",200]', b'["f",-20]'),
        (b'["f",200]', b'["?",200]'),
        (b'"e":["i",200]', b'"e":9e9999999'),
        (b'"e":["i",200]', b'"e":999999999'),
        (b'"c":["no","yes"]', b'"c":null        '),
    ],
)
def test_a_header_that_does_not_fit_its_arrays_is_refused(was: bytes, becomes: bytes) -> None:
    payload = payload_of(many())
    assert payload.count(was) >= 1
    assert len(was) == len(becomes)

    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(payload.replace(was, becomes, 1))


@pytest.mark.parametrize(("n_rows", "first"), [(FEW, b"{"), (FEW + 1, MAGIC)])
def test_few_rows_are_text_and_one_more_is_packed(n_rows: int, first: bytes) -> None:
    assert encode_body(many(n_rows))[:1] == first


@pytest.mark.parametrize(("n_values", "width"), [(256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_codes_are_as_wide_as_the_number_of_values_needs(n_values: int, width: int) -> None:
    classes = tuple(map(str, range(n_values)))
    content = {"e": np.zeros(n_values, int), "y": objects(list(classes)), "p": None, "c": classes, "own": None}

    packed = pack(content, {}, np.arange(n_values))

    assert f'["c",{n_values * width},'.encode() in packed
    assert unpack(packed)["y"].tolist() == list(classes)


@pytest.mark.parametrize("event_us", [-(2**63), 2**63 - 1])
def test_the_same_time_of_all_rows_may_be_any_int64(event_us: int) -> None:
    content = {"e": np.array([event_us] * 2), "y": np.zeros(2), "p": None, "c": None, "own": None}

    assert unpack(pack(content, {}))["e"].tolist() == [event_us] * 2


def test_a_time_that_is_no_int64_is_refused() -> None:
    packed = pack({"e": np.array([7, 7]), "y": np.zeros(2), "p": None, "c": None, "own": None}, {})
    stop = 5 + int.from_bytes(packed[1:5], "little")
    header = packed[5:stop].replace(b'"e":7', b'"e":9223372036854775808')

    with pytest.raises(ValueError, match="int64"):
        unpack(MAGIC + len(header).to_bytes(4, "little") + header + packed[stop:])
