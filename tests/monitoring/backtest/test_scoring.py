"""What policies are worth: by true labels, against the user's and against hindsight, with the price of fits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monitoring.backtest.judged_slots import JudgedSlot
from monitoring.backtest.living import Lived, Trained
from monitoring.backtest.policies import HINDSIGHT, YOURS, Policy
from monitoring.backtest.scoring import Judge, Score, best_window, loss_of
from tests.monitoring.world import MODEL_FILE
from training.evaluation.losses import METRICS
from training.model_file.model_spec import parse_spec
from training.schema.prediction import Prediction
from training.schema.rows import Rows

N = 400
Y = np.random.default_rng(0).normal(0, 1, N)
ROWS = Rows({"x": np.zeros(N)}, np.where(np.arange(N) % 10 == 3, np.nan, Y), np.arange(N, dtype=np.int64))
MAE = METRICS["mae"]


def off(by: float) -> Prediction:
    """Return answers that are wrong by about so much."""
    return Prediction(np.nan_to_num(Y) + by * (1 + 0.1 * np.sin(np.arange(N))))


def trained(outcome: str, gain: float, trigger: str = "performance") -> Trained:
    return Trained(0, trigger, outcome, 1.5, 1.0, 1.0 - gain)


def scores(lived: dict[str, Lived], price: float = 0.0) -> dict[str, Score]:
    policies = [Policy(name, "", changes={"retraining": {"act": "auto"}}) for name in lived]
    return {one.policy: one for one in Judge(ROWS, (100, 200, 300), MAE, price).scores(policies, lived)}


def test_regret_is_against_hindsight_and_a_difference_against_the_users() -> None:
    done = scores({YOURS: Lived(off(1.0)), "other": Lived(off(0.8)), HINDSIGHT: Lived(off(0.5))})

    assert done["other"].regret == pytest.approx(60, abs=0.5)
    assert done["other"].gain is not None
    assert 0.15 < done["other"].gain.low <= done["other"].gain.estimate < 0.21
    assert done["other"].block == "retraining:\n  act: auto\n"
    assert (done[YOURS].gain, done[HINDSIGHT].gain, done[HINDSIGHT].regret) == (None, None, 0.0)


def test_nothing_is_to_be_pasted_where_the_interval_holds_zero() -> None:
    as_good = Prediction(np.nan_to_num(Y) + 1 + 0.1 * np.cos(np.arange(N)))

    done = scores({YOURS: Lived(off(1.0)), "other": Lived(as_good)})

    assert not done["other"].is_better
    assert done["other"].block == ""


def test_the_price_of_fits_is_part_of_what_a_policy_costs() -> None:
    lived = {YOURS: Lived(off(1.0)), "other": Lived(off(0.8), (), tuple(trained("promoted", 0.1) for _ in range(4)))}

    free, priced = scores(lived)["other"], scores(lived, price=20.0)["other"]

    assert free.is_better
    assert not priced.is_better
    assert priced.priced - priced.loss == pytest.approx(4 * 20 / 360)


def test_a_false_alarm_is_a_training_that_something_seen_asked_for_and_that_did_not_pay() -> None:
    trainings = (
        trained("promoted", 0.1),
        trained("promoted", 0.001),
        trained("refused", -0.1),
        Trained(0, "performance", "failed", 0.0, math.nan, math.nan),
        trained("promoted", -0.1, "schedule"),
    )
    slots = (JudgedSlot(1, "rolled_back", "roll_back", (), "v"),)

    done = scores({YOURS: Lived(off(1.0), slots, trainings)})[YOURS]

    assert (done.alarms, done.false_alarms) == (4, 3)
    assert (done.promotions, done.harmful, done.refused, done.failed, done.rolled_back) == (3, 1, 1, 1, 1)
    assert done.seconds == 6.0


def test_rows_without_a_label_do_not_count_and_a_slot_of_such_rows_has_no_loss() -> None:
    rows = Rows(ROWS.columns, np.where((np.arange(N) >= 100) & (np.arange(N) < 200), np.nan, Y), ROWS.time_us)

    done = Judge(rows, (100, 200, 300), MAE).scores([Policy(YOURS, "")], {YOURS: Lived(off(1.0))})[0]

    assert [math.isnan(loss) for loss in done.losses] == [False, True, False, False]
    assert done.loss == pytest.approx(1.0, abs=0.01)


def test_the_best_window_is_that_of_all_rows() -> None:
    known = ROWS.is_labelled

    assert best_window(ROWS.take(known), MAE, [off(by).take(known) for by in (0.5, 0.2, 0.9)]) == 1


@pytest.mark.parametrize(("metric", "compared"), [("log_loss", "log_loss"), ("roc_auc", "log_loss"), ("accuracy", "accuracy")])
def test_what_is_no_mean_over_rows_is_compared_by_the_loss_of_the_task(metric: str, compared: str) -> None:
    assert loss_of(parse_spec(MODEL_FILE.replace("metric: log_loss", f"metric: {metric}"))).name == compared
