"""Label requests on SQLite and PostgreSQL: each eligible prediction as probable as the others, one draw a key, forgotten with the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from scipy import stats

from service.count_ledger.tables import metadata
from service.errors import LabelRequestConflictError, NothingToDrawError, OverloadedError, UnknownLabelRequestError
from service.label_requests.drawing import DrawRule, LabelRequest, LabelRequests, Wanted
from service.prediction_log.forgetting import forget_model
from service.prediction_log.ids import IdMinter
from service.prediction_log.labels import LabelItem, LabelRules
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import Record
from service.prediction_log.tables import COMPONENT, SCHEMA_VERSION, label_request_rows, label_requests
from service.prediction_log.watermark import ClockRule
from service.prediction_log.writing import DrainedBatch
from training.clock import to_us
from training.storage.database import Database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SPOOL = "00000000aa"
MINTER = IdMinter(b"k")
RULE = DrawRule(window_us=1000, written=int)
Write = Callable[[Sequence[int]], list[str]]


@pytest.fixture
def log(database: Database) -> PredictionLog:
    return PredictionLog(database)


@pytest.fixture
def requests(database: Database) -> LabelRequests:
    return LabelRequests(database, lambda: NOW)


@pytest.fixture
def write(log: PredictionLog) -> Write:
    """Commit a record of rows at some times; gives their ids."""
    numbers = count()

    def commit(times: Sequence[int]) -> list[str]:
        seq, n_rows = next(numbers), len(times)
        prefix = MINTER.mint(seq, spool=SPOOL, seq=seq, n_rows=n_rows)
        answers = {"outputs": ["yes"] * n_rows, "probabilities": [[0.25, 0.75]] * n_rows, "classes": ["no", "yes"]}
        record = Record(prefix, "bikes", "v1", "b", seq, times, None, {"x": [float(at) for at in times]}, **answers)
        batch = DrainedBatch(SPOOL, seq * 10, seq * 10 + 10, seq, [record], rules={"bikes": ClockRule(10**9)})
        assert log.commit_drained(batch, machine_now=NOW)
        return [f"{prefix}-{row}" for row in range(n_rows)]

    return commit


def label(log: PredictionLog, ids: Sequence[str], now: datetime = NOW) -> None:
    results = log.label("bikes", [LabelItem("yes", id=MINTER.parse(each)) for each in ids], now, rules=LabelRules("binary", ("no", "yes")))
    assert {result.status for result in results} <= {"matched"}


def ids_of(requests: LabelRequests, request: LabelRequest) -> list[str]:
    return [each.id for each in requests.predictions(request)]


def rows_in(database: Database, *tables: sa.Table) -> list[int]:
    with database.read() as connection:
        return [connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables]


def test_what_is_drawn_is_without_a_label_and_comes_with_its_probability(log: PredictionLog, requests: LabelRequests, write: Write) -> None:
    ids = write(range(100))
    label(log, ids[:60])

    request = requests.draw("bikes", Wanted("w1", 10), RULE)

    drawn = requests.predictions(request)
    assert (request.rows, request.eligible, request.drawn, request.probability) == (100, 40, 10, 0.25)
    assert len({each.id for each in drawn} & set(ids[60:])) == 10
    assert [each.event_us for each in drawn] == sorted(each.event_us for each in drawn)
    assert drawn[0].features == {"x": float(drawn[0].event_us)}
    assert (drawn[0].output, drawn[0].probabilities, drawn[0].label) == ("yes", {"no": 0.25, "yes": 0.75}, None)


def test_the_same_key_is_the_same_draw(log: PredictionLog, requests: LabelRequests, write: Write) -> None:
    write(range(100))
    first = requests.draw("bikes", Wanted("w1", 10), RULE)
    drawn = ids_of(requests, first)
    write(range(100, 200))
    label(log, drawn[:3])

    again = requests.draw("bikes", Wanted("w1", 10), RULE)

    assert again == first == requests.find("bikes", "w1")
    assert ids_of(requests, again) == drawn
    assert [each.label for each in requests.predictions(again)].count("yes") == 3


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted("w1", 11), "drawn with k = 10, from [(]the default[)] to [(]the default[)]; got k = 11, from .*: take another key"),
        (Wanted("w1", 10, 5), "got k = 10, from 5 to [(]the default[)]"),
        (Wanted("w1", 10, None, 50), "got k = 10, from [(]the default[)] to 50"),
    ],
    ids=["k", "from", "to"],
)
def test_a_key_that_is_asked_for_otherwise_is_a_conflict_that_names_both(
    requests: LabelRequests, write: Write, wanted: Wanted, names: str
) -> None:
    write(range(100))
    requests.draw("bikes", Wanted("w1", 10), RULE)

    with pytest.raises(LabelRequestConflictError, match=names):
        requests.draw("bikes", wanted, RULE)


def test_no_prediction_is_drawn_twice(requests: LabelRequests, write: Write) -> None:
    write(range(30))

    drawn = [requests.draw("bikes", Wanted(f"w{number}", 12), RULE) for number in range(3)]

    assert [(each.eligible, each.drawn) for each in drawn] == [(30, 12), (18, 12), (6, 6)]
    assert len({identity for each in drawn for identity in ids_of(requests, each)}) == 30


@pytest.mark.parametrize(
    ("wanted", "rule", "window"),
    [
        (Wanted("w", 200), RULE, (0, 100)),
        (Wanted("w", 200), DrawRule(20), (80, 100)),
        (Wanted("w", 200, 10, 30), RULE, (10, 30)),
        (Wanted("w", 200, None, 30), DrawRule(20), (10, 30)),
        (Wanted("w", 200, 50), RULE, (50, 100)),
        (Wanted("w", 200, 50, 5000), RULE, (50, 100)),
        (Wanted("w", 200), DrawRule(1000, too_late_us=9), (90, 100)),
    ],
    ids=["all", "the default", "both ends", "its end", "its beginning", "beyond model time", "labels that would be too late"],
)
def test_the_window_is_drawn_from(requests: LabelRequests, write: Write, wanted: Wanted, rule: DrawRule, window: tuple[int, int]) -> None:
    write(range(100))
    start, end = window

    request = requests.draw("bikes", wanted, rule)

    assert [each.event_us for each in requests.predictions(request)] == list(range(start, end))
    assert (request.end_us, request.rows, request.probability) == (end, end - start, 1.0)


def test_where_nothing_may_be_drawn_it_says_why(log: PredictionLog, requests: LabelRequests, write: Write) -> None:
    with pytest.raises(NothingToDrawError, match="bikes has no prediction in the log yet"):
        requests.draw("bikes", Wanted("w", 5), RULE)
    ids = write(range(0, 100, 10))
    label(log, ids)

    with pytest.raises(NothingToDrawError, match="each of the 10 predictions of bikes from -909 to 91 has a label or was drawn before"):
        requests.draw("bikes", Wanted("w", 5), RULE)
    with pytest.raises(NothingToDrawError, match="bikes has no prediction from 31 to 39"):
        requests.draw("bikes", Wanted("w", 5, 31, 39), RULE)
    with pytest.raises(NothingToDrawError, match="the window from 50 to 20 ends before it begins"):
        requests.draw("bikes", Wanted("w", 5, 50, 20), RULE)
    with pytest.raises(NothingToDrawError, match="the window from 0 to 20 is over: labels of predictions older than 81 would be too late"):
        requests.draw("bikes", Wanted("w", 5, 0, 20), DrawRule(1000, too_late_us=9, written=int))
    with pytest.raises(UnknownLabelRequestError, match="no label request 'w' of bikes"):
        requests.find("bikes", "w")


@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_each_eligible_prediction_is_as_probable_as_the_others(log: PredictionLog, requests: LabelRequests, write: Write) -> None:
    n_draws, k, eligible = 300, 4, 20
    drawn: Counter[int] = Counter()
    for number in range(n_draws):
        ids = write(range(number * 100, number * 100 + 30))
        label(log, ids[::3])
        request = requests.draw("bikes", Wanted(f"w{number}", k, number * 100), RULE)
        drawn.update(each.event_us % 100 for each in requests.predictions(request))

    counts = [drawn[place] for place in range(30) if place % 3]
    spread = sum((each - n_draws * k / eligible) ** 2 for each in counts) / (n_draws * k / eligible * (1 - k / eligible)) * 19 / 20
    assert (len(counts), sum(counts)) == (eligible, n_draws * k)
    assert 1e-6 < stats.chi2.sf(spread, eligible - 1) < 1 - 1e-6


def test_another_draw_in_between_is_seen_and_drawn_around(database: Database, write: Write) -> None:
    write(range(20))
    other = LabelRequests(database, lambda: NOW)

    def clock() -> datetime:
        with suppress(NothingToDrawError):
            other.draw("bikes", Wanted("other", 15), RULE)
        return NOW

    request = LabelRequests(database, clock).draw("bikes", Wanted("w", 15), RULE)

    assert (request.eligible, request.drawn) == (5, 5)
    assert rows_in(database, label_requests, label_request_rows) == [2, 20]


def test_one_that_others_always_come_before_is_told_to_come_again(database: Database, write: Write) -> None:
    write(range(100))
    other, numbers = LabelRequests(database, lambda: NOW), count()

    def clock() -> datetime:
        other.draw("bikes", Wanted(f"other{next(numbers)}", 1), RULE)
        return NOW

    with pytest.raises(OverloadedError, match="other label requests of bikes are drawn just now"):
        LabelRequests(database, clock).draw("bikes", Wanted("w", 15), RULE)


def test_requests_go_with_the_rows_they_drew(database: Database, log: PredictionLog, requests: LabelRequests, write: Write) -> None:
    write(range(100))
    requests.draw("bikes", Wanted("old", 50, 0, 50), RULE)
    both = requests.draw("bikes", Wanted("both", 20, 40, 60), RULE)
    before = ids_of(requests, both)

    log.retain("bikes", 50, machine_now=NOW)

    assert rows_in(database, label_requests) == [1]
    assert ids_of(requests, both) == [each for each in before if MINTER.parse(each).row >= 50]  # type: ignore[union-attr]
    forget_model(database, "bikes", NOW)
    assert rows_in(database, label_requests, label_request_rows) == [0, 0]


def test_a_log_of_the_version_before_gets_the_tables_and_keeps_its_rows(database: Database, requests: LabelRequests, write: Write) -> None:
    former = sa.MetaData()
    for table in metadata.sorted_tables:
        if table not in (label_requests, label_request_rows):
            table.to_metadata(former)
    database.prepare(COMPONENT, former, 5)

    write(range(10))

    assert requests.draw("bikes", Wanted("w", 5), RULE).eligible == 10
    assert database.schema_versions()[COMPONENT] == SCHEMA_VERSION


def test_what_it_says_is_of_the_moment_of_the_draw(database: Database, write: Write) -> None:
    write(range(10))
    later = NOW + timedelta(hours=1)

    LabelRequests(database, lambda: later).draw("bikes", Wanted("w", 5), RULE)

    with database.read() as connection:
        stored: Any = connection.execute(sa.select(label_requests.c.drawn_us, label_requests.c.received_us)).one()
    assert tuple(stored) == (9, to_us(later))
