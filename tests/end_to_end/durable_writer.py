"""Promote new versions and store labels without end, and say of each in a file elsewhere that it is done: ``HOME ACKNOWLEDGED``."""

from __future__ import annotations

import sys
from datetime import timedelta
from itertools import count
from pathlib import Path

from sklearn.linear_model import LinearRegression

from service.prediction_log.ids import IdMinter
from service.prediction_log.labels import LabelItem, LabelRules
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import Record
from service.prediction_log.writing import DrainedBatch
from tests.end_to_end.arena import MODEL, NOW, SPEC, fare_table
from training.model_file.model_spec import parse_spec
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.run import wrap_imported
from training.settings import Home
from training.storage.database import open_database

ROWS = 10_000


def main(folder: Path, acknowledged: Path) -> None:
    """Write until somebody ends it."""
    home, spec, table = Home(folder).ensure(), parse_spec(SPEC), fare_table()
    database = open_database(f"sqlite:///{home.database}")
    registry, log, minter = Registry(database), PredictionLog(database), IdMinter(b"k")
    registry.put_model(spec, now=NOW)
    log.prepare()
    prefix = minter.mint(1, spool="0000000000", seq=0, n_rows=ROWS)
    values = [1.0] * ROWS
    record = Record(prefix, MODEL, "v1", "bins", 1, [1] * ROWS, None, {"distance": values, "hour": values}, values, None, None)
    log.commit_drained(DrainedBatch("0000000000", 0, 10, 0, [record]), machine_now=NOW)
    expected, rows = None, iter(range(ROWS))
    with acknowledged.open("w", buffering=1) as file:
        for number in count(1):
            fitted = LinearRegression().fit(table[["distance", "hour"]], table["fare"] * number)
            made = wrap_imported(fitted, spec, table, home=home, registry=registry, now=NOW + timedelta(hours=number))
            registry.promote(MODEL, made.version, expected=expected, cause=Cause("test", "test"), now=NOW)
            expected = made.version
            file.write(f"{made.version}\n")
            for _, row in zip(range(20), rows, strict=False):
                identity = f"{prefix}-{row}"
                log.label(MODEL, [LabelItem(2.0, id=minter.parse(identity))], NOW, rules=LabelRules("regression"))
                file.write(f"{identity}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
