"""Labels of a request in columns: read typed where all is plainly right, else strictly, wrong entries counted and the first named."""

from __future__ import annotations

from operator import attrgetter, is_, itemgetter, methodcaller
from typing import Any, NamedTuple

import marshmallow as ma
import msgspec
import numpy as np
from marshmallow import fields

from service.codecs.json_bodies import MAX_DEPTH, list_of, load_envelope, parse_strict
from service.columns.bad_values import FINE, faults_of_own_ids
from service.columns.explaining import MAX_LISTED
from service.columns.values import OWN_ID_WANTED, own_id, shown
from service.errors import InvalidRowsError, Problem

_WANT = '{"id": "...", "label": ...} or {"own_id": "...", "label": ...}'
_DEPTH = 3  # of the plain shape: {"labels": [{...}]}


class SentLabels(NamedTuple):
    """Labels as they were sent, one column a name; of each label exactly one of `ids` and `own_ids` is there."""

    ids: list[str | None]
    own_ids: list[str | None]
    labels: list[Any]


class _Label(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    label: str | int | float | bool | None
    id: str | None = None
    own_id: str | int | float | None = None


class _Labels(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    labels: list[_Label]


class _LabelsEnvelope(ma.Schema):
    class Meta:
        unknown = ma.RAISE

    labels = fields.Raw(required=True)


_DECODER = msgspec.json.Decoder(_Labels)
_ENVELOPE = _LabelsEnvelope()  # to make a schema costs forty times as much as to load with it
_HAS_LABEL = methodcaller("__contains__", "label")


def read_labels(body: bytes, max_rows: int, max_depth: int = MAX_DEPTH) -> SentLabels:
    """Take the labels out of ``{"labels": [{"id" | "own_id", "label"}]}``; a label is any JSON value.

    Raises
    ------
    UnreadableBodyError
        It is not JSON, is ambiguous (a name twice, NaN, lone surrogates), or has another outer shape.
    TooManyRowsError
        More labels than `max_rows`.
    InvalidRowsError
        Some entries have another shape; all are counted, the first hundred named by their place.

    Examples
    --------
    >>> read_labels(b'{"labels": [{"id": "a-0", "label": true}, {"own_id": 17, "label": null}]}', 10)
    SentLabels(ids=['a-0', None], own_ids=[None, '17'], labels=[True, None])
    """
    plain = _read_plain(body) if max_depth >= _DEPTH else None
    if plain is not None and len(plain.labels) <= max_rows:
        return plain
    return _read_strictly(body, max_rows, max_depth)


def _read_plain(body: bytes) -> SentLabels | None:
    """Read labels with nothing wrong in them; None when something is not plainly right, which `_read_strictly` explains."""
    if b"\\" in body:  # without escapes a name stands in the body as it is, so that it can be counted
        return None
    try:
        entries = _DECODER.decode(body).labels
    except (ValueError, RecursionError):
        return None
    n = len(entries)
    # The decoder takes the last of two equal names. Each entry has a label, so as many of them as entries means that none has two.
    if not n or body.count(b'"label"') != n or body.count(b'"id"') + body.count(b'"own_id"') != n or body.count(b'"labels"') != 1:
        return None
    ids, sent_own_ids, labels = (list(map(attrgetter(name), entries)) for name in ("id", "own_id", "label"))
    if ids.count(None) + sent_own_ids.count(None) != n or any(map(is_, ids, sent_own_ids)):  # one of the two, in each of them
        return None
    if not all(-(2**63) <= label < 2**64 for label in labels if type(label) is int):  # longer ones are read the strict way, or refused
        return None
    try:
        own_ids = sent_own_ids if sent_own_ids.count(None) == n else list(map(own_id, sent_own_ids))
    except ValueError:
        return None
    return SentLabels(ids, own_ids, labels)


def _read_strictly(body: bytes, max_rows: int, max_depth: int) -> SentLabels:
    entries = list_of(load_envelope(_ENVELOPE, parse_strict(body, max_depth)), "labels", max_rows)
    n = len(entries)
    objects: list[dict[str, Any]] = [entry if isinstance(entry, dict) else {} for entry in entries]
    ids, sent_own_ids = (list(map(methodcaller("get", name), objects)) for name in ("id", "own_id"))
    has_both = (np.fromiter(map(len, objects), np.intp, n) == 2) & np.fromiter(map(_HAS_LABEL, objects), np.bool_, n)
    has_id = has_both & np.fromiter(map({str}.__contains__, map(type, ids)), np.bool_, n)
    has_own_id = has_both & np.array([sent is not None for sent in sent_own_ids])
    is_bad_own_id = has_own_id & (faults_of_own_ids(sent_own_ids) != FINE)
    wrong = np.flatnonzero(is_bad_own_id | ~(has_id | has_own_id))
    if len(wrong):
        wanted = {row: OWN_ID_WANTED if is_bad_own_id[row] else _WANT for row in wrong[:MAX_LISTED].tolist()}
        problems = [Problem(row, "labels", "shape", shown(entries[row]), want) for row, want in wanted.items()]
        raise InvalidRowsError(problems, len(wrong))
    return SentLabels(ids, list(map(own_id, sent_own_ids)), list(map(itemgetter("label"), objects)))
