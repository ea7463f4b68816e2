"""A stream of answered requests whose rows come late by fits and starts, and its counts, row by row."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import sqlalchemy as sa

from service.count_ledger.tables import bucket_counts
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import AnsweredRequest, Record, decode, encode_body, with_prefix
from service.prediction_log.watermark import ClockRule, advance
from service.prediction_log.writing import DrainedBatch
from service.recording.counting import RowCounter
from service.recording.version_facts import VersionFacts
from training.policies import WatchingPolicy
from training.profiles.bins import Profile
from training.profiles.measures import Measures
from training.profiles.reference import Answered, learn_measures
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows
from training.schema.schema import Schema
from training.storage.database import Database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WIDTH = 100
RULE = ClockRule(10**9, start_us=0)
SCHEMA = Schema(
    (
        Feature("x", "numeric", nullable=True),
        Feature("y", "numeric", nullable=True),
        Feature("place", "categorical", nullable=True),
    ),
    target="t",
    task="regression",
)
Key = tuple[int, int, str, str]


def columns_of(rng: np.random.Generator, n_rows: int) -> Columns:
    x = rng.normal(5, 3, n_rows)
    y = np.where(rng.random(n_rows) < 0.2, np.nan, x + rng.normal(0, 2, n_rows))
    place = rng.choice(np.array(["hill", "lake", "town", None], object), n_rows)
    return {"x": np.where(rng.random(n_rows) < 0.2, np.nan, x), "y": y, "place": place}


def learn(seed: int) -> Measures:
    """Learn measures with all there is: derived columns, hours, segments."""
    rng, n_rows = np.random.default_rng(seed), 600
    rows = Rows(columns_of(rng, n_rows), None, np.arange(n_rows) * 10**10)
    answers = Answered(Prediction(rng.random(n_rows)), np.arange(n_rows))
    return learn_measures(rows, SCHEMA, WatchingPolicy(bucket=timedelta(hours=1), segments=("place",)), answers)


MEASURES = {"v1": learn(1), "v2": learn(2)}
OTHER = learn(3)
FACTS = {version: VersionFacts(measures, WIDTH, RULE) for version, measures in MEASURES.items()}


def facts(model: str, version: str) -> VersionFacts | None:
    return FACTS.get(version)


def stream(seed: int, requests: int = 40) -> list[Record]:
    """Return requests whose model time goes on by fits and starts: some rows come late, some requests hold many rows."""
    rng, now, records = random.Random(seed), 0, []
    for number in range(requests):
        now += rng.choice([0, 5, 30, 90, 250])
        n_rows = rng.choice([1, 1, 2, 3, 40])
        event_us = np.array([max(0, now - rng.choice([0, 0, 10, 120, 900])) for _ in range(n_rows)])
        version, features = rng.choice(["v1", "v2"]), columns_of(np.random.default_rng([seed, number]), n_rows)
        answer = Prediction(np.round(np.nan_to_num(features["x"]), 1))
        answered = AnsweredRequest("bikes", version, MEASURES[version].id, 10**6, event_us, None, features, answer)
        records.append(decode(b"".join(with_prefix(f"p{number}", encode_body(answered)))))
    return records


def commit(log: PredictionLog, records: Sequence[Record], start: int) -> None:
    """Store records as a drain does."""
    counter = RowCounter(records, facts)
    version = records[0].version
    batch = DrainedBatch(
        "0000000000",
        start,
        start + len(records),
        start,
        records,
        count=counter.count,
        rules={"bikes": RULE},
        first={"bikes": (FACTS[version].measures, WIDTH)},
    )
    assert log.commit_drained(batch, machine_now=NOW)
    assert counter.uncounted == 0


def expected(records: Sequence[Record], measures: Measures) -> dict[Key, Profile]:
    """Count row by row, in the order in which they came: bucket, bucket from which on it is known, version, segment."""
    counts: dict[Key, Profile] = {}
    watermark: int | None = None
    for record in records:
        met = -1 if watermark is None else watermark
        for row, event_us in enumerate(record.event_us):
            key = (event_us // WIDTH * WIDTH, max(event_us, met) // WIDTH * WIDTH, record.version)
            columns: Columns = {name: np.array([record.features[name][row]], dtype=float) for name in ("x", "y")}
            columns["place"] = np.array([record.features["place"][row]], dtype=object)
            answer = Prediction(np.array([record.outputs[row]], dtype=float))
            for segment, one in measures.profiles(columns, np.array([event_us]), answer):
                place = (*key, segment)
                counts[place] = counts[place].merge(one) if place in counts else one
        watermark, _ = advance(watermark, record.event_us, RULE, record.arrived_us)
    return counts


def stored(database: Database, measures: Measures) -> dict[Key, Profile]:
    """Read the counts by bucket, bucket from which on they are known, version and segment."""
    table = bucket_counts.c
    counts: dict[Key, Profile] = {}
    with database.read() as connection:
        for row in connection.execute(sa.select(bucket_counts).where(table.bins_id == measures.id)):
            key, profile = (row.bucket_us, row.known_us, row.version, row.segment), Profile.from_json(row.profile)
            assert row.rows == profile.rows
            counts[key] = counts[key].merge(profile) if key in counts else profile
    return counts


def as_dicts(counts: dict[Key, Profile]) -> dict[Key, object]:
    return {key: profile.to_dict() for key, profile in counts.items()}


def batches(records: Sequence[Record], seed: int) -> list[Sequence[Record]]:
    """Cut records into batches of any size."""
    rng, cut, start = random.Random(seed), [], 0
    while start < len(records):
        size = rng.choice([1, 1, 2, 5, 9])
        cut.append(records[start : start + size])
        start += size
    return cut
